"""Heartbeats of our own, and the end of connections that are dead."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from random import uniform
from time import perf_counter
from typing import Final

from .hooks import OwnErrors
from .probe import Probe
from .settings import Settings
from .timers import SLICE, SLICE_PAUSE, Timer

__all__ = ["Heartbeats"]

#: So much later than due a ping may be, seconds: it bounds how often the timer runs.
TICK: Final = 0.05
#: A dead connection gets this long to write its close frame, seconds.
GRACE: Final = 1.0
_PREFIX: Final = b"wso\0"


class Heartbeats:
    """Visits each connection when its next ping, or the answer to its last one, is due.

    Args:
        errors: Where failures go. A probe that fails is visited no more.
        settings: The fields whose names begin with ``heartbeat``.
    """

    def __init__(self, errors: OwnErrors, settings: Settings) -> None:
        self._errors = errors
        self._interval = settings.heartbeat_interval
        self._timeout = settings.heartbeat_timeout
        self._close = settings.heartbeat_close
        self._timer = Timer(errors, "no heartbeat is sent or watched any more")
        self._numbers = count()
        # When, a number that keeps the order, and which; those that have gone stay until due.
        self._due: list[tuple[float, int, Probe]] = []
        # When a connection that is being closed is to be aborted.
        self._ends: dict[Probe, float] = {}
        self._probes: set[Probe] = set()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Visit on this event loop from now on."""
        self._due.clear()
        self._probes.clear()
        self._ends.clear()
        if self._interval or self._close:
            self._timer.start(loop)
            self._timer.call_in(TICK, self._visit_due)

    def stop(self) -> None:
        """Visit no more."""
        self._timer.stop()

    def add(self, probe: Probe) -> None:
        """Visit a connection from now on; the first time at random, so that many are no burst."""
        if self._timer.loop is not None and probe.tells_end:
            self._probes.add(probe)
            now = perf_counter()
            period = self._interval or self._timeout
            probe.pinged_at = now - uniform(0.0, period)  # noqa: S311
            self._visit_at(probe.pinged_at + period, probe)

    def remove(self, probe: Probe) -> None:
        """Visit a connection no more."""
        self._probes.discard(probe)
        self._ends.pop(probe, None)

    def _visit_at(self, when: float, probe: Probe) -> None:
        heapq.heappush(self._due, (when, next(self._numbers), probe))

    def _visit_due(self) -> None:
        now = perf_counter()
        ends = now + SLICE
        while self._due and self._due[0][0] <= now:
            probe = heapq.heappop(self._due)[2]
            if probe in self._probes:
                self._visit_safely(probe, now)
            if perf_counter() > ends:
                self._timer.call_in(SLICE_PAUSE, self._visit_due)
                return
        self._timer.call_in(TICK, self._visit_due)

    def _visit_safely(self, probe: Probe, now: float) -> None:
        try:
            self._visit_at(self._visit(probe, now), probe)
        except Exception as error:  # noqa: BLE001
            self.remove(probe)
            self._errors.report("probe", error, type(probe), "a connection has no more heartbeat")

    def _visit(self, probe: Probe, now: float) -> float:
        """Do what is due for a connection and return when to come again."""
        if probe in self._ends or probe.is_closing():
            return self._end(probe, now)
        if probe.waiting:
            return self._look_for_answer(probe, now)
        period = self._interval or self._timeout
        if now < probe.pinged_at + period:
            return min(probe.pinged_at + period, now + self._timeout)
        if not self._interval or not probe.can_ping:
            return now + period
        own = probe.server_heartbeat
        if own is not None and own <= self._interval:
            return now + period
        number = next(self._numbers) & 0xFFFFFFFF
        probe.ping(_PREFIX + number.to_bytes(4, "big"))
        return now + min(self._interval, self._timeout)

    def _look_for_answer(self, probe: Probe, now: float) -> float:
        if now < probe.pinged_at + self._timeout:
            return probe.pinged_at + self._timeout
        if probe.is_paused() and not probe.peer_is_gone():
            # The answer may be there, behind messages that the application has not taken.
            return now + self._timeout
        probe.waiting = False
        probe.connection.heartbeat_missed()
        if not self._close:
            return now + (self._interval or self._timeout)
        self._ends[probe] = now + GRACE
        probe.fail()
        return now + GRACE

    def _end(self, probe: Probe, now: float) -> float:
        """Abort a connection that the server closes and that does not end."""
        if self._close:
            ends = self._ends.setdefault(probe, now + self._timeout)
            if now < ends:
                return ends
            probe.abort()
        return now + self._timeout
