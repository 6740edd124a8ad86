"""The periodic look at the event loop.

A timer, not a task: a loop that ends drops it silently, so it needs no lifespan to be stopped, and
it never shows up among an application's own tasks.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Final

from .hooks import OwnErrors
from .store import Store

__all__ = ["Runtime"]

#: The largest lag is kept for this long, and up to twice as long, seconds.
MAX_WINDOW: Final = 30.0


class Runtime:
    """Measures how late the event loop calls a timer.

    Args:
        store: Where the numbers go.
        errors: Where a failure goes; it ends the measuring.
        interval: Seconds between two looks; 0 for none.
    """

    def __init__(self, store: Store, errors: OwnErrors, interval: float) -> None:
        self._store = store
        self._errors = errors
        self._interval = interval
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._window_ends = 0.0
        self._max = self._previous_max = 0.0
        store.lag_max = self.lag_max

    @classmethod
    def of(cls, store: Store, errors: OwnErrors, interval: float) -> Runtime:
        """Return the one of a store: two applications in one process look once."""
        if store.runtime is None:
            store.runtime = cls(store, errors, interval)
        runtime: Runtime = store.runtime
        return runtime

    def start(self) -> None:
        """Start on the running event loop, unless it runs there already."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another kind of event loop, such as trio's
            return
        if self._interval and loop is not self._loop:
            self.stop()
            self._loop = loop
            self._window_ends = loop.time() + MAX_WINDOW
            self._schedule(loop)

    def stop(self) -> None:
        """Stop; `start` starts it again."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None

    def lag_max(self) -> float:
        """Return the largest lag of the last 30 to 60 seconds, seconds."""
        return max(self._max, self._previous_max)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + self._interval
        # An empty context, or the timer would keep the starting connection's span current for ever.
        self._timer = loop.call_at(due, self._look, loop, due, context=Context())

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        try:
            now = loop.time()
            lag = max(0.0, now - due)
            self._store.lag.observe(lag)
            if now >= self._window_ends:
                self._previous_max, self._max = self._max, 0.0
                self._window_ends = now + MAX_WINDOW
            self._max = max(self._max, lag)
            self._schedule(loop)
        except Exception as error:  # noqa: BLE001
            self._errors.report("runtime", error, self, "the event loop's lag is measured no more")
            self._interval = 0.0
            self.stop()
