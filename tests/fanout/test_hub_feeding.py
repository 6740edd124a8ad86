"""The hub: what feeds it, its end, and what it refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi_ws_observe import SettingsError
from asgi_ws_observe.fanout import Fanout, Hub
from asgi_ws_observe.fanout.outlet import STARTED_AT_ONCE
from tests.fanout.conftest import MakeHub, dropped
from tests.fanout.sockets import Socket
from tests.support import sample, total, until


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


async def test_delivery_goes_to_the_room_of_its_topic(make_hub: MakeHub) -> None:
    """Which is the topic itself, or what the application makes of it."""
    socket = Socket()
    plain, mapping = make_hub(), make_hub(room=lambda topic: topic.removeprefix("chat."))
    plain.join("chat.a", socket)
    mapping.join("a", socket)
    delivery = Delivery("chat.a", {"n": 1})
    for hub in (plain, mapping):
        await hub.deliver(delivery)
        assert 1 == delivery.recipients
    assert ['{"n":1}'] * 2 == socket.sent


async def test_hub_is_fed_until_the_iterator_ends(
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """A delivery that fails is counted, and the next one follows."""
    hub, socket = make_hub(), Socket()
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
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """After a broker was away, say: the loop has its turns though the iterator never waits."""
    hub = make_hub(queue=8)
    sockets = [Socket() for _ in range(2 * STARTED_AT_ONCE)]
    for socket in sockets:
        hub.join("a", socket)

    async def iterate() -> AsyncIterator[Delivery]:
        for number in range(100):
            yield Delivery("a", str(number))

    async with hub.fed_by(iterate()):
        await until(lambda: all(len(each.sent) == 100 for each in sockets))
    assert {} == dropped(registry)


async def test_iterator_that_fails_is_counted(
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """The block goes on; there is only nothing more to deliver."""

    async def iterate() -> AsyncIterator[Delivery]:
        raise ConnectionError("no broker")
        yield

    async with make_hub().fed_by(iterate()):
        await until(lambda: total(registry, "ws_observe_errors_total", part="fanout"))


async def test_feeding_ends_with_its_block(make_hub: MakeHub) -> None:
    """An iterator that waits is cancelled, and the block's own exception passes."""
    over: list[bool] = []

    async def iterate() -> AsyncIterator[Delivery]:
        try:
            await asyncio.Event().wait()
            yield Delivery("", "")
        finally:
            over.append(True)

    async def fail() -> None:
        async with make_hub().fed_by(iterate()):
            await asyncio.sleep(0)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert [True] == over


async def test_closing_sends_what_waits(make_hub: MakeHub, registry: CollectorRegistry) -> None:
    """And drops what cannot be sent in time; then nobody gets anything."""
    slow, fast, quick = Socket(ready=False), Socket(), Socket()
    async with make_hub() as hub:
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


async def test_closing_sends_what_nobody_began_to_send(make_hub: MakeHub) -> None:
    """In the very turn of the event loop in which it was given to the hub."""
    hub = make_hub()
    sockets = [Socket() for _ in range(STARTED_AT_ONCE + 1)]
    for socket in sockets:
        hub.join("a", socket)
    sent = hub.send("a", "last words")
    await hub.aclose()
    assert len(sockets) == sent.delivered


async def test_closing_waits_for_a_close_and_gives_it_up(make_hub: MakeHub) -> None:
    """No task and no WebSocket of the hub's are at work afterwards."""
    hub, socket = make_hub(queue=1, policy="close"), Socket(ready=False)
    socket.closable.clear()
    hub.join("a", socket)
    for number in range(3):
        hub.send("a", str(number))
    at_work = asyncio.all_tasks() - {asyncio.current_task()}
    await hub.aclose(0.01)
    await until(lambda: all(each.done() for each in at_work))
    assert at_work
    assert [] == socket.closes


async def test_closed_hub_can_be_opened_again(make_hub: MakeHub) -> None:
    """An application's tests run its lifespan again and again."""
    hub = make_hub()
    for word in ("one", "two"):
        socket = Socket()
        async with hub:
            hub.join("a", socket)
            await hub.send("a", word)
        assert [word] == socket.sent


async def test_send_from_another_thread_is_refused(make_hub: MakeHub) -> None:
    """It would seem to work: the loop would not notice before something else happens."""
    hub = make_hub()
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
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """By the delivery, even where the hub and the channel have one name."""
    hub = make_hub(name="rooms")
    hub.join("a", Socket())
    with Fanout("kafka", name="rooms", registry=registry).delivery("a", b"hello") as delivery:
        await hub.deliver(delivery)
    assert 1 == sample(registry, "ws_fanout_recipients_count", channel="rooms")
    assert 1 == sample(registry, "ws_fanout_recipients_sum", channel="rooms")
