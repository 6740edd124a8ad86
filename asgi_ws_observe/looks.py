"""The look at all open connections: write buffers, queues, bytes on the wire, sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter
from typing import Final

from .hooks import OwnErrors
from .probe import Probe
from .settings import Settings
from .sockets import count_states
from .store import Look, RouteNumbers, Store
from .timers import SLICE, SLICE_PAUSE, Timer

__all__ = ["Looks"]

#: Local ports of WebSockets that are counted; a process has one or two.
MAX_PORTS: Final = 16
#: Counting sockets takes a tenth of a second for ten thousand, half of that with the interpreter's
#: lock, so it rests for this many times as long.
COUNT_REST: Final = 100

# Reading thousands of sockets takes milliseconds. A thread of our own, since an application's
# thread pool may be exhausted.
_executor: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="asgi-ws-observe-sockets")


class _Tally:
    """The sums and maxima of one route, as far as looked at."""

    __slots__ = (
        *("buffer", "buffer_max", "queue_in", "queue_in_max", "queue_out", "queue_out_max"),
        *("slow", "waiting_max"),
    )

    def __init__(self) -> None:
        self.buffer: int | None = None
        self.queue_in: int | None = None
        self.buffer_max = self.slow = self.queue_in_max = self.queue_out = self.queue_out_max = 0
        self.waiting_max = 0.0

    def look(self) -> Look:
        """Return what was found."""
        buffers, queues = self.buffer is not None, self.queue_in is not None
        return Look(
            self.buffer,
            self.buffer_max if buffers else None,
            self.slow if buffers else None,
            self.queue_in,
            self.queue_in_max if queues else None,
            self.queue_out,
            self.queue_out_max,
            self.waiting_max,
        )


class Looks:
    """Looks at every open connection in turn, in slices, so that the event loop is never held.

    Args:
        store: Where the numbers go.
        errors: Where failures go. A probe that fails is looked at no more.
        settings: `Settings.look_interval` and `Settings.slow_buffer_bytes`.
    """

    def __init__(self, store: Store, errors: OwnErrors, settings: Settings) -> None:
        self._store = store
        self._errors = errors
        self._interval = settings.look_interval
        self._slow_from = settings.slow_buffer_bytes
        self._timer = Timer(errors, "open connections are looked at no more")
        self._probes: dict[Probe, None] = {}
        self._ports: set[int] = set()
        self._counting = False
        self._began = self._count_from = 0.0
        self._left: Iterator[Probe] = iter(())
        self._tallies: dict[RouteNumbers, _Tally] = {}

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look on this event loop from now on."""
        self._probes.clear()
        if self._interval:
            self._timer.start(loop)
            self._timer.call_in(self._interval, self._begin)

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()

    def add(self, probe: Probe) -> None:
        """Look at a connection from now on."""
        self._probes[probe] = None
        if len(self._ports) < MAX_PORTS and (server := probe.connection.scope.get("server")):
            with suppress(TypeError, ValueError):  # a path, or no port at all
                # granian gives it as text.
                self._ports.add(int(server[1]))

    def remove(self, probe: Probe) -> None:
        """Look at a connection no more."""
        self._probes.pop(probe, None)

    def _begin(self) -> None:
        self._began = perf_counter()
        # A route whose last connection has gone gets its zeros.
        self._tallies = {numbers: _Tally() for numbers in self._store.routes.values()}
        self._left = iter(list(self._probes))
        self._go_on()

    def _go_on(self) -> None:
        ends = perf_counter() + SLICE
        for probe in self._left:
            if probe in self._probes:
                self._look_at(probe)
            if perf_counter() > ends:
                self._timer.call_in(SLICE_PAUSE, self._go_on)
                return
        for numbers, tally in self._tallies.items():
            numbers.look = tally.look()
        self._tallies = {}
        self._count_sockets()
        spent = perf_counter() - self._began
        self._timer.call_in(max(SLICE_PAUSE, self._interval - spent), self._begin)

    def _look_at(self, probe: Probe) -> None:
        try:
            probe.look()
            self._add_up(probe)
        except Exception as error:  # noqa: BLE001
            self.remove(probe)
            self._errors.report("probe", error, type(probe), "a connection is looked at no more")

    def _add_up(self, probe: Probe) -> None:
        connection = probe.connection
        numbers = connection.numbers
        tally = self._tallies.get(numbers)
        if tally is None:
            tally = self._tallies[numbers] = _Tally()
        size = probe.write_buffer()
        if size is not None:
            tally.buffer = (tally.buffer or 0) + size
            tally.buffer_max = max(tally.buffer_max, size)
            tally.slow += size > self._slow_from
            numbers.buffer.observe(size)
        queued = probe.queue()
        if queued is not None:
            tally.queue_in = (tally.queue_in or 0) + queued
            tally.queue_in_max = max(tally.queue_in_max, queued)
        if waiting := connection.sending + connection.queued:
            tally.queue_out += waiting
            tally.queue_out_max = max(tally.queue_out_max, waiting)
        if connection.sending_since:
            tally.waiting_max = max(tally.waiting_max, perf_counter() - connection.sending_since)

    def _count_sockets(self) -> None:
        if self._ports and not self._counting and perf_counter() >= self._count_from:
            self._counting = True
            _executor.submit(self._count, frozenset(self._ports))

    def _count(self, ports: frozenset[int]) -> None:
        began = perf_counter()
        try:
            self._store.tcp_connections = count_states(ports)
        except Exception as error:  # noqa: BLE001
            self._store.tcp_connections = None
            self._errors.report("probe", error, "count_states", "sockets are not counted")
        finally:
            now = perf_counter()
            self._count_from = now + COUNT_REST * (now - began)
            self._counting = False
