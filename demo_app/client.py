"""One WebSocket client of the load, which counts everything that it does."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .truth import Truth

__all__ = ["Client"]

#: Seconds that a client waits for anything: a server that is slow under load is not wrong.
_PATIENCE: Final = 30.0


class Client:
    """One connection, counted.

    Args:
        websocket: The connection.
        truth: Where the counts go.

    Attributes:
        heard: How many messages of each type came.
    """

    def __init__(self, websocket: ClientConnection, truth: Truth) -> None:
        self.heard: Counter[str] = Counter()
        self._websocket = websocket
        self._truth = truth
        self._news = asyncio.Event()
        truth.connected()
        # Reads until the very end: what the server sent before it saw a close counts.
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, truth: Truth) -> Client | None:
        """Connect; return `None` where the server refuses."""
        try:
            # Without pings of its own: a server that closes over unread bytes resets the
            # connection, and what was on its way to the client is lost.
            websocket = await connect(
                url, ping_interval=None, open_timeout=_PATIENCE, close_timeout=_PATIENCE
            )
        except InvalidStatus:
            return None
        return cls(websocket, truth)

    @property
    def answers(self) -> int:
        """How many lines were answered, where this client is alone in its room."""
        return self.heard["chat"] + self.heard["notice"]

    async def _read(self) -> None:
        try:
            while True:
                text = str(await self._websocket.recv())
                self._truth.message("out", text)
                self.heard[json.loads(text)["type"]] += 1
                self._news.set()
        except ConnectionClosed:
            self._news.set()

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        text = json.dumps(message, ensure_ascii=False)
        await self._websocket.send(text)
        self._truth.message("in", text)

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until enough was heard.

        Raises:
            ConnectionError: The connection ended first.
            asyncio.TimeoutError: It took more than 30 seconds.
        """
        while not condition():
            if self._reader.done():
                raise ConnectionError(f"ended early, with {self._websocket.protocol.close_code}")
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), _PATIENCE)

    async def join(self, name: str) -> None:
        """Join and wait for the welcome."""
        await self.send({"type": "join", "name": name})
        await self.wait(lambda: self.heard["welcome"] > 0)

    async def close(self, code: int | None) -> None:
        """Close with a code, or with a close frame that has none."""
        if code is None:
            # close() always has a code.
            self._websocket.protocol.send_close()
            self._websocket.transport.write(b"".join(self._websocket.protocol.data_to_send()))
        else:
            await self._websocket.close(code)
        await self._reader

    async def vanish(self) -> None:
        """Be gone without a close frame, as by a broken cable."""
        self._websocket.transport.abort()
        await self._reader

    async def closed_by_server(self) -> int:
        """Wait for the server to end it and return the code, 1006 without a close frame."""
        await asyncio.wait_for(self._reader, _PATIENCE)
        # An IntEnum, which Python 3.10 would print by its name.
        return int(self._websocket.protocol.close_code or 1006)
