"""Crowds of real clients: they chat, leave, come back, and can be made to misbehave."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.laboratory.harness.loops import LoopThread

__all__ = ["Crowd", "Manners"]

_ROOMS: Final = 5
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(kw_only=True)
class Manners:
    """How the members of a crowd behave; may be changed while they are there.

    Attributes:
        path: Where they connect; ``{room}`` is one of a few rooms, ``{alone}`` one of their own.
        talk: Seconds between two messages of one client; 0: it says nothing after its name.
        stay: Seconds after which a client leaves and another one comes, on average; 0: it stays.
        back: Seconds until a client that lost its connection tries again, at most.
        say: What a client says, beside its words: ``chat``, ``slow``, ``crash``.
        seconds: For how long a handler of ``slow`` takes.
        read_pause: Seconds between two messages that a client reads; 0: it reads what comes.
        size: Characters of a message.
    """

    path: str = "/rooms/{room}"
    talk: float = 1.0
    stay: float = 10.0
    back: float = 0.6
    say: str = "chat"
    seconds: float = 0.0
    read_pause: float = 0.0
    size: int = 40

    def message(self) -> str:
        """Return the next thing that somebody says."""
        event: dict[str, Any] = {"type": self.say}
        event |= {"seconds": self.seconds} if self.say == "slow" else {"text": "x" * self.size}
        return json.dumps(event)


class Crowd:
    """Clients that go round the nodes.

    Args:
        loop: Where they run.
        addresses: Returns where they may connect; asked anew for each connection.
        manners: How they behave.
        name: What their names begin with.

    Attributes:
        manners: How they behave.
    """

    def __init__(
        self,
        loop: LoopThread,
        addresses: Callable[[], Sequence[str]],
        manners: Manners,
        name: str = "guest",
    ) -> None:
        self.manners = manners
        self._name = name
        self._loop = loop
        self._addresses = addresses
        self._turn = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []
        self._open: set[ClientConnection] = set()

    @property
    def size(self) -> int:
        """How many members it has, connected or about to be."""
        return len(self._tasks)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def arrive(self, count: int, over: float = 1.0) -> None:
        """Let so many come, spread over so many seconds; returns at once."""
        self._loop.run(self._arrive(count, over))

    def leave(self, count: int | None = None, over: float = 1.0) -> None:
        """Let so many go, spread over so many seconds; returns when they are gone. `None`: all."""
        self._loop.run(self._leave(count, over), over + 30)

    def reset(self, share: float = 1.0) -> None:
        """Reset the connections of a part of them (RST)."""
        self._loop.run(self._each(share, _reset))

    def vanish(self, share: float = 1.0) -> None:
        """Let a part of them read no more, and so answer no pings; their connections stay."""
        self._loop.run(self._each(share, _freeze))

    def hang_up(self, share: float = 1.0, code: int = 1000) -> None:
        """Let a part of them close, as one who reloads a page does."""
        self._loop.run(self._hang_up(share, code))

    async def _arrive(self, count: int, over: float) -> None:
        for index in range(count):
            pause = over * index / max(count, 1)
            self._tasks.append(asyncio.create_task(self._live(pause)))

    async def _leave(self, count: int | None, over: float) -> None:
        going = self._tasks[:count]
        del self._tasks[: len(going)]
        for task in going:
            task.cancel()
            await asyncio.sleep(over / len(going))
        if going:
            await asyncio.wait(going, timeout=20)

    async def _each(self, share: float, action: Callable[[ClientConnection], None]) -> None:
        for websocket in self._some(share):
            action(websocket)

    async def _hang_up(self, share: float, code: int) -> None:
        closing = (websocket.close(code) for websocket in self._some(share))
        await asyncio.gather(*closing, return_exceptions=True)

    def _some(self, share: float) -> list[ClientConnection]:
        found = sorted(self._open, key=lambda each: str(each.id))
        return found[: round(len(found) * share)]

    async def _live(self, pause: float) -> None:
        await asyncio.sleep(pause)
        while True:
            try:
                await self._visit()
            except (OSError, asyncio.TimeoutError, WebSocketException):
                await asyncio.sleep(random.uniform(0.2, 1) * self.manners.back)

    async def _visit(self) -> None:
        addresses = self._addresses()
        number = next(self._turn)
        rooms = {"room": f"room-{number % _ROOMS}", "alone": f"{self._name}-{number}"}
        path = self.manners.path.format(**rooms)
        async with connect(
            f"ws://{addresses[number % len(addresses)]}{path}",
            open_timeout=10,
            close_timeout=5,
            ping_interval=None,
            compression=None,
        ) as websocket:
            self._open.add(websocket)
            try:
                await self._take_part(websocket, f"{self._name}-{number}")
            except asyncio.CancelledError:
                # Whoever is told to leave closes the page.
                await websocket.close(1001)
                raise
            finally:
                self._open.discard(websocket)

    async def _take_part(self, websocket: ClientConnection, name: str) -> None:
        if self.manners.path.startswith("/rooms"):
            await websocket.send(json.dumps({"type": "join", "name": name}))
        if self.manners.read_pause:
            # As on a phone: what is not read stays with the server.
            sock: socket.socket = websocket.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        reader = asyncio.create_task(_read(websocket, self.manners))
        try:
            await self._talk(websocket, reader)
        finally:
            reader.cancel()
            await asyncio.wait({reader})

    async def _talk(self, websocket: ClientConnection, reader: asyncio.Task[None]) -> None:
        manners, loop = self.manners, asyncio.get_running_loop()
        ends = loop.time() + (manners.stay * random.uniform(0.5, 1.5) if manners.stay else 1e9)
        while loop.time() < ends:
            pause = self.manners.talk or 1.0
            await asyncio.wait({reader}, timeout=pause * random.uniform(0.6, 1.4))
            if reader.done():
                reader.result()
                return
            if self.manners.talk:
                await websocket.send(self.manners.message())


async def _read(websocket: ClientConnection, manners: Manners) -> None:
    while True:
        await websocket.recv()
        if manners.read_pause:
            await asyncio.sleep(manners.read_pause)


def _reset(websocket: ClientConnection) -> None:
    sock: socket.socket = websocket.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    websocket.transport.abort()


def _freeze(websocket: ClientConnection) -> None:
    websocket.transport.pause_reading()
