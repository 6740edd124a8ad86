"""Real clients that live the same lives: `websockets`, `aiohttp` and node's `ws`."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import websockets
from websockets.asyncio.client import connect

from tests.servers.processes import absent

HERE: Final = Path(__file__).parent
NODE_INSTALL: Final = "npm install --prefix tests/servers --no-package-lock"


@dataclass
class Life:
    """What one client does.

    Attributes:
        path: Where it connects.
        send: Payloads; ``b64:...`` stands for bytes. It waits for the echo of each.
        last: A command sent at the end, whose answer is the server's close, or empty.
        end: ``close`` with `code`, ``vanish`` (FIN) or ``reset`` (RST) without one, or ``wait`` for
            the server's close.
        code: The close code; 0 for a close frame without one.
        protocols: The subprotocols that it offers.
    """

    path: str = "/rooms/a"
    send: list[str] = field(default_factory=list)
    last: str = ""
    end: str = "close"
    code: int = 1000
    protocols: list[str] = field(default_factory=list)


@dataclass
class Seen:
    """What one client saw.

    Attributes:
        status: The HTTP status of the handshake.
        received: Payload sizes of the messages that it got, bytes.
        code: The close code that it saw; 0 where it left without one.
    """

    status: int = 101
    received: list[int] = field(default_factory=list)
    code: int = 0


def payload(text: str) -> str | bytes:
    """Return what a payload of a `Life` stands for."""
    return base64.b64decode(text[4:]) if text.startswith("b64:") else text


def size(data: str | bytes) -> int:
    """Return the bytes of a payload."""
    return len(data.encode() if isinstance(data, str) else data)


def abort(transport: Any, life: Life) -> None:
    """End a TCP connection without a close frame."""
    if life.end == "reset":
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


async def live_websockets(address: str, life: Life) -> Seen:
    """Live a life with the `websockets` library."""
    seen = Seen()
    try:
        connection = await connect(
            f"ws://{address}{life.path}",
            open_timeout=10,
            subprotocols=life.protocols or None,  # type: ignore[arg-type]
        )
    except websockets.InvalidStatus as error:
        return Seen(error.response.status_code)
    for text in life.send:
        await connection.send(payload(text))
        seen.received.append(size(await connection.recv()))
    if life.end in ("vanish", "reset"):
        abort(connection.transport, life)
        await connection.wait_closed()
        return seen
    if life.last:
        await connection.send(life.last)
    if life.end == "close":
        await connection.close(life.code)
    try:
        while True:
            seen.received.append(size(await asyncio.wait_for(connection.recv(), 10)))
    except websockets.ConnectionClosed:
        seen.code = connection.close_code or 0
    return seen


async def live_aiohttp(address: str, life: Life) -> Seen:
    """Live a life with `aiohttp`."""
    seen = Seen()
    async with aiohttp.ClientSession() as session:
        try:
            connection = await session.ws_connect(
                f"http://{address}{life.path}", protocols=life.protocols
            )
        except aiohttp.WSServerHandshakeError as error:
            return Seen(error.status)
        except aiohttp.ClientResponseError:
            # uvicorn's legacy implementation answers 500 and then 101, when the application says
            # nothing.
            return Seen(500)
        for text in life.send:
            data = payload(text)
            sent = connection.send_str if isinstance(data, str) else connection.send_bytes
            await sent(data)  # type: ignore[arg-type]
            seen.received.append(size((await connection.receive(timeout=10)).data))
        if life.end in ("vanish", "reset"):
            abort(connection._writer.transport, life)
            return seen
        if life.last:
            await connection.send_str(life.last)
        if life.end == "close":
            await connection.close(code=life.code)
        else:
            while not (await connection.receive(timeout=10)).type.name.startswith("CLOS"):
                pass
        seen.code = connection.close_code or 0
    return seen


def together(
    one: Callable[[str, Life], Awaitable[Seen]],
) -> Callable[[str, Sequence[Life]], Awaitable[list[Seen]]]:
    """Return a client for several lives, ten at a time."""

    async def run(address: str, lives: Sequence[Life]) -> list[Seen]:
        places = asyncio.Semaphore(10)

        async def placed(life: Life) -> Seen:
            async with places:
                return await one(address, life)

        return await asyncio.gather(*map(placed, lives))

    return run


async def live_node(address: str, lives: Sequence[Life]) -> list[Seen]:
    """Live lives with node's `ws`, all in one process."""
    if not (shutil.which("node") and (HERE / "node_modules" / "ws").is_dir()):
        absent(f"node's ws is missing; get it with: {NODE_INSTALL}")
    process = await asyncio.create_subprocess_exec(
        "node",
        str(HERE / "client.js"),
        f"ws://{address}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    plan = json.dumps([asdict(life) for life in lives]).encode()
    output, _ = await asyncio.wait_for(process.communicate(plan), 60)
    assert process.returncode == 0
    return [Seen(**each) for each in json.loads(output)]


#: Name -> a function that lives lives against a server.
CLIENTS: Final[dict[str, Callable[[str, Sequence[Life]], Awaitable[list[Seen]]]]] = {
    "websockets": together(live_websockets),
    "aiohttp": together(live_aiohttp),
    "node": live_node,
}
