"""The hub: what slow clients, and those that have gone, change for the others."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Connection, current_connection
from asgi_ws_observe.fanout.outlet import STARTED_AT_ONCE
from asgi_ws_observe.probe import Probe
from tests.fanout.conftest import MakeHub, dropped, wait
from tests.fanout.sockets import Socket, observed
from tests.support import until


async def test_slow_client_delays_nobody(make_hub: MakeHub) -> None:
    """The others have their messages while its first one is still being sent."""
    hub, slow = make_hub(), Socket(ready=False)
    others = [Socket() for _ in range(10)]
    for socket in (slow, *others):
        hub.join("a", socket)
    for number in range(5):
        hub.send("a", str(number))
    await until(lambda: all(len(each.sent) == 5 for each in others))
    assert [[*"01234"]] * 10 == [each.sent for each in others]
    assert (1, []) == (slow.started, slow.sent)


async def test_waiting_messages_are_sent_in_turn(make_hub: MakeHub) -> None:
    """Though no send waits anywhere, nobody gets all of theirs first."""
    hub = make_hub()
    order: list[tuple[int, str]] = []

    class Noting(Socket):
        async def send_text(self, data: str) -> None:
            order.append((sockets.index(self), data))

    sockets = [Noting(), Noting()]
    for socket in sockets:
        hub.join("a", socket)
    hub.send("a", "1")
    await hub.send("a", "2")
    assert [(0, "1"), (1, "1"), (0, "2"), (1, "2")] == order


async def test_large_room_is_sent_to_in_several_turns_of_the_loop(make_hub: MakeHub) -> None:
    """So that whatever else is to be done comes in between."""
    hub = make_hub()
    sockets = [Socket() for _ in range(2 * STARTED_AT_ONCE + 1)]
    for socket in sockets:
        hub.join("a", socket)
    sent = hub.send("a", "x")
    started, before = [], 0
    while not sent.seconds:
        await asyncio.sleep(0)
        now = sum(socket.started for socket in sockets)
        started.append(now - before)
        before = now
    assert [STARTED_AT_ONCE, STARTED_AT_ONCE, 1] == [each for each in started if each]


@pytest.mark.parametrize(
    ("policy", "expected"), [("drop_oldest", [*"089"]), ("drop_newest", [*"012"])]
)
async def test_full_queue_drops(
    make_hub: MakeHub, registry: CollectorRegistry, policy: str, expected: list[str]
) -> None:
    """The oldest or the newest; what is being sent is not in the queue any more."""
    hub, socket = make_hub(queue=2, policy=policy), Socket(ready=False)
    member = hub.join("a", socket)
    sent = [hub.send("a", "0")]
    await until(lambda: socket.started)
    sent += [hub.send("a", str(number)) for number in range(1, 10)]
    assert 2 == member.queued
    assert {"queue_full": 7} == dropped(registry)
    socket.ready.set()
    await asyncio.gather(*map(wait, sent))
    assert expected == socket.sent
    assert ["0", *expected[1:]] == [str(n) for n, each in enumerate(sent) if each.delivered]
    assert 7 == sum(each.dropped for each in sent)
    assert member.is_in


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("drop_oldest", ["x", "€" * 3, "y" * 20]), ("drop_newest", ["x", "€" * 2, "€" * 3])],
)
async def test_queue_is_bounded_by_bytes_too(
    make_hub: MakeHub, policy: str, expected: list[str]
) -> None:
    """A message that is larger than the bound is taken when nothing else waits."""
    hub, socket = make_hub(queue_bytes=17, policy=policy), Socket(ready=False)
    member = hub.join("a", socket)
    hub.send("a", "x")
    await until(lambda: socket.started)
    for size in (2, 3):
        hub.send("a", "€" * size)
    assert 2 == member.queued
    socket.ready.set()
    last = hub.send("a", "y" * 20)
    if policy == "drop_oldest":
        # Everything has to make room for it.
        expected = ["x", "y" * 20]
    await until(lambda: len(socket.sent) == len(expected))
    assert (expected, policy == "drop_oldest") == (socket.sent, last.delivered == 1)


async def test_full_queue_closes(make_hub: MakeHub, registry: CollectorRegistry) -> None:
    """What waits is dropped, the send is cancelled, and then the connection is closed."""
    hub = make_hub(queue=2, policy="close")
    socket, other = Socket(ready=False), Socket()
    member = hub.join("a", socket)
    hub.join("b", socket)
    hub.join("a", other)
    sent = [hub.send("a", "0")]
    await until(lambda: socket.started)
    for number in range(1, 5):
        sent.append(hub.send("a", str(number)))
        await until(lambda: other.sent[-1:] == [str(number)])  # noqa: B023
    assert {"a": 1} == hub.rooms()
    assert not member.is_in
    await asyncio.gather(*map(wait, sent))
    await until(lambda: socket.closes)
    assert [(1013, "too slow")] == socket.closes
    assert ([], 1) == (socket.sent, socket.cancelled)
    assert {"queue_full": 1, "closed": 3} == dropped(registry)
    assert [*"01234"] == other.sent
    assert 0 == member.send("gone").recipients
    await member.leave()


async def test_close_that_fails_is_nobodys_business(make_hub: MakeHub) -> None:
    """The client, or the handler, was faster."""
    hub, socket = make_hub(queue=1, policy="close", close_code=4000), Socket(ready=False)
    socket.close_error = RuntimeError("closed already")
    hub.join("a", socket)
    for number in range(3):
        hub.send("a", str(number))
    await asyncio.sleep(0)
    await hub.aclose()
    assert [] == socket.closes


async def test_close_that_cannot_be_sent_ends_by_aborting(
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """The connection ends, as what it is: the server's doing, for overload."""
    hub, socket = make_hub(queue=1, policy="close", close_timeout=0.01), Socket(ready=False)
    socket.closable.clear()
    aborted: list[str] = []

    async def work() -> None:
        connection = current_connection()
        connection.probe = Aborting(aborted, connection)
        hub.join("a", socket)

    async with observed(registry, probe="off") as within:
        connection = await within(work)
        for number in range(3):
            hub.send("a", str(number))
        await until(lambda: aborted)
        assert [connection.id] == aborted
        assert (1006, "server", "overload") == (
            connection.close_code,
            connection.closed_by,
            connection.reason,
        )


class Aborting(Probe):
    """A probe that can only abort."""

    def __init__(self, aborted: list[str], connection: Connection) -> None:
        super().__init__(connection, Unwatched())
        self._aborted = aborted

    def abort(self) -> bool:
        self._aborted.append(self.connection.id)
        return True


class Unwatched:
    """Looks at nothing."""

    def add(self, probe: Probe) -> None:
        """Do nothing."""

    def remove(self, probe: Probe) -> None:
        """Do nothing."""


@pytest.mark.parametrize("error", [RuntimeError("gone"), OSError("gone")])
async def test_send_that_fails_ends_the_member_quietly(
    make_hub: MakeHub, registry: CollectorRegistry, error: Exception
) -> None:
    """The others and the handler notice nothing, and what waited for it is counted."""
    hub, socket, other = make_hub(), Socket(ready=False), Socket()
    async with hub.join("a", socket) as member:
        hub.join("a", other)
        sent = [hub.send("a", str(number)) for number in range(3)]
        await until(lambda: socket.started)
        socket.error = error
        socket.ready.set()
        await asyncio.gather(*map(wait, sent))
        assert not member.is_in
    assert {"send_failed": 3} == dropped(registry)
    assert [*"012"] == other.sent
    assert {"a": 1} == hub.rooms()


async def test_send_that_is_cancelled_from_elsewhere_ends_the_member(
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """As when the event loop ends; the cancellation goes on."""
    hub, socket = make_hub(), Socket(ready=False)
    member = hub.join("a", socket)
    sent = hub.send("a", "x")
    await until(lambda: socket.started)
    task = member.outlet.sender
    assert task is not None
    task.cancel()
    await sent
    await until(task.done)
    assert (True, False) == (task.cancelled(), member.is_in)
    assert {"send_failed": 1} == dropped(registry)


async def test_leaving_drops_what_waits_and_ends_the_send(
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """When `leave` returns the hub has no more to do with the WebSocket."""
    hub, socket = make_hub(), Socket(ready=False)
    async with hub.join("a", socket) as member:
        sent = [hub.send("a", str(number)) for number in range(3)]
        await until(lambda: socket.started)
    assert (1, [], 0) == (socket.cancelled, socket.sent, member.queued)
    assert {"left": 3} == dropped(registry)
    assert [1, 1, 1] == [each.dropped for each in sent]


async def test_send_that_returns_although_cancelled_is_delivered(
    make_hub: MakeHub, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent was sent; `leave` does not wait for ever."""
    monkeypatch.setattr("asgi_ws_observe.fanout.members.PATIENCE", 0.01)
    hub, socket = make_hub(), Socket(ready=False)
    socket.stubborn = True
    async with hub.join("a", socket):
        sent = hub.send("a", "x")
        await until(lambda: socket.started)
    socket.ready.set()
    await sent
    assert (["x"], {}) == (socket.sent, dropped(registry))


async def test_member_that_has_left_while_it_is_sent_to_gets_nothing(make_hub: MakeHub) -> None:
    """A message that was on its way through the room when another's failure took it out."""
    hub, socket = make_hub(), Socket()
    member = hub.join("a", socket)
    outlet = member.outlet
    await member.leave()
    broadcast = hub.send("a", "x")
    outlet.put(broadcast)
    assert (0, 0) == (broadcast.recipients, outlet.queued)


async def test_leaving_before_the_first_send_sends_nothing(
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """A sender that has not begun does not begin."""
    hub, socket = make_hub(), Socket()
    async with hub.join("a", socket):
        sent = hub.send("a", "x")
    await sent
    assert (0, {"left": 1}) == (socket.started, dropped(registry))
