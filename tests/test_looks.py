"""The look at all open connections: what is added up, in which slices, and what may fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest
import pytest_asyncio

from asgi_ws_observe import Settings
from asgi_ws_observe.connection import Connection
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.looks import COUNT_REST, MAX_PORTS, Looks
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.probe import Probe
from asgi_ws_observe.store import Look, Store
from asgi_ws_observe.timers import SLICE, SLICE_PAUSE, Timer
from tests.support import ACCEPT, scope, until
from tests.tcp import connect, listen

SHORT = 0.001
SLOW = 1000
NOTHING = Look(None, None, None, None, None, 0, 0, 0.0)


class Watched(Probe):
    """A probe with chosen answers that counts how often it was looked at."""

    __slots__ = ("buffer", "ends", "looks", "queued")

    def __init__(self, connection: Connection, watcher: Any) -> None:
        super().__init__(connection, watcher)
        self.buffer: int | None = None
        self.queued: int | None = None
        self.looks = 0
        # A connection that ends while this one is looked at.
        self.ends: Probe | None = None

    def look(self) -> None:
        self.looks += 1
        if self.ends is not None:
            self.ends.finished()

    def write_buffer(self) -> int | None:
        return self.buffer

    def queue(self) -> int | None:
        return self.queued


class Broken(Watched):
    """A probe whose server has changed."""

    def write_buffer(self) -> int | None:
        raise AttributeError("no such buffer")


class Watch:
    """Looks with a store of their own.

    Attributes:
        store: The store.
        looks: The looks, which look all the time.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.errors = OwnErrors(self.store)
        settings = Settings(look_interval=SHORT, slow_buffer_bytes=SLOW)
        self.looks = Looks(self.store, self.errors, settings)

    def open(self, route: str = "/a", kind: type[Watched] = Watched, server: Any = None) -> Watched:
        """Return the probe of a new open connection."""
        settings = Settings(route=lambda _: route)
        observation = Observation(settings, self.store, (), self.errors)
        connection = Connection(observation, scope(server=server), 0.0)
        connection.probe = probe = kind(connection, self.looks)
        connection.sent(ACCEPT, 0.0, 0.0)
        return probe

    async def round(self) -> None:
        """Wait until everything was looked at once more."""
        witness = self.open("/witness")
        numbers = witness.connection.numbers
        numbers.look = before = Look(queue_out=-1)
        await until(lambda: witness.looks and numbers.look is not before)
        witness.finished()


@pytest_asyncio.fixture
async def watch() -> AsyncIterator[Watch]:
    """Looks that run."""
    each = Watch()
    each.looks.start(asyncio.get_running_loop())
    yield each
    each.looks.stop()


async def test_numbers_of_a_route_are_added_up(watch: Watch) -> None:
    """Sums, maxima and the slow ones; the buffers' sizes go into the route's histogram too."""
    for buffer, queued in [(10, 3), (SLOW + 1, 5), (SLOW, None), (None, 0)]:
        probe = watch.open()
        probe.buffer, probe.queued = buffer, queued
    await watch.round()
    numbers = watch.store.route("/a")
    assert Look(2 * SLOW + 11, SLOW + 1, 1, 8, 5, 0, 0, 0.0) == numbers.look
    assert 3 * probe.looks == sum(numbers.buffer.counts)
    assert (2 * SLOW + 11) * probe.looks == numbers.buffer.sum


async def test_what_no_server_gives_is_unknown(watch: Watch) -> None:
    """A route whose connections tell nothing has no numbers, rather than zeros."""
    watch.open()
    await watch.round()
    assert NOTHING == watch.store.route("/a").look


async def test_sends_that_wait_are_added_up(watch: Watch) -> None:
    """How many `send()` calls wait, and how long the longest has waited."""
    for sending, seconds in [(2, 50.0), (3, 7.0), (0, 1000.0)]:
        connection = watch.open().connection
        began = perf_counter() - seconds
        if sending:
            connection.sending_since = began
        for later in range(1, sending):
            connection.waits_too(began + later)
    await watch.round()
    look = watch.store.route("/a").look
    assert (5, 3) == (look.queue_out, look.queue_out_max)
    assert 50.0 <= look.waiting_max < 1000.0


async def test_messages_that_wait_in_a_hub_are_added_up(watch: Watch) -> None:
    """Beside the `send()` calls; only those calls have waited for a time."""
    for queued, sends in [(3, 1), (7, 0), (0, 0)]:
        connection = watch.open().connection
        connection.queued = queued
        if sends:
            connection.sending_since = perf_counter() - 50.0
    await watch.round()
    look = watch.store.route("/a").look
    assert (11, 7) == (look.queue_out, look.queue_out_max)
    assert 50.0 <= look.waiting_max < 1000.0


async def test_hub_alone_makes_nothing_wait_for_a_time(watch: Watch) -> None:
    """A message that nobody began to send has not waited in a `send()`."""
    watch.open().connection.queued = 2
    await watch.round()
    look = watch.store.route("/a").look
    assert (2, 2, 0.0) == (look.queue_out, look.queue_out_max, look.waiting_max)


async def test_route_whose_connections_have_gone_gets_zeros(watch: Watch) -> None:
    """The last look's numbers do not stay."""
    probe = watch.open()
    probe.connection.sending_since = 1.0
    await watch.round()
    before = watch.store.route("/a").look.queue_out
    looks = probe.looks
    probe.finished()
    await watch.round()
    assert 1 == before
    assert (looks, NOTHING) == (probe.looks, watch.store.route("/a").look)


async def test_connection_of_another_store_is_looked_at_as_well(watch: Watch) -> None:
    """Its route is none of those that the round began with."""
    probe = watch.open()
    probe.buffer = 7
    del watch.store.routes["/a"]
    await watch.round()
    assert 7 == probe.connection.numbers.look.buffer


async def test_start_forgets_the_connections_of_another_loop(watch: Watch) -> None:
    """They have gone with it."""
    probe = watch.open()
    watch.looks.start(asyncio.get_running_loop())
    await watch.round()
    assert 0 == probe.looks


async def test_interval_of_zero_looks_at_nothing() -> None:
    """It is how it is turned off."""
    watch = Watch()
    watch.looks = Looks(watch.store, watch.errors, Settings(look_interval=0))
    watch.looks.start(asyncio.get_running_loop())
    probe = watch.open()
    loop: Any = asyncio.get_running_loop()
    assert [] == [each for each in loop._scheduled if not each.cancelled()]
    watch.looks.stop()
    assert 0 == probe.looks


async def test_failing_probe_is_reported_and_looked_at_no_more(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others still are; what fails of the same kind is logged once."""
    broken = [watch.open(kind=Broken), watch.open(kind=Broken)]
    sound = watch.open()
    await watch.round()
    await watch.round()
    assert [1, 1] == [each.looks for each in broken]
    assert 1 < sound.looks
    assert 2 == watch.store.own_errors["probe"]
    assert 1 == caplog.text.count("a connection is looked at no more")


class Clock:
    """A clock that moves on by so much whenever somebody looks at it."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 1000.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


async def test_many_connections_are_looked_at_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pauses there are never more of them than fit into a slice."""
    most, many = 10, 300
    watch, probes, pauses = Watch(), list[Watched](), list[tuple[int, float]]()
    call_in = Timer.call_in

    def pausing(timer: Timer, delay: float, callback: Any) -> None:
        pauses.append((sum(each.looks for each in probes), delay))
        call_in(timer, delay, callback)

    monkeypatch.setattr(Timer, "call_in", pausing)
    monkeypatch.setattr("asgi_ws_observe.looks.perf_counter", Clock(SLICE / most))
    watch.looks.start(asyncio.get_running_loop())
    probes += (watch.open(f"/{number % 3}") for number in range(many))
    await until(lambda: all(each.looks for each in probes))
    watch.looks.stop()

    first = [looked for looked, _ in pauses if looked <= many]
    slices = [after - before for before, after in pairwise(first)]
    assert max(slices) <= most + 1
    assert len(slices) >= many // (most + 1)
    assert {SLICE_PAUSE} == {delay for looked, delay in pauses[1:] if looked < many}


async def test_connection_that_ends_between_two_slices_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A round begins with those that are open, and skips those that are not any more."""
    monkeypatch.setattr("asgi_ws_observe.looks.perf_counter", Clock(2 * SLICE))
    watch = Watch()
    watch.looks.start(asyncio.get_running_loop())
    first, second, third = (watch.open() for _ in range(3))
    first.ends = second
    await until(lambda: third.looks)
    watch.looks.stop()
    assert 0 == second.looks


async def test_sockets_of_the_connections_ports_are_counted(watch: Watch) -> None:
    """Whether the server tells the port as a number or as text; the number is by state."""
    with ExitStack() as opened:
        listeners = [listen(opened), listen(opened)]
        for listener, kind in zip(listeners, (int, str), strict=True):
            connect(opened, listener, "127.0.0.1")
            watch.open(server=("127.0.0.1", kind(listener.getsockname()[1])))
        await until(lambda: (watch.store.tcp_connections or {}).get("established") == 2)


async def test_only_some_ports_are_counted(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path or nothing is no port; and a proxy's headers cannot make up thousands."""
    asked: list[Any] = []
    monkeypatch.setattr("asgi_ws_observe.looks.count_states", asked.append)
    for server in (None, ("/run/socket", None), ["unix", "path"]):
        watch.open(server=server)
    await watch.round()
    before = list(asked)
    for port in range(1, 2 * MAX_PORTS):
        watch.open(server=("127.0.0.1", port))
    await until(lambda: asked)
    assert [] == before
    assert frozenset(range(1, MAX_PORTS + 1)) == asked[0]


async def test_counting_of_sockets_rests_after_it_took_long(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rests so many times as long as it took."""
    clock, counts = Clock(), 0

    def count(_: Any) -> None:
        nonlocal counts
        counts += 1
        clock.now += 1.0

    monkeypatch.setattr("asgi_ws_observe.looks.perf_counter", clock)
    monkeypatch.setattr("asgi_ws_observe.looks.count_states", count)
    watch.open(server=("127.0.0.1", 8000))
    await until(lambda: watch.looks._count_from)
    for _ in range(3):
        await watch.round()
    before = counts
    clock.now += COUNT_REST
    await until(lambda: counts > 1)
    assert 1 == before


async def test_sockets_are_counted_once_at_a_time(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks do not wait for it."""
    began, go_on = threading.Semaphore(0), threading.Event()

    def count(_: Any) -> dict[str, int]:
        began.release()
        go_on.wait(10)
        return {"established": 1}

    monkeypatch.setattr("asgi_ws_observe.looks.count_states", count)
    watch.open(server=("127.0.0.1", 8000))
    await until(lambda: began.acquire(blocking=False))
    for _ in range(3):
        await watch.round()
    again = began.acquire(blocking=False)
    go_on.set()
    await until(lambda: watch.store.tcp_connections)
    assert not again


async def test_failure_to_count_sockets_is_reported(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The numbers are unknown then, and everything else goes on."""

    def count(_: Any) -> None:
        raise MemoryError

    watch.store.tcp_connections = {"established": 1}
    monkeypatch.setattr("asgi_ws_observe.looks.count_states", count)
    watch.open(server=("127.0.0.1", 8000))
    await until(lambda: watch.store.own_errors["probe"])
    await until(lambda: not watch.looks._counting)
    await watch.round()
    assert watch.store.tcp_connections is None
    assert "sockets are not counted" in caplog.text
