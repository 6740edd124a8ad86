"""What is done again and again on the event loop: its lag, looks, heartbeats, signs of life."""

from __future__ import annotations

import asyncio
from typing import Final

from .connection import Connection
from .heartbeats import Heartbeats
from .hooks import OwnErrors
from .looks import Looks
from .probe import Probe
from .rounds import Rounds
from .settings import Settings
from .store import Store
from .timers import Timer

__all__ = ["LoopLag", "Runtime"]

#: The largest lag is kept for this long, and up to twice as long, seconds.
MAX_WINDOW: Final = 30.0


class LoopLag:
    """Measures how late the event loop calls a timer.

    Args:
        store: Where the numbers go.
        errors: Where a failure goes; it ends the measuring.
        interval: Seconds between two looks; 0 for none.
    """

    def __init__(self, store: Store, errors: OwnErrors, interval: float) -> None:
        self._store = store
        self._interval = interval
        self._timer = Timer(errors, "the event loop's lag is measured no more")
        self._due = self._window_ends = 0.0
        self._max = self._previous_max = 0.0
        store.lag_max = self.maximum

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Measure on this event loop from now on."""
        if self._interval:
            self._timer.start(loop)
            self._window_ends = loop.time() + MAX_WINDOW
            self._schedule(loop.time())

    def stop(self) -> None:
        """Measure no more."""
        self._timer.stop()

    def maximum(self) -> float:
        """Return the largest lag of the last 30 to 60 seconds, seconds."""
        return max(self._max, self._previous_max)

    def _schedule(self, now: float) -> None:
        self._due = now + self._interval
        self._timer.call_at(self._due, self._look)

    def _look(self) -> None:
        loop = self._timer.loop
        assert loop is not None  # noqa: S101 - the timer runs
        now = loop.time()
        lag = max(0.0, now - self._due)
        self._store.lag.observe(lag)
        if now >= self._window_ends:
            self._previous_max, self._max = self._max, 0.0
            self._window_ends = now + MAX_WINDOW
        self._max = max(self._max, lag)
        self._schedule(now)


class Runtime:
    """The periodic work of one store; it watches the probes of its open connections.

    Args:
        store: Where the numbers go.
        errors: Where failures go.
        settings: How often, and what is slow.
    """

    def __init__(self, store: Store, errors: OwnErrors, settings: Settings) -> None:
        self._looks = Looks(store, errors, settings)
        self._heartbeats = Heartbeats(errors, settings)
        self._rounds = Rounds(errors)
        self._parts = (
            LoopLag(store, errors, settings.loop_lag_interval),
            self._looks,
            self._heartbeats,
            self._rounds,
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def of(cls, store: Store, errors: OwnErrors, settings: Settings) -> Runtime:
        """Return the one of a store: two applications in one process look once.

        The settings are those of the first.
        """
        if store.runtime is None:
            store.runtime = cls(store, errors, settings)
        runtime: Runtime = store.runtime
        return runtime

    def start(self) -> None:
        """Start on the running event loop, unless it runs there already."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another kind of event loop, such as trio's
            return
        if loop is not self._loop:
            self._loop = loop
            for part in self._parts:
                part.start(loop)

    def stop(self) -> None:
        """Stop; `start` starts it again."""
        self._loop = None
        for part in self._parts:
            part.stop()

    def follow(self, connection: Connection) -> None:
        """Call the hook `alive` for a connection until it has ended."""
        self._rounds.add(connection)

    def add(self, probe: Probe) -> None:
        """Watch an open connection."""
        self._looks.add(probe)
        self._heartbeats.add(probe)

    def remove(self, probe: Probe) -> None:
        """Watch a connection no more."""
        self._looks.remove(probe)
        self._heartbeats.remove(probe)
