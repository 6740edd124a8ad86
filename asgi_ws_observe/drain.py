"""Close every WebSocket of this process with 1001, a few at a time, before a deploy ends it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Any, Final

from .connection import Connection
from .exceptions import SettingsError
from .hooks import ConnectionHook

__all__ = ["Drain"]

#: The close frame's reason.
REASON: Final = "going away"

_logger: Final = logging.getLogger("asgi_ws_observe")


class Drain(ConnectionHook):
    """Knows every open WebSocket, and closes them all at a pace that the other nodes can take.

    A server that gets SIGTERM closes all its connections in one moment, and all their clients come
    back in one moment. Give this to the middleware as one of its ``hooks``, and await `close_all`
    where your platform says that the process will end soon. It knows its own process only.

    Attributes:
        is_draining: Whether `close_all` was called; a readiness check says no from then on.
    """

    def __init__(self) -> None:
        self.is_draining = False
        self._open: OrderedDict[Any, None] = OrderedDict()
        self._closing: dict[Any, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()
        self._has_warned = False

    def opened(self, connection: Connection) -> None:
        """Remember it; while the process drains it is closed with the others."""
        self._open[connection] = None

    def closed(self, connection: Connection) -> None:
        """Forget it."""
        self._open.pop(connection, None)
        self._closing.pop(connection, None)

    async def close_all(
        self, per_second: float = 50.0, *, code: int = 1001, timeout: float = 100.0
    ) -> int:
        """Close all, also those that come meanwhile, and wait until their connections have ended.

        Call it on the event loop of the connections. Who calls it again waits for the first.

        Args:
            per_second: How many close frames a second, at most.
            code: The close code. Default: 1001, "going away", after which clients come back.
            timeout: Give up after so many seconds.

        Returns:
            How many connections are still open.

        Raises:
            SettingsError: `per_second` is not above 0.
        """
        if not per_second > 0:
            raise SettingsError(f"per_second: got {per_second!r}; accepted: a number above 0")
        self.is_draining = True
        now = asyncio.get_running_loop().time
        ends = now() + timeout
        async with self._turn:
            while (self._open or self._closing) and now() < ends:
                pause = 0.05
                if self._open:
                    connection, _ = self._open.popitem(last=False)
                    closing = self._close(connection, code)
                    # A task, since a client that reads nothing can hold it up.
                    self._closing[connection] = asyncio.create_task(closing)
                    pause = 1 / per_second
                await asyncio.sleep(min(pause, max(ends - now(), 0)))
        return len(self._open) + len(self._closing)

    async def _close(self, channel: Any, code: int) -> None:
        try:
            await channel.send({"type": "websocket.close", "code": code, "reason": REASON})
        except Exception as error:  # noqa: BLE001
            # An OSError: its client has left meanwhile.
            if not isinstance(error, OSError) and not self._has_warned:
                self._has_warned = True
                _logger.warning("the server cannot close with %r: %s", code, error)
        else:
            # To servers a send after the close is the application's mistake; here it is none.
            channel._send = _gone


async def _gone(message: Any) -> None:
    if message["type"] == "websocket.send":
        raise OSError("the connection was closed, since this process ends")
