"""The hub: who gets a message, in which order, and whose delivery it is."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi_ws_observe.fanout import Member
from asgi_ws_observe.metrics.prometheus import numbers_of
from tests.fanout.conftest import MakeHub, wait
from tests.fanout.sockets import Socket, observed
from tests.support import sample, until

# Who gets what.


async def test_message_goes_to_everybody_in_its_room(make_hub: MakeHub) -> None:
    """And to nobody else; the author may be left out, by the member or by the WebSocket."""
    hub = make_hub()
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
    make_hub: MakeHub, message: Any, expected: str | bytes
) -> None:
    """Text as text, bytes as bytes, everything else as JSON in a text message."""
    hub, socket = make_hub(), Socket()
    hub.join("a", socket)
    await hub.send("a", message)
    assert [expected] == socket.sent


@pytest.mark.parametrize(("message", "error"), [({1, 2}, TypeError), ("\ud800", ValueError)])
async def test_message_that_nobody_can_send_raises_at_once(
    make_hub: MakeHub, message: Any, error: type[Exception]
) -> None:
    """Its author hears of it, and no recipient is blamed."""
    hub, socket = make_hub(), Socket()
    member = hub.join("a", socket)
    with pytest.raises(error):
        hub.send("a", message)
    await hub.send("a", "next")
    assert (["next"], True) == (socket.sent, member.is_in)


async def test_websocket_in_several_rooms_has_one_queue(make_hub: MakeHub) -> None:
    """Messages of all its rooms keep their order, and no two sends are under way at once."""
    hub, socket = make_hub(), Socket(ready=False)
    async with hub.join("a", socket), hub.join("b", socket) as second:
        sent = [hub.send("ab"[number % 2], str(number)) for number in range(6)]
        await until(lambda: socket.started)
        assert 5 == second.queued
        socket.ready.set()
        await sent[-1]
        assert ([*"012345"], 1) == (socket.sent, socket.at_once)


async def test_websocket_that_joined_twice_gets_a_message_once(make_hub: MakeHub) -> None:
    """Until it has left as often."""
    hub, socket = make_hub(), Socket()
    first, second = hub.join("a", socket), hub.join("a", socket)
    assert 1 == (await hub.send("a", "once")).recipients
    await first.leave()
    await first.leave()
    await hub.send("a", "still there")
    assert (False, True) == (first.is_in, second.is_in)
    await second.leave()
    assert 0 == (await hub.send("a", "gone")).recipients
    assert ["once", "still there"] == socket.sent


async def test_room_is_gone_with_its_last_member(make_hub: MakeHub) -> None:
    """Leaving one room keeps the others, and what waits."""
    hub, socket = make_hub(), Socket(ready=False)
    async with hub.join("b", socket):
        async with hub.join("a", socket):
            sent = [hub.send("a", "one"), hub.send("a", "two")]
        assert {"b": 1} == hub.rooms()
        socket.ready.set()
        await sent[-1]
    assert {} == hub.rooms()
    assert ["one", "two"] == socket.sent


async def test_member_sends_to_its_own_websocket_in_order(make_hub: MakeHub) -> None:
    """With what goes to its rooms; nobody else gets it, and after leaving it does not either."""
    hub, own, other = make_hub(), Socket(), Socket()
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
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """It waits for the slow one, says how long that took, and both are counted."""
    hub, fast, slow = make_hub(name="news"), Socket(), Socket(ready=False)
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


async def test_broadcast_to_nobody_is_over_at_once(
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """It counts as one without recipients, and not as a quick delivery."""
    broadcast = make_hub().send("nowhere", "x")
    assert (0, 0) == (broadcast.recipients, broadcast.dropped)
    assert broadcast.seconds is not None
    assert broadcast is await broadcast
    labels = {"channel": "hub"}
    assert 1 == sample(registry, "ws_fanout_recipients_count", **labels)
    assert 0 == sample(registry, "ws_fanout_delivery_duration_seconds_count", **labels)


async def test_rooms_have_the_labels_that_the_application_gives(
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """With members or without; a function that fails is reported once, and is asked no more."""

    def label(room: str) -> str:
        asked.append(room)
        return {"chat:1": "chat", "chat:2": "chat"}[room]

    asked: list[str] = []
    hub = make_hub(name="all", label=label)
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


# Whose deliveries they are.


async def test_deliveries_run_in_a_context_of_their_own(
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """The recipient's connection is the current one, and nothing of the author's is."""
    variable = ContextVar("variable", default="nothing")
    seen: list[str] = []

    class Reading(Socket):
        async def send_text(self, data: str) -> None:
            seen.append(variable.get())
            await super().send_text(data)

    hub, socket, unobserved = make_hub(), Reading(), Reading()
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
    make_hub: MakeHub, registry: CollectorRegistry
) -> None:
    """While they come, are sent, make room and are dropped, of all hubs together."""
    hub, other, socket = make_hub(queue=3), make_hub(), Socket(ready=False)
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
