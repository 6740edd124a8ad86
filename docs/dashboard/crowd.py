"""People who come, talk, and leave; and a few whom a proxy cuts after a minute."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

__all__ = ["Crowd"]

#: Rooms; so many hear what one says.
_ROOMS: Final = 12
#: After which time the proxy of some cuts, seconds.
_PROXY: Final = 60.0
#: Everybody has come after so many seconds.
_COMING: Final = 15.0


class Crowd:
    """All clients.

    Args:
        random: Decides.
        urls: Where they connect.
        each: How many to each URL.
    """

    def __init__(self, random: Random, urls: Sequence[str], each: int) -> None:
        self._random = random
        self._urls = urls
        self._each = each
        self._names = count(1)

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Have them until the end of the block."""
        tasks = [
            asyncio.create_task(self._person(url, behind_proxy=place == 0))
            for url in self._urls
            for place in range(self._each)
        ]
        tasks += [asyncio.create_task(self._stranger(url)) for url in self._urls]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _person(self, url: str, *, behind_proxy: bool) -> None:
        """Come, and come again after each end, sooner where it was not one's own."""
        await asyncio.sleep(self._random.uniform(0, _PROXY if behind_proxy else _COMING))
        while True:
            lasts = _PROXY if behind_proxy else self._random.lognormvariate(5.0, 0.9)
            own = False
            with suppress(OSError, WebSocketException, asyncio.TimeoutError):
                own = await self._visit(url, lasts, behind_proxy=behind_proxy)
            await asyncio.sleep(self._random.uniform(1, 6) if own else self._random.uniform(0, 1))

    async def _visit(self, url: str, lasts: float, *, behind_proxy: bool) -> bool:
        """Return whether it ended as it wanted to."""
        room = f"{url}/rooms/room-{self._random.randrange(_ROOMS)}"
        async with connect(room, ping_interval=None, close_timeout=2) as websocket:
            reading = asyncio.create_task(_read(websocket))
            await _say(websocket, type="join", name=f"Ada {next(self._names)}")
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._talk(websocket, reading), lasts)
            if reading.done():
                return False
            if behind_proxy:
                websocket.transport.abort()
                return True
            if self._random.random() < 0.06:
                await _say(websocket, type=self._random.choice(("kick-me", "crash")))
            else:
                await websocket.close(self._random.choice((1000, 1000, 1001)))
            return True

    async def _talk(self, websocket: ClientConnection, reading: asyncio.Task[None]) -> None:
        while not reading.done():
            await asyncio.sleep(self._random.expovariate(0.25))
            if self._random.random() < 0.08:
                await _say(websocket, type="slow", seconds=self._random.lognormvariate(-2.6, 0.5))
            else:
                text = "Who broke the build? " * self._random.randrange(1, 12)
                await _say(websocket, type="chat", text=text)

    async def _stranger(self, url: str) -> None:
        """Ask for the room that is closed, now and then."""
        while True:
            await asyncio.sleep(self._random.expovariate(0.08))
            with suppress(OSError, InvalidHandshake, asyncio.TimeoutError):
                async with connect(f"{url}/rooms/private"):
                    """Never let in."""


async def _read(websocket: ClientConnection) -> None:
    with suppress(WebSocketException):
        async for _ in websocket:
            """Take everything."""


async def _say(websocket: ClientConnection, **message: Any) -> None:
    await websocket.send(json.dumps(message))
