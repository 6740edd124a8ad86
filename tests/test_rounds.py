"""The hook `alive`: for whom it is called, and in which slices."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from asgi_ws_observe import Connection, ConnectionHook, Settings, rounds
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.rounds import Rounds
from asgi_ws_observe.store import Store
from asgi_ws_observe.timers import SLICE, SLICE_PAUSE, Timer
from tests.support import ACCEPT, CONNECT, Server, disconnect, scope, until
from tests.test_looks import Clock
from tests.test_timers import waiting
from tests.tracing.test_spans import observe

INTERVAL = 0.001


@pytest.fixture(autouse=True)
def _no_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin the rounds at once, and again and again."""
    monkeypatch.setattr(rounds, "INTERVAL", INTERVAL)


class Referable(Connection):
    """A record that can be referred to weakly."""

    __slots__ = ("__weakref__",)


class Calls(ConnectionHook):
    """Notes for whom it was called."""

    def __init__(self) -> None:
        self.seen: list[Connection] = []

    def alive(self, connection: Connection) -> None:
        self.seen.append(connection)


class Broken(Calls):
    """One that fails."""

    def alive(self, connection: Connection) -> None:
        super().alive(connection)
        raise LookupError("no such room")


class Playing:
    """Rounds with a store of their own.

    Attributes:
        store: Where failures are counted.
        rounds: The rounds.
        calls: The hook that they call.
    """

    def __init__(self, *hooks: ConnectionHook) -> None:
        self.store = Store()
        self.errors = OwnErrors(self.store)
        self.calls = Calls()
        given = (*hooks, self.calls)
        self.observation = Observation(Settings(), self.store, given, self.errors)
        self.rounds = Rounds(self.errors)

    def connect(self) -> Connection:
        """Return a connection whose handshake is not answered yet, and follow it."""
        connection = Referable(self.observation, scope(), 0.0)
        self.rounds.add(connection)
        return connection

    def open(self) -> Connection:
        """Return an open connection, and follow it."""
        connection = self.connect()
        connection.sent(ACCEPT, 0.0, 0.0)
        return connection

    async def round(self) -> list[Connection]:
        """Return for whom the hook is called in one whole round."""
        witness = self.open()
        await until(lambda: witness in self.calls.seen)
        self.calls.seen.clear()
        await until(lambda: witness in self.calls.seen)
        self.calls.seen.remove(witness)
        witness.received(disconnect(), 0.0)
        return self.calls.seen[:]


@pytest_asyncio.fixture
async def playing() -> AsyncIterator[Playing]:
    """Rounds that run."""
    each = Playing()
    each.rounds.start(asyncio.get_running_loop())
    yield each
    each.rounds.stop()


async def test_hook_is_called_for_open_connections_only(playing: Playing) -> None:
    """Not before the handshake is answered, not after it failed, not after the end."""
    connecting, opened, over, denied = playing.connect(), *(playing.open() for _ in range(3))
    denied = playing.connect()
    denied.sent({"type": "websocket.close"}, 0.0, 0.0)
    over.received(disconnect(), 0.0)
    playing.open().ended(None, 0.0)
    found = await playing.round()
    connecting.sent(ACCEPT, 0.0, 0.0)
    later = await playing.round()

    assert {opened} == {each for each in found if each in (connecting, opened, over, denied)}
    assert {connecting, opened} <= set(later)
    assert not {over, denied} & {*found, *later}


async def test_connection_that_ended_is_forgotten(playing: Playing) -> None:
    """Nothing holds it, and nothing waits when there is none left."""
    connection = playing.open()
    reference = weakref.ref(connection)
    await until(lambda: playing.calls.seen)
    busy = waiting()
    connection.received(disconnect(), 0.0)
    await until(lambda: not waiting())
    connection.ended(None, 0.0)
    playing.calls.seen.clear()
    del connection
    gc.collect()

    assert (1, None) == (busy, reference())


async def test_rounds_begin_again_after_there_was_none(playing: Playing) -> None:
    """The next connection begins them."""
    seen = []
    for _ in range(3):
        playing.calls.seen.clear()
        connection = playing.open()
        await until(lambda: playing.calls.seen)
        seen.append({*playing.calls.seen} == {connection})
        connection.received(disconnect(), 0.0)
        await until(lambda: not waiting())

    assert [True] * 3 == seen


async def test_failing_hook_is_reported_and_called_no_more() -> None:
    """Others are called as before, and so are the other connections."""
    broken = Broken()
    playing = Playing(broken)
    playing.rounds.start(asyncio.get_running_loop())
    playing.open()
    connection = playing.open()
    await until(lambda: 3 == playing.calls.seen.count(connection))
    playing.rounds.stop()

    assert (1, 1, 0) == (
        *(len(broken.seen), playing.store.own_errors["hook"]),
        playing.store.own_errors["runtime"],
    )


async def test_stopped_rounds_call_nothing(playing: Playing) -> None:
    """Neither for those they had, nor for those that come."""
    playing.open()
    playing.rounds.stop()
    playing.open()

    assert (0, []) == (waiting(), playing.calls.seen)


async def test_start_on_another_loop_forgets_what_was(playing: Playing) -> None:
    """Connections end with their loop."""
    before = playing.open()
    playing.rounds.start(asyncio.get_running_loop())
    nothing = waiting()
    found = await playing.round()

    assert (0, False) == (nothing, before in found)


def test_without_an_event_loop_nothing_is_kept() -> None:
    """On a loop of another kind there are no rounds, and nobody who would forget."""
    playing = Playing()
    connection = playing.open()
    reference = weakref.ref(connection)
    connection.received(disconnect(), 0.0)
    connection.ended(None, 0.0)
    del connection
    gc.collect()

    assert reference() is None


async def test_many_connections_are_visited_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pauses there are never more of them than fit into a slice."""
    most, many = 10, 300
    playing, pauses = Playing(), list[tuple[int, float]]()
    call_in = Timer.call_in

    def pausing(timer: Timer, delay: float, callback: Any) -> None:
        pauses.append((len(playing.calls.seen), delay))
        call_in(timer, delay, callback)

    monkeypatch.setattr(Timer, "call_in", pausing)
    monkeypatch.setattr(rounds, "perf_counter", Clock(SLICE / most))
    playing.rounds.start(asyncio.get_running_loop())
    connections = [playing.open() for _ in range(many)]
    await until(lambda: len(playing.calls.seen) >= many)
    playing.rounds.stop()

    slices = [after - before for (before, _), (after, _) in pairwise(pauses) if after <= many]
    assert connections == playing.calls.seen[:many]
    assert max(slices) <= most + 1
    assert {SLICE_PAUSE} == {delay for visited, delay in pauses[1:] if visited < many}


async def test_last_one_of_a_slice_may_end_and_another_begin(
    playing: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that has become empty in its middle gives way to a new one."""
    monkeypatch.setattr(rounds, "perf_counter", Clock(2 * SLICE))
    first, second = playing.open(), playing.open()
    first.received(disconnect(), 0.0)
    second.received(disconnect(), 0.0)
    await until(lambda: not waiting())
    third = playing.open()
    await until(lambda: playing.calls.seen)

    assert {third} == set(playing.calls.seen)


async def test_hooks_without_alive_are_not_followed(registry: Any) -> None:
    """What nobody asks for costs nothing; what somebody asks for comes through the middleware."""
    calls, seen = Calls(), list[int]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        if middleware is asking:
            await until(lambda: calls.seen)
        seen.append(len(middleware._observation.hooks.alive))
        await receive()

    plain = observe(app, None, registry)
    asking = type(plain)(app, settings=plain.settings, registry=registry, hooks=(calls,))
    for middleware in (plain, asking):
        server = Server([CONNECT, disconnect()])
        await middleware(scope(), server.receive, server.send)

    assert [0, 1] == seen
