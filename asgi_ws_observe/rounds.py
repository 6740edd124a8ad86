"""The hook `alive`, called about once a second for each open connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from .connection import Connection
from .hooks import OwnErrors
from .timers import SLICE, SLICE_PAUSE, Timer

__all__ = ["Rounds"]

#: Seconds between two rounds.
INTERVAL: Final = 1.0


class Rounds:
    """Visits connections whose hooks ask for it, in slices, so that the event loop is never held.

    Args:
        errors: Where failures go.
    """

    def __init__(self, errors: OwnErrors) -> None:
        self._timer = Timer(errors, "the hook alive is called no more")
        self._connections: dict[Connection, None] = {}
        self._left: Iterator[Connection] = iter(())
        self._began = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Visit on this event loop from now on."""
        self._connections.clear()
        self._timer.start(loop)

    def stop(self) -> None:
        """Visit no more."""
        self._timer.stop()
        self._connections.clear()

    def add(self, connection: Connection) -> None:
        """Visit a connection until it has ended; the first one begins the rounds."""
        if self._timer.loop is None:
            # Nobody would forget it.
            return
        if not self._connections:
            self._timer.call_in(INTERVAL, self._begin)
        self._connections[connection] = None

    def _begin(self) -> None:
        self._began = perf_counter()
        self._left = iter(list(self._connections))
        self._go_on()

    def _go_on(self) -> None:
        ends = perf_counter() + SLICE
        for connection in self._left:
            if connection.outcome == "accepted":
                connection.observation.hooks.call("alive", connection)
            elif connection.outcome:
                del self._connections[connection]
            if perf_counter() > ends:
                self._timer.call_in(SLICE_PAUSE, self._go_on)
                return
        if self._connections:
            spent = perf_counter() - self._began
            self._timer.call_in(max(SLICE_PAUSE, INTERVAL - spent), self._begin)
