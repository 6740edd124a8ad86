"""Work that is done again and again on the event loop.

Timers, not tasks: a loop that ends drops them silently, so they need no lifespan to be stopped, and
they never show up among an application's own tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

from .hooks import OwnErrors

__all__ = ["SLICE", "SLICE_PAUSE", "Timer"]

#: Longer work is done in slices of this length with pauses between them, seconds, so that the event
#: loop can do what it is for.
SLICE: Final = 0.001
SLICE_PAUSE: Final = 0.01


class Timer:
    """One callback at a time on one event loop; one that raises is reported, and the last.

    Args:
        errors: Where a failure goes.
        consequence: What a failure means, for the log line.
    """

    __slots__ = ("_consequence", "_errors", "_failed", "_handle", "loop")

    def __init__(self, errors: OwnErrors, consequence: str) -> None:
        self._errors = errors
        self._consequence = consequence
        self._failed = False
        self._handle: asyncio.TimerHandle | None = None
        #: The event loop that it runs on, `None` while it does not.
        self.loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run on this event loop from now on."""
        self.stop()
        self.loop = loop

    def stop(self) -> None:
        """Call nothing more until it is started again."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self.loop = None

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call at a time of the loop's clock, instead of what was to be called before."""
        if self._handle is not None:
            self._handle.cancel()
        if self.loop is not None and not self._failed:
            # An empty context, or the timer would keep a starting connection's span current.
            self._handle = self.loop.call_at(when, self._call, callback, context=Context())

    def call_in(self, delay: float, callback: Callable[[], None]) -> None:
        """Call after a time, seconds, instead of what was to be called before."""
        if self.loop is not None:
            self.call_at(self.loop.time() + delay, callback)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001
            self._failed = True
            self._errors.report("runtime", error, callback, self._consequence)
            self.stop()
