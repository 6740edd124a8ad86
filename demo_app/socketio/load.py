"""``python -m demo_app load --socketio``: real clients, and their counts against ``/metrics``."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from rich.console import Console
from socketio.exceptions import SocketIOError

from ..report import Row, play, report, settled
from .client import Client, ServerError
from .plan import ENDINGS, OUTSIDE, Line, Script, plan
from .protocol import ADMIN, ADMIN_TOKEN, TOKEN
from .truth import Nodes, Truth, compare

__all__ = ["load_socketio"]

#: Who is refused -> the namespace that they ask for, the token that they have, and what becomes of
#: them.
_KNOCKS: Final = {
    "refused": ("/", "wrong", "refused"),
    "stranger": (ADMIN, TOKEN, "refused"),
    "lost": ("/nowhere", TOKEN, "unknown_namespace"),
}
_FAILURES: Final = (OSError, asyncio.TimeoutError, SocketIOError, ServerError, aiohttp.ClientError)


def load_socketio(options: Namespace) -> int:
    """Drive a chat over Socket.IO and compare.

    Args:
        options: As `demo_app.cli` parses them.

    Returns:
        The exit code: 0 where everything is equal, else 1; 130 after Ctrl-C.

    Raises:
        ValueError: There is no demo to drive; says so in one line.
    """
    # A proxy from the environment would be in the way on a loopback address.
    os.environ["no_proxy"] = "*"
    urls = [_plain(url) for url in options.url or ["http://127.0.0.1:8000"]]
    nodes = Nodes(urls)
    scripts = plan(options.clients, options.seconds, options.seed)
    console = Console()
    try:
        return asyncio.run(_run(scripts, nodes, urls, console))
    except OSError as error:
        raise ValueError(f"the demo at {' or '.join(urls)} went away: {error}") from None
    except KeyboardInterrupt:
        console.print("Stopped; nothing was compared.")
        return 130


def _plain(url: str) -> str:
    address = urlsplit(url)
    if address.scheme not in ("ws", "wss", "http", "https") or not address.netloc:
        raise ValueError(f"--url: got {url!r}, accepted is one like http://127.0.0.1:8000")
    return f"http{'s' if address.scheme in ('wss', 'https') else ''}://{address.netloc}"


async def _run(
    scripts: Sequence[Script], nodes: Nodes, urls: Sequence[str], console: Console
) -> int:
    before = await asyncio.to_thread(nodes.numbers)
    truth = Truth()
    async with _hosts(urls, truth) as hosts:
        # Each to the next node, so that every room has people on all of them.
        parts = [
            asyncio.create_task(_play(script, url, hosts[place % len(hosts) - 1], truth))
            for place, (script, url) in enumerate(zip(scripts, cycle(urls), strict=False))
        ]
        await play(
            parts,
            console,
            lambda: (
                f"{truth.open} open, {truth.total('socketio_events_total')} events, "
                f"{truth.total('socketio_emit_recipients_sum')} heard"
            ),
        )

    def rows() -> list[Row]:
        after = nodes.numbers()
        return [*compare(truth, before, after), *nodes.carried(truth, before, after)]

    kinds = Counter(script.ending for script in scripts)
    did = [(kinds[ending], text) for ending, (_, text) in ENDINGS.items()]
    return report(console, did, await settled(rows), truth.surprises)


@asynccontextmanager
async def _hosts(urls: Sequence[str], truth: Truth) -> AsyncIterator[list[tuple[str, Client]]]:
    """Have somebody on each node who is there all the time, to be whispered to."""
    hosts = [(f"Host {number}", Client(truth)) for number, _ in enumerate(urls, start=1)]
    try:
        for url, (name, client) in zip(urls, hosts, strict=True):
            if not await client.open(url, "websocket", {"token": TOKEN, "name": name}):
                truth.surprises.append(f"{name} was not let in")
        yield hosts
        for _, client in hosts:
            await client.leave()
    finally:
        for _, client in hosts:
            await client.close()


async def _play(script: Script, url: str, host: tuple[str, Client], truth: Truth) -> None:
    await asyncio.sleep(script.start)
    namespace = _KNOCKS[script.ending][0] if script.ending in OUTSIDE else "/"
    client = Client(truth, namespace)
    try:
        if script.ending in OUTSIDE:
            await _knock(script, url, client, truth)
        else:
            await _visit(script, url, host, client, truth)
    except _FAILURES as error:
        truth.surprises.append(f"{script.name}, to be {script.ending}: {error!r}")
    finally:
        await client.close()


async def _knock(script: Script, url: str, client: Client, truth: Truth) -> None:
    namespace, token, outcome = _KNOCKS[script.ending]
    if await client.open(url, script.transport, {"token": token, "name": script.name}):
        truth.surprises.append(f"{script.name} was let in to {namespace}")
    else:
        truth.knocked(namespace, script.transport, outcome)


async def _visit(
    script: Script, url: str, host: tuple[str, Client], client: Client, truth: Truth
) -> None:
    if not await client.open(url, script.transport, {"token": TOKEN, "name": script.name}):
        truth.surprises.append(f"{script.name} was refused")
        return
    await client.ask("join", {"room": script.room})
    truth.count("socketio_room_joins_total", category="room:{name}")
    for line in script.lines:
        await asyncio.sleep(line.pause)
        await _do(line, host, client, truth)
    if script.ending == "crash":
        await client.tell("crash", "error")
    elif script.ending == "unhandled":
        await client.tell("nobody-listens", "unhandled")
    await client.ask("leave")
    truth.count("socketio_room_leaves_total", category="room:{name}")
    # What the room is just being told may come after that answer, but before the next one.
    await client.ask("statistics")
    await _end(script, url, client, truth)


async def _do(line: Line, host: tuple[str, Client], client: Client, truth: Truth) -> None:
    name, other = host
    data, emits = {
        "say": ({"text": line.text}, ("said", "room:{name}")),
        "whisper": ({"to": name, "text": line.text}, ("whispered", "user:{name}")),
        "ping-user": ({"to": other.sid}, ("poke", "_sid")),
        "statistics": (None, None),
        "slow": ({"seconds": line.seconds}, None),
    }[line.event]
    await client.ask(line.event, data)
    if emits is not None:
        event, category = emits
        truth.count("socketio_emits_total", event=event, category=category)


async def _end(script: Script, url: str, client: Client, truth: Truth) -> None:
    if script.ending == "vanish":
        await client.vanish()
    elif script.ending == "kicked":
        admin = Client(truth, ADMIN)
        try:
            await admin.open(url, "websocket", {"token": ADMIN_TOKEN})
            await admin.ask("kick", {"sid": client.sid})
            await client.kicked()
            await admin.leave()
        finally:
            await admin.close()
    else:
        await client.leave()
