"""Heartbeats of our own: when a connection is visited, what is done then, and who is dead."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest

from asgi_ws_observe import Settings
from asgi_ws_observe.connection import Connection
from asgi_ws_observe.heartbeats import GRACE, Heartbeats
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.probe import Probe
from asgi_ws_observe.store import Store
from asgi_ws_observe.timers import SLICE, SLICE_PAUSE, Timer
from tests.support import ACCEPT, scope, until

INTERVAL = 10.0
TIMEOUT = 4.0
NOW = 1000.0


class Pinged(Probe):
    """A probe of a connection with a chosen behaviour that notes what is done with it."""

    __slots__ = (
        *("aborts", "answers", "can_ping", "closing", "fails", "gone", "paused", "pings"),
        *("server_heartbeat", "visits"),
    )
    tells_end = True

    def __init__(self, connection: Connection, watcher: Any) -> None:
        super().__init__(connection, watcher)
        self.can_ping = True
        self.server_heartbeat: float | None = None
        self.answers = self.closing = self.gone = self.paused = False
        self.pings: list[bytes] = []
        self.aborts = self.fails = self.visits = 0

    def is_closing(self) -> bool:
        self.visits += 1
        return self.closing

    def is_paused(self) -> bool:
        return self.paused

    def peer_is_gone(self) -> bool:
        return self.gone

    def ping(self, payload: bytes) -> None:
        self.pings.append(payload)
        self.pinged_at = perf_counter()
        self.waiting = not self.answers

    def fail(self) -> None:
        self.fails += 1

    def abort(self) -> bool:
        self.aborts += 1
        return True


class Hearts:
    """Heartbeats with a store of their own.

    Attributes:
        store: The store.
        beats: The heartbeats, which do not run yet.
    """

    def __init__(self, interval: float | None = INTERVAL, **settings: Any) -> None:
        self.store = Store()
        self.errors = OwnErrors(self.store)
        chosen = {"heartbeat_interval": interval, "heartbeat_timeout": TIMEOUT} | settings
        self.beats = Heartbeats(self.errors, Settings(**chosen))

    def open(self, kind: type[Probe] = Pinged) -> Any:
        """Return the probe of a new open connection, whose last ping was now."""
        observation = Observation(Settings(), self.store, (), self.errors)
        connection = Connection(observation, scope(), 0.0)
        connection.probe = probe = kind(connection, self.beats)
        connection.sent(ACCEPT, 0.0, 0.0)
        probe.pinged_at = NOW
        return probe

    def visit(self, probe: Probe, after: float) -> float:
        """Visit a connection so long after now; return how long after now it wants the next."""
        return self.beats._visit(probe, NOW + after) - NOW

    @property
    def missed(self) -> int:
        """How many pings had no answer in time."""
        return sum(each.heartbeat_timeouts for each in self.store.routes.values())


def test_ping_is_written_when_it_is_due() -> None:
    """Each has a payload of its own, so that its answer is known; then it is the answer's turn."""
    hearts = Hearts()
    probe = hearts.open()
    early = hearts.visit(probe, 9.0)
    assert (10.0, []) == (early, probe.pings)
    assert INTERVAL + TIMEOUT == hearts.visit(probe, INTERVAL)
    probe.waiting, probe.pinged_at = False, NOW
    hearts.visit(probe, INTERVAL)
    first, second = probe.pings
    assert first != second
    assert first[:4] == second[:4] == b"wso\0"
    assert (8, 8) == (len(first), len(second))


def test_connection_that_waits_for_its_first_ping_is_looked_at_before() -> None:
    """It may be closing meanwhile, and not end."""
    hearts = Hearts()
    assert 1.0 + TIMEOUT == hearts.visit(hearts.open(), 1.0)


@pytest.mark.parametrize(
    ("server", "pings"), [(None, 1), (INTERVAL - 1, 0), (INTERVAL, 0), (INTERVAL + 1, 1)]
)
def test_own_ping_is_left_to_a_server_that_pings_often_enough(
    server: float | None, pings: int
) -> None:
    """One that pings more rarely, or does not end the dead, is helped."""
    hearts = Hearts()
    probe = hearts.open()
    probe.server_heartbeat = server
    again = hearts.visit(probe, INTERVAL)
    assert pings == len(probe.pings)
    assert INTERVAL + (TIMEOUT if pings else INTERVAL) == again


def test_connection_that_cannot_be_pinged_is_only_visited() -> None:
    """As is every one where no interval is set."""
    hearts, closing = Hearts(), Hearts(None, heartbeat_close=True)
    probe, other = hearts.open(), closing.open()
    probe.can_ping = False
    assert 2 * INTERVAL == hearts.visit(probe, INTERVAL)
    assert INTERVAL + TIMEOUT == closing.visit(other, INTERVAL)
    assert [] == probe.pings + other.pings


def test_ping_without_an_answer_is_counted_once() -> None:
    """Another one follows, and the connection goes on."""
    hearts = Hearts()
    probe = hearts.open()
    probe.waiting = True
    early = hearts.visit(probe, TIMEOUT - 1)
    before = hearts.missed
    late = hearts.visit(probe, TIMEOUT)
    hearts.visit(probe, TIMEOUT + INTERVAL)
    assert (TIMEOUT, 0) == (early, before)
    assert (TIMEOUT + INTERVAL, 1) == (late, hearts.missed)
    assert (1, 0, 0) == (len(probe.pings), probe.fails, probe.aborts)


def test_server_that_reads_nothing_is_no_timeout() -> None:
    """The answer may be there, behind messages that the application has not taken."""
    hearts = Hearts(heartbeat_close=True)
    probe = hearts.open()
    probe.waiting = probe.paused = True
    assert 2 * TIMEOUT == hearts.visit(probe, TIMEOUT)
    assert (0, 0, True) == (hearts.missed, probe.fails, probe.waiting)
    probe.gone = True
    hearts.visit(probe, 2 * TIMEOUT)
    assert (1, 1, False) == (hearts.missed, probe.fails, probe.waiting)


def test_dead_connection_is_closed_and_then_aborted() -> None:
    """It gets a moment to write its close frame."""
    hearts = Hearts(heartbeat_close=True)
    probe = hearts.open()
    probe.waiting = True
    assert TIMEOUT + GRACE == hearts.visit(probe, TIMEOUT)
    assert (1, 0) == (probe.fails, probe.aborts)
    probe.closing = True
    assert TIMEOUT + GRACE == hearts.visit(probe, TIMEOUT + GRACE / 2)
    assert (1, 0) == (probe.fails, probe.aborts)
    assert TIMEOUT + GRACE + TIMEOUT == hearts.visit(probe, TIMEOUT + GRACE)
    assert (1, 1, 1) == (probe.fails, probe.aborts, hearts.missed)


@pytest.mark.parametrize(("interval", "close", "aborts"), [(None, True, 1), (INTERVAL, False, 0)])
def test_closing_connection_that_does_not_end_is_aborted(
    interval: float | None, close: bool, aborts: int
) -> None:
    """After the timeout, and only where connections are to be ended at all."""
    hearts = Hearts(interval, heartbeat_close=close)
    probe = hearts.open()
    probe.closing = probe.waiting = True
    assert TIMEOUT == hearts.visit(probe, 0.0)
    assert (TIMEOUT if close else TIMEOUT + 1) == hearts.visit(probe, 1.0)
    assert 0 == probe.aborts
    assert 2 * TIMEOUT == hearts.visit(probe, TIMEOUT)
    assert (aborts, 0, 0) == (probe.aborts, probe.fails, hearts.missed)


@pytest.mark.parametrize(
    ("interval", "period"), [(INTERVAL, INTERVAL), (None, TIMEOUT)], ids=["interval", "timeout"]
)
async def test_first_visits_are_spread_over_the_whole_period(
    interval: float | None, period: float
) -> None:
    """A thousand clients that connect at once are no burst later."""
    random.seed(7)
    hearts = Hearts(interval, heartbeat_close=True)
    hearts.beats.start(asyncio.get_running_loop())
    added = {}
    for _ in range(1000):
        before = perf_counter()
        added[hearts.open()] = (before, perf_counter())
    hearts.beats.stop()
    due = {probe: when for when, _, probe in hearts.beats._due}
    tenths = [int(10 * (due[probe] - before) / period) for probe, (before, _) in added.items()]
    assert all(before <= due[each] <= after + period for each, (before, after) in added.items())
    for tenth in range(9):
        assert 50 <= tenths.count(tenth) <= 150


async def test_connection_is_pinged_again_and_again_until_it_is_over() -> None:
    """A real event loop; what has gone is not visited, though its visit is still due."""
    hearts = Hearts(0.1)
    hearts.beats.start(asyncio.get_running_loop())
    probe, gone = hearts.open(), hearts.open()
    probe.answers = True
    gone.finished()
    await until(lambda: len(probe.pings) >= 3)
    probe.finished()
    visits = probe.visits
    await until(lambda: not hearts.beats._due)
    hearts.beats.stop()
    assert (visits, 0) == (probe.visits, gone.visits)


async def test_dead_connection_ends_on_a_real_event_loop() -> None:
    """Ping, timeout, close, abort."""
    hearts = Hearts(0.1, heartbeat_timeout=0.1, heartbeat_close=True)
    hearts.beats.start(asyncio.get_running_loop())
    probe = hearts.open()
    await until(lambda: probe.aborts)
    probe.finished()
    hearts.beats.stop()
    assert (1, 1, 1) == (len(probe.pings), probe.fails, hearts.missed)


async def test_what_need_not_be_visited_is_not() -> None:
    """Where neither pings nor ends are wanted, no timer runs; nor for what tells no end."""
    off, on = Hearts(None), Hearts()
    for hearts in (off, on):
        hearts.beats.start(asyncio.get_running_loop())
    off.open()
    on.open(Probe)
    loop: Any = asyncio.get_running_loop()
    timers = [each for each in loop._scheduled if not each.cancelled()]
    on.beats.stop()
    assert ([], []) == (off.beats._due, on.beats._due)
    assert 1 == len(timers)


async def test_start_forgets_the_connections_of_another_loop() -> None:
    """They have gone with it."""
    hearts = Hearts(heartbeat_close=True)
    hearts.beats.start(asyncio.get_running_loop())
    probe = hearts.open()
    probe.closing = True
    hearts.visit(probe, 0.0)
    hearts.beats.start(asyncio.get_running_loop())
    hearts.beats.stop()
    assert ([], set(), {}) == (hearts.beats._due, hearts.beats._probes, hearts.beats._ends)


class Broken(Pinged):
    """A probe whose server has changed."""

    def is_closing(self) -> bool:
        super().is_closing()
        raise AttributeError("no such transport")


async def test_failing_probe_is_reported_and_visited_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others still are."""
    hearts = Hearts(0.1)
    hearts.beats.start(asyncio.get_running_loop())
    broken, sound = hearts.open(Broken), hearts.open()
    sound.answers = True
    await until(lambda: broken.visits and len(sound.pings) >= 3)
    hearts.beats.stop()
    assert 1 == broken.visits
    assert 1 == hearts.store.own_errors["probe"]
    assert "a connection has no more heartbeat" in caplog.text


class Clock:
    """A clock that moves on by so much whenever somebody looks at it."""

    def __init__(self, step: float) -> None:
        self.now, self.step = NOW, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


async def test_many_visits_are_made_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pauses there are never more of them than fit into a slice."""
    most, many = 10, 300
    hearts, probes, pauses = Hearts(), list[Any](), list[tuple[int, float]]()
    call_in = Timer.call_in

    def pausing(timer: Timer, delay: float, callback: Any) -> None:
        pauses.append((sum(each.visits for each in probes), delay))
        call_in(timer, delay, callback)

    monkeypatch.setattr(Timer, "call_in", pausing)
    hearts.beats.start(asyncio.get_running_loop())
    probes += (hearts.open() for _ in range(many))
    # All are due at once, on a clock that has moved on.
    clock = Clock(SLICE / most)
    clock.now = perf_counter() + 2 * INTERVAL
    monkeypatch.setattr("asgi_ws_observe.heartbeats.perf_counter", clock)
    await until(lambda: all(each.visits for each in probes))
    hearts.beats.stop()

    visited = [visits for visits, _ in pauses]
    slices = [after - before for before, after in pairwise(visited)]
    assert max(slices) <= most + 1
    assert len(slices) >= many // (most + 1)
    assert SLICE_PAUSE in {delay for visits, delay in pauses if 0 < visits < many}
