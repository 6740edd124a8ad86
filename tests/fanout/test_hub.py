"""The hub: who gets a message, in which order, what a slow client changes for the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Connection, SettingsError, current_connection
from asgi_ws_observe.fanout import Broadcast, Fanout, Hub, Member
from asgi_ws_observe.fanout.outlet import STARTED_AT_ONCE
from asgi_ws_observe.metrics.prometheus import numbers_of
from asgi_ws_observe.probe import Probe
from tests.fanout.sockets import Socket, observed
from tests.support import sample, total, until

MakeHub = Callable[..., Hub]


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


@pytest_asyncio.fixture
async def make(registry: CollectorRegistry) -> AsyncIterator[MakeHub]:
    """Make hubs that are closed after the test."""
    made: list[Hub] = []

    def new(**arguments: Any) -> Hub:
        made.append(Hub(registry=registry, **arguments))
        return made[-1]

    yield new
    for each in made:
        await each.aclose(0.01)


def dropped(registry: CollectorRegistry) -> dict[str, float]:
    """Return how many messages were dropped, by reason."""
    return {
        each.labels["reason"]: each.value
        for family in registry.collect()
        for each in family.samples
        if each.name == "ws_messages_dropped_total" and each.value
    }


# Who gets what.


async def test_message_goes_to_everybody_in_its_room(make: MakeHub) -> None:
    """And to nobody else; the author may be left out, by the member or by the WebSocket."""
    hub = make()
    one, two, other = Socket(), Socket(), Socket()
    first = hub.join("a", one)
    hub.join("a", two)
    hub.join("b", other)
    assert {"a": 2, "b": 1} == hub.rooms()
    assert (2, 1, 0) == (hub.members("a"), hub.members("b"), hub.members("c"))
    await hub.send("a", "to all")
    await hub.send("a", "not to the first", besides=first)
    await hub.send("a", "not to the second", besides=two)
    await hub.send("a", "to all again", besides=Socket())
    assert ["to all", "not to the second", "to all again"] == one.sent
    assert ["to all", "not to the first", "to all again"] == two.sent
    assert [] == other.sent


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("text", "text"),
        ("größer", "größer"),
        (b"bytes", b"bytes"),
        (bytearray(b"bytes"), b"bytes"),
        (memoryview(b"bytes"), b"bytes"),
        ({"type": "ü", "n": [1, None]}, '{"type":"ü","n":[1,null]}'),
        (None, "null"),
        (b"", b""),
    ],
)
async def test_message_is_sent_as_what_it_is(
    make: MakeHub, message: Any, expected: str | bytes
) -> None:
    """Text as text, bytes as bytes, everything else as JSON in a text message."""
    hub, socket = make(), Socket()
    hub.join("a", socket)
    await hub.send("a", message)
    assert [expected] == socket.sent


@pytest.mark.parametrize(("message", "error"), [({1, 2}, TypeError), ("\ud800", ValueError)])
async def test_message_that_nobody_can_send_raises_at_once(
    make: MakeHub, message: Any, error: type[Exception]
) -> None:
    """Its author hears of it, and no recipient is blamed."""
    hub, socket = make(), Socket()
    member = hub.join("a", socket)
    with pytest.raises(error):
        hub.send("a", message)
    await hub.send("a", "next")
    assert (["next"], True) == (socket.sent, member.is_in)


async def test_websocket_in_several_rooms_has_one_queue(make: MakeHub) -> None:
    """Messages of all its rooms keep their order, and no two sends are under way at once."""
    hub, socket = make(), Socket(ready=False)
    async with hub.join("a", socket), hub.join("b", socket) as second:
        sent = [hub.send("ab"[number % 2], str(number)) for number in range(6)]
        await until(lambda: socket.started)
        assert 5 == second.queued
        socket.ready.set()
        await sent[-1]
        assert ([*"012345"], 1) == (socket.sent, socket.at_once)


async def test_websocket_that_joined_twice_gets_a_message_once(make: MakeHub) -> None:
    """Until it has left as often."""
    hub, socket = make(), Socket()
    first, second = hub.join("a", socket), hub.join("a", socket)
    assert 1 == (await hub.send("a", "once")).recipients
    await first.leave()
    await first.leave()
    await hub.send("a", "still there")
    assert (False, True) == (first.is_in, second.is_in)
    await second.leave()
    assert 0 == (await hub.send("a", "gone")).recipients
    assert ["once", "still there"] == socket.sent


async def test_room_is_gone_with_its_last_member(make: MakeHub) -> None:
    """Leaving one room keeps the others, and what waits."""
    hub, socket = make(), Socket(ready=False)
    async with hub.join("b", socket):
        async with hub.join("a", socket):
            sent = [hub.send("a", "one"), hub.send("a", "two")]
        assert {"b": 1} == hub.rooms()
        socket.ready.set()
        await sent[-1]
    assert {} == hub.rooms()
    assert ["one", "two"] == socket.sent


async def test_member_sends_to_its_own_websocket_in_order(make: MakeHub) -> None:
    """With what goes to its rooms; nobody else gets it, and after leaving it does not either."""
    hub, own, other = make(), Socket(), Socket()
    member = hub.join("a", own)
    hub.join("a", other)
    hub.send("a", "1")
    member.send("2")
    await hub.send("a", "3")
    await member.leave()
    assert 0 == member.send("4").recipients
    assert ([*"123"], ["1", "3"]) == (own.sent, other.sent)


# What a broadcast tells.


async def test_broadcast_is_over_with_its_last_recipient(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """It waits for the slow one, says how long that took, and both are counted."""
    hub, fast, slow = make(name="news"), Socket(), Socket(ready=False)
    hub.join("a", fast)
    hub.join("a", slow)
    broadcast = hub.send("a", "x")
    await until(lambda: slow.started and broadcast.delivered)
    assert (2, 1, 0, None) == (
        broadcast.recipients,
        broadcast.delivered,
        broadcast.dropped,
        broadcast.seconds,
    )
    waiting = asyncio.ensure_future(wait(broadcast))
    impatient = asyncio.ensure_future(wait(broadcast))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    slow.ready.set()
    assert broadcast is await waiting
    assert broadcast is await broadcast
    assert broadcast.seconds is not None
    labels = {"channel": "news"}
    name = "ws_fanout_delivery_duration_seconds"
    assert (1, broadcast.seconds) == (
        sample(registry, f"{name}_count", **labels),
        sample(registry, f"{name}_sum", **labels),
    )
    assert 2 == sample(registry, "ws_fanout_recipients_sum", **labels)


async def wait(broadcast: Broadcast) -> Broadcast:
    """Wait for a broadcast, as a coroutine."""
    return await broadcast


async def test_broadcast_to_nobody_is_over_at_once(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """It counts as one without recipients, and not as a quick delivery."""
    broadcast = make().send("nowhere", "x")
    assert (0, 0) == (broadcast.recipients, broadcast.dropped)
    assert broadcast.seconds is not None
    assert broadcast is await broadcast
    labels = {"channel": "hub"}
    assert 1 == sample(registry, "ws_fanout_recipients_count", **labels)
    assert 0 == sample(registry, "ws_fanout_delivery_duration_seconds_count", **labels)


async def test_rooms_have_the_labels_that_the_application_gives(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """With members or without; a function that fails is reported once, and is asked no more."""

    def label(room: str) -> str:
        asked.append(room)
        return {"chat:1": "chat", "chat:2": "chat"}[room]

    asked: list[str] = []
    hub = make(name="all", label=label)
    hub.join("chat:1", Socket())
    for room in ("chat:1", "chat:1", "chat:2", "other", "chat:1", "chat:2"):
        await hub.send(room, "x")
    found = {
        channel: sample(registry, "ws_fanout_recipients_count", channel=channel)
        for channel in ("chat", "all")
    }
    assert {"chat": 4, "all": 2} == found
    assert ["chat:1", "chat:2", "other"] == asked
    assert 1 == numbers_of(registry).store.own_errors["fanout"]


# Slow clients, and those that have gone.


async def test_slow_client_delays_nobody(make: MakeHub) -> None:
    """The others have their messages while its first one is still being sent."""
    hub, slow = make(), Socket(ready=False)
    others = [Socket() for _ in range(10)]
    for socket in (slow, *others):
        hub.join("a", socket)
    for number in range(5):
        hub.send("a", str(number))
    await until(lambda: all(len(each.sent) == 5 for each in others))
    assert [[*"01234"]] * 10 == [each.sent for each in others]
    assert (1, []) == (slow.started, slow.sent)


async def test_waiting_messages_are_sent_in_turn(make: MakeHub) -> None:
    """Though no send waits anywhere, nobody gets all of theirs first."""
    hub = make()
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


async def test_large_room_is_sent_to_in_several_turns_of_the_loop(make: MakeHub) -> None:
    """So that whatever else is to be done comes in between."""
    hub = make()
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
    make: MakeHub, registry: CollectorRegistry, policy: str, expected: list[str]
) -> None:
    """The oldest or the newest; what is being sent is not in the queue any more."""
    hub, socket = make(queue=2, policy=policy), Socket(ready=False)
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
    make: MakeHub, policy: str, expected: list[str]
) -> None:
    """A message that is larger than the bound is taken when nothing else waits."""
    hub, socket = make(queue_bytes=17, policy=policy), Socket(ready=False)
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


async def test_full_queue_closes(make: MakeHub, registry: CollectorRegistry) -> None:
    """What waits is dropped, the send is cancelled, and then the connection is closed."""
    hub = make(queue=2, policy="close")
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


async def test_close_that_fails_is_nobodys_business(make: MakeHub) -> None:
    """The client, or the handler, was faster."""
    hub, socket = make(queue=1, policy="close", close_code=4000), Socket(ready=False)
    socket.close_error = RuntimeError("closed already")
    hub.join("a", socket)
    for number in range(3):
        hub.send("a", str(number))
    await asyncio.sleep(0)
    await hub.aclose()
    assert [] == socket.closes


async def test_close_that_cannot_be_sent_ends_by_aborting(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """The connection ends, as what it is: the server's doing, for overload."""
    hub, socket = make(queue=1, policy="close", close_timeout=0.01), Socket(ready=False)
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
    make: MakeHub, registry: CollectorRegistry, error: Exception
) -> None:
    """The others and the handler notice nothing, and what waited for it is counted."""
    hub, socket, other = make(), Socket(ready=False), Socket()
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
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """As when the event loop ends; the cancellation goes on."""
    hub, socket = make(), Socket(ready=False)
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
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """When `leave` returns the hub has no more to do with the WebSocket."""
    hub, socket = make(), Socket(ready=False)
    async with hub.join("a", socket) as member:
        sent = [hub.send("a", str(number)) for number in range(3)]
        await until(lambda: socket.started)
    assert (1, [], 0) == (socket.cancelled, socket.sent, member.queued)
    assert {"left": 3} == dropped(registry)
    assert [1, 1, 1] == [each.dropped for each in sent]


async def test_send_that_returns_although_cancelled_is_delivered(
    make: MakeHub, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent was sent; `leave` does not wait for ever."""
    monkeypatch.setattr("asgi_ws_observe.fanout.members.PATIENCE", 0.01)
    hub, socket = make(), Socket(ready=False)
    socket.stubborn = True
    async with hub.join("a", socket):
        sent = hub.send("a", "x")
        await until(lambda: socket.started)
    socket.ready.set()
    await sent
    assert (["x"], {}) == (socket.sent, dropped(registry))


async def test_member_that_has_left_while_it_is_sent_to_gets_nothing(make: MakeHub) -> None:
    """A message that was on its way through the room when another's failure took it out."""
    hub, socket = make(), Socket()
    member = hub.join("a", socket)
    outlet = member.outlet
    await member.leave()
    broadcast = hub.send("a", "x")
    outlet.put(broadcast)
    assert (0, 0) == (broadcast.recipients, outlet.queued)


async def test_leaving_before_the_first_send_sends_nothing(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """A sender that has not begun does not begin."""
    hub, socket = make(), Socket()
    async with hub.join("a", socket):
        sent = hub.send("a", "x")
    await sent
    assert (0, {"left": 1}) == (socket.started, dropped(registry))


# Whose deliveries they are.


async def test_deliveries_run_in_a_context_of_their_own(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """The recipient's connection is the current one, and nothing of the author's is."""
    variable = ContextVar("variable", default="nothing")
    seen: list[str] = []

    class Reading(Socket):
        async def send_text(self, data: str) -> None:
            seen.append(variable.get())
            await super().send_text(data)

    hub, socket, unobserved = make(), Reading(), Reading()
    hub.join("a", unobserved)

    async def work() -> None:
        variable.set("the recipient's")
        hub.join("a", socket)

    async with observed(registry) as within:
        connection = await within(work)
        variable.set("the author's")
        await hub.send("a", "x")
        await hub.send("a", "y")
    assert ["nothing"] * 4 == seen
    assert {connection.id} == socket.connections
    assert {""} == unobserved.connections


async def test_record_knows_how_many_messages_wait(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """While they come, are sent, make room and are dropped, of all hubs together."""
    hub, other, socket = make(queue=3), make(), Socket(ready=False)
    members: list[Member] = []

    async def work() -> None:
        members.extend([hub.join("a", socket), other.join("a", socket)])

    async with observed(registry) as within:
        connection = await within(work)
        counts = []
        for number in range(5):
            hub.send("a", str(number))
            counts.append(connection.queued)
        other.send("a", "x")
        counts.append(connection.queued)
        await until(lambda: socket.started == 2)
        counts.append(connection.queued)
        await members[0].leave()
        counts.append(connection.queued)
    assert [1, 2, 3, 3, 3, 4, 2, 0] == counts


# Feeding, closing, misuse.


class Delivery:
    """Something of a broker's."""

    def __init__(self, topic: str, body: Any) -> None:
        self.topic, self.body = topic, body
        self.recipients = -1
        self.calls: list[str] = []

    def __enter__(self) -> Delivery:
        self.calls.append("enter")
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        self.calls.append("exit" if kind is None else kind.__name__)


async def test_delivery_goes_to_the_room_of_its_topic(make: MakeHub) -> None:
    """Which is the topic itself, or what the application makes of it."""
    socket = Socket()
    plain, mapping = make(), make(room=lambda topic: topic.removeprefix("chat."))
    plain.join("chat.a", socket)
    mapping.join("a", socket)
    delivery = Delivery("chat.a", {"n": 1})
    for hub in (plain, mapping):
        await hub.deliver(delivery)
        assert 1 == delivery.recipients
    assert ['{"n":1}'] * 2 == socket.sent


async def test_hub_is_fed_until_the_iterator_ends(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """A delivery that fails is counted, and the next one follows."""
    hub, socket = make(), Socket()
    hub.join("a", socket)
    deliveries = [Delivery("a", "1"), Delivery("a", {1, 2}), Delivery("b", "2"), Delivery("a", "3")]

    async def iterate() -> AsyncIterator[Delivery]:
        for each in deliveries:
            yield each

    async with hub.fed_by(iterate()):
        await until(lambda: len(socket.sent) == 2)
    assert ["1", "3"] == socket.sent
    assert [1, -1, 0, 1] == [each.recipients for each in deliveries]
    assert ["exit", "TypeError", "exit", "exit"] == [each.calls[-1] for each in deliveries]
    assert 1 == total(registry, "ws_observe_errors_total", part="fanout")


async def test_deliveries_that_are_all_there_overflow_nothing(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """After a broker was away, say: the loop has its turns though the iterator never waits."""
    hub = make(queue=8)
    sockets = [Socket() for _ in range(2 * STARTED_AT_ONCE)]
    for socket in sockets:
        hub.join("a", socket)

    async def iterate() -> AsyncIterator[Delivery]:
        for number in range(100):
            yield Delivery("a", str(number))

    async with hub.fed_by(iterate()):
        await until(lambda: all(len(each.sent) == 100 for each in sockets))
    assert {} == dropped(registry)


async def test_iterator_that_fails_is_counted(make: MakeHub, registry: CollectorRegistry) -> None:
    """The block goes on; there is only nothing more to deliver."""

    async def iterate() -> AsyncIterator[Delivery]:
        raise ConnectionError("no broker")
        yield

    async with make().fed_by(iterate()):
        await until(lambda: total(registry, "ws_observe_errors_total", part="fanout"))


async def test_feeding_ends_with_its_block(make: MakeHub) -> None:
    """An iterator that waits is cancelled, and the block's own exception passes."""
    over: list[bool] = []

    async def iterate() -> AsyncIterator[Delivery]:
        try:
            await asyncio.Event().wait()
            yield Delivery("", "")
        finally:
            over.append(True)

    async def fail() -> None:
        async with make().fed_by(iterate()):
            await asyncio.sleep(0)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert [True] == over


async def test_closing_sends_what_waits(make: MakeHub, registry: CollectorRegistry) -> None:
    """And drops what cannot be sent in time; then nobody gets anything."""
    slow, fast, quick = Socket(ready=False), Socket(), Socket()
    async with make() as hub:
        for socket in (slow, fast):
            hub.join("a", socket)
        quick_member = hub.join("b", quick)
        for number in range(3):
            hub.send("a", str(number))
        await until(lambda: slow.started)
        await hub.aclose(0.05)
        assert ([], [*"012"]) == (slow.sent, fast.sent)
        assert (1, {"left": 3}) == (slow.cancelled, dropped(registry))
        late = hub.join("a", Socket())
        assert 0 == hub.send("a", "late").recipients
        assert (False, False, {}) == (late.is_in, quick_member.is_in, hub.rooms())
        await late.leave()


async def test_closing_sends_what_nobody_began_to_send(make: MakeHub) -> None:
    """In the very turn of the event loop in which it was given to the hub."""
    hub = make()
    sockets = [Socket() for _ in range(STARTED_AT_ONCE + 1)]
    for socket in sockets:
        hub.join("a", socket)
    sent = hub.send("a", "last words")
    await hub.aclose()
    assert len(sockets) == sent.delivered


async def test_closing_waits_for_a_close_and_gives_it_up(make: MakeHub) -> None:
    """No task and no WebSocket of the hub's are at work afterwards."""
    hub, socket = make(queue=1, policy="close"), Socket(ready=False)
    socket.closable.clear()
    hub.join("a", socket)
    for number in range(3):
        hub.send("a", str(number))
    at_work = asyncio.all_tasks() - {asyncio.current_task()}
    await hub.aclose(0.01)
    await until(lambda: all(each.done() for each in at_work))
    assert at_work
    assert [] == socket.closes


async def test_send_from_another_thread_is_refused(make: MakeHub) -> None:
    """It would seem to work: the loop would not notice before something else happens."""
    hub = make()
    raised: list[Exception] = []

    def send() -> None:
        try:
            hub.send("a", "x")
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    assert [RuntimeError] == [type(each) for each in raised]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "Hub(name=...): got ''; accepted: a text"),
        ({"queue": 0}, "Hub(queue=...): got 0; accepted: a whole number of messages, 1 or more"),
        (
            {"queue_bytes": "1"},
            "Hub(queue_bytes=...): got '1'; accepted: a whole number of bytes, 1 or more",
        ),
        (
            {"policy": "block"},
            "Hub(policy=...): got 'block'; accepted: one of drop_oldest, drop_newest, close",
        ),
        (
            {"close_code": 1006},
            "Hub(close_code=...): got 1006; accepted: a close code from 1000 to 4999, but not "
            "1004, 1005, 1006 and 1015",
        ),
        (
            {"close_code": 5000},
            "Hub(close_code=...): got 5000; accepted: a close code from 1000 to 4999, but not "
            "1004, 1005, 1006 and 1015",
        ),
        (
            {"close_timeout": -1},
            "Hub(close_timeout=...): got -1; accepted: a number of seconds, 0 or more",
        ),
        (
            {"label": 3},
            "Hub(label=...): got 3; accepted: a plain function (in the environment its import "
            "path, package.module:name), or None (empty) for none",
        ),
    ],
)
def test_argument_that_is_not_accepted_is_named(arguments: dict[str, Any], message: str) -> None:
    """With what it got and what it accepts."""
    with pytest.raises(SettingsError) as caught:
        Hub(registry=CollectorRegistry(), **arguments)
    assert message == str(caught.value)


async def test_recipients_of_a_delivery_are_counted_once(
    make: MakeHub, registry: CollectorRegistry
) -> None:
    """By the delivery, even where the hub and the channel have one name."""
    hub = make(name="rooms")
    hub.join("a", Socket())
    with Fanout("kafka", name="rooms", registry=registry).delivery("a", b"hello") as delivery:
        await hub.deliver(delivery)
    assert 1 == sample(registry, "ws_fanout_recipients_count", channel="rooms")
    assert 1 == sample(registry, "ws_fanout_recipients_sum", channel="rooms")
