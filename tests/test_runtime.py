"""The periodic work on real event loops: the event loop's lag, and what watches connections."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import Any

import pytest

from asgi_ws_observe import Settings
from asgi_ws_observe.connection import Connection
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.probe import Probe
from asgi_ws_observe.runtime import MAX_WINDOW, Runtime
from asgi_ws_observe.store import Store
from tests.support import ACCEPT, scope, until

SHORT = 0.001


def make(interval: float = SHORT, **settings: Any) -> tuple[Runtime, Store]:
    """Return a runtime with a store of its own, which measures the lag and does nothing else."""
    store = Store()
    chosen = {"loop_lag_interval": interval, "look_interval": 0} | settings
    return Runtime(store, OwnErrors(store), Settings(**chosen)), store


def looks(store: Store) -> int:
    """Return how often the event loop was looked at."""
    return sum(store.lag.counts)


def timers() -> int:
    """Return how many timers that measure the lag wait on this loop."""
    loop: Any = asyncio.get_running_loop()
    waiting = [handle for handle in loop._scheduled if not handle.cancelled()]
    return sum("LoopLag._look" in repr(handle._args) for handle in waiting)


async def test_lag_is_measured_again_and_again() -> None:
    """One observation an interval, none of them negative."""
    runtime, store = make()

    runtime.start()
    await until(lambda: looks(store) >= 3)
    runtime.stop()

    assert store.lag.sum >= 0.0
    assert store.lag_max() <= store.lag.sum


async def test_blocked_loop_shows_in_the_lag() -> None:
    """The largest lag is as long as the block, and stays visible afterwards."""
    runtime, store = make()
    runtime.start()
    await until(lambda: looks(store))

    time.sleep(0.05)  # noqa: ASYNC251
    before = looks(store)
    await until(lambda: looks(store) > before + 2)
    runtime.stop()

    assert store.lag_max() >= 0.045
    assert sum(store.lag.counts[store.lag.bounds.index(0.05) :]) >= 1
    assert store.lag.sum >= 0.045


async def test_starting_twice_keeps_one_timer() -> None:
    """Every connection starts it."""
    runtime, store = make()

    for _ in range(5):
        runtime.start()
    at_first = timers()
    await until(lambda: looks(store) >= 2)
    runtime.start()
    later = timers()
    runtime.stop()

    assert (1, 1) == (at_first, later)


async def test_stopped_runtime_measures_no_more_and_can_start_again() -> None:
    """A lifespan that ends takes the timer with it."""
    runtime, store = make()
    runtime.start()
    await until(lambda: looks(store))

    runtime.stop()
    runtime.stop()
    stopped = looks(store)
    assert 0 == timers()

    runtime.start()
    await until(lambda: looks(store) > stopped)
    runtime.stop()


def test_works_on_another_loop_after_the_first_one_ended() -> None:
    """As in test suites; the first loop takes its timer along."""
    runtime, store = make()

    async def serve() -> None:
        before = looks(store)
        runtime.start()
        await until(lambda: looks(store) > before)
        assert 1 == timers()

    asyncio.run(serve())
    first = looks(store)
    asyncio.run(serve())

    assert 0 < first < looks(store)


def test_no_running_loop_is_no_error() -> None:
    """Under another kind of event loop there is nothing to measure."""
    runtime, store = make()

    runtime.start()
    runtime.stop()

    assert (0, 0.0) == (looks(store), store.lag_max())


async def test_interval_of_zero_measures_nothing() -> None:
    """It is how it is turned off."""
    runtime, store = make(0.0)

    runtime.start()

    assert (0, 0) == (timers(), looks(store))


async def test_failure_is_reported_and_ends_the_measuring(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The event loop's own exception handler never hears of it."""
    runtime, store = make()
    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, told: unhandled.append(told))

    # Counts that cannot be added to.
    monkeypatch.setattr(store.lag, "pending", None)
    runtime.start()
    await until(lambda: store.own_errors["runtime"])

    assert (1, 0, []) == (store.own_errors["runtime"], timers(), unhandled)
    assert 1 == len(caplog.records)
    assert "the event loop's lag is measured no more" in caplog.text


async def test_timer_runs_in_an_empty_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that starts it would keep its span current for ever."""
    variable: ContextVar[str] = ContextVar("variable", default="empty")
    runtime, store = make()
    seen: list[str] = []
    measure = store.lag.observe

    class Witness:
        """Stand for the histogram and note the context."""

        def observe(self, value: float) -> None:
            seen.append(variable.get())
            measure(value)

    monkeypatch.setattr(store, "lag", Witness())
    variable.set("of a connection")
    runtime.start()
    await until(lambda: len(seen) >= 3)
    runtime.stop()

    assert {"empty"} == set(seen)


class Jumping(asyncio.SelectorEventLoop):
    """A real event loop whose clock can be put forward, as if something had blocked it."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def test_largest_lag_is_forgotten_after_two_windows() -> None:
    """It stays for one window at least, so that no scrape misses it."""
    runtime, store = make()
    loop = Jumping()
    largest: list[float] = []

    async def serve() -> None:
        runtime.start()
        for blocked in (100.0, MAX_WINDOW + 1, MAX_WINDOW + 2):
            before = looks(store)
            loop.ahead += blocked
            await until(lambda before=before: looks(store) > before)  # type: ignore[misc]
            largest.append(store.lag_max())
        runtime.stop()

    try:
        loop.run_until_complete(serve())
    finally:
        loop.close()

    assert [100, 100, MAX_WINDOW + 2] == [round(lag) for lag in largest]


async def test_failure_ends_the_measuring_for_good() -> None:
    """The next connection does not start it again."""
    runtime, store = make()
    store.lag.pending = None  # type: ignore[assignment]
    runtime.start()
    await until(lambda: store.own_errors["runtime"])
    runtime.start()
    assert 0 == timers()
    assert 1 == store.own_errors["runtime"]


def test_two_middlewares_of_one_store_look_once() -> None:
    """Or the second would hide the first one's maximum, and count every lag twice."""
    store = Store()
    first = Runtime.of(store, OwnErrors(store), Settings())
    assert first is Runtime.of(store, OwnErrors(store), Settings())


class Watched(Probe):
    """A probe that ends connections, counts what is done with it, and answers no ping."""

    __slots__ = ("looks", "pings")
    tells_end = True
    can_ping = True

    def __init__(self, connection: Connection, watcher: Runtime) -> None:
        super().__init__(connection, watcher)
        self.looks = self.pings = 0

    def look(self) -> None:
        self.looks += 1

    def ping(self, payload: bytes) -> None:
        self.pings += 1


async def test_open_connection_is_looked_at_and_pinged_until_it_is_over() -> None:
    """The runtime is what a probe knows as its watcher."""
    runtime, store = make(look_interval=SHORT, heartbeat_interval=0.1)
    connection = Connection(Observation(Settings(), store, (), OwnErrors(store)), scope(), 0.0)
    connection.probe = probe = Watched(connection, runtime)

    runtime.start()
    connection.sent(ACCEPT, 0.0, 0.0)
    await until(lambda: probe.looks and probe.pings)
    probe.finished()
    after = probe.looks, probe.pings
    # The next look at all connections writes over it.
    numbers = connection.numbers
    numbers.look = marked = numbers.look._replace(queue_out=-1)
    await until(lambda: numbers.look is not marked)
    runtime.stop()

    assert after == (probe.looks, probe.pings)
