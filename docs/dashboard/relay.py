"""A relay in front of a node, as a load balancer is, that can be slow and lose connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

__all__ = ["Relay"]

#: Seconds between two looks at whom to cut.
_LOOK: Final = 0.25


class Relay:
    """Hands bytes on.

    Args:
        address: The node's ``host:port``.

    Attributes:
        delay: How long it holds bytes back in each direction, seconds, and up to twice that.
        cuts: How many connections it cuts a second.
        url: Where clients connect.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self._host, self._port = host, int(port)
        self.delay = self.cuts = 0.0
        self.url = ""
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen until the end of the block."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        cutting = asyncio.create_task(self._cut())
        try:
            yield
        finally:
            cutting.cancel()
            server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        with suppress(OSError):
            from_node, to_node = await asyncio.open_connection(self._host, self._port)
            self._open[task] = to_node
            ways = [
                asyncio.create_task(self._pump(*way))
                for way in ((reader, to_node), (from_node, writer))
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            # Who ended it without a word is passed on as it was.
            for each in (writer, to_node):
                each.transport.abort()
        self._open.pop(task, None)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Bytes keep their order, however long each of them is held back.
        due, loop = 0.0, asyncio.get_running_loop()
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.delay:
                    held = self.delay * random.uniform(1, 2)  # noqa: S311
                    due = max(due + 1e-4, loop.time() + held)
                    loop.call_at(due, _write, writer, data)
                else:
                    writer.write(data)
                    await writer.drain()

    async def _cut(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if self._open and random.random() < self.cuts * _LOOK:  # noqa: S311
                random.choice(list(self._open.values())).transport.abort()  # noqa: S311


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.transport.is_closing():
        writer.write(data)
