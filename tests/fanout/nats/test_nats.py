"""A channel over NATS, with a real server: what comes through."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from prometheus_client import CollectorRegistry

from tests.fanout.brokers import NatsServer
from tests.fanout.nats.conftest import (
    Make,
    application,
    broker_of,
    probed,
    take,
)
from tests.support import Spans, sample, until


async def test_bodies_of_all_kinds_come_back(server: NatsServer, node: Make) -> None:
    """JSON, text and bytes, with what was measured on their way."""
    channel = node(server.url)
    sent = [{"a": [1, None, "ü"]}, 7.5, "text", b"\0\xff", b"", "x" * 200_000]
    async with channel.subscribe("kinds") as deliveries:
        for body in sent:
            assert await channel.publish("kinds", body) is None
        found = await take(deliveries, 6)
    assert sent == [each.body for each in found]
    assert list(range(1, 7)) == [each.envelope.sequence for each in found]
    assert {"own"} == {each.origin for each in found}
    assert all(each.lag is not None for each in found)


async def test_message_reaches_all_nodes(server: NatsServer, node: Make) -> None:
    """Each node delivers it, and the publisher too."""
    nodes = [node(server.url, name=f"node{number}") for number in range(3)]
    a, b, c = (each.subscribe("rooms.1") for each in nodes)
    async with a, b, c:
        await nodes[0].publish("rooms.1", "hello")
        found = [(await take(each))[0] for each in (a, b, c)]
    assert ["hello"] * 3 == [each.text() for each in found]
    assert ["own", "other", "other"] == [each.origin for each in found]


async def test_wildcards_are_subjects(server: NatsServer, node: Make) -> None:
    """As topics or as patterns; the delivery says what it was published to."""
    channel = node(server.url)
    async with (
        channel.subscribe("rooms.*.news") as ones,
        channel.subscribe(patterns=["rooms.>"]) as every,
    ):
        for topic in ("rooms.1.news", "rooms.2", "halls.1.news", "rooms.3.news"):
            await channel.publish(topic, topic)
        assert ["rooms.1.news", "rooms.3.news"] == [each.topic for each in await take(ones, 2)]
        assert ["rooms.1.news", "rooms.2", "rooms.3.news"] == [
            each.topic for each in await take(every, 3)
        ]


async def test_subscription_that_ended_gets_nothing(server: NatsServer, node: Make) -> None:
    """The other one of the channel stays."""
    channel = node(server.url)
    async with channel.subscribe("rooms.1") as stays:
        async with channel.subscribe("rooms.2"):
            pass
        names = [name.text for name in broker_of(channel)._subscribed]
        assert ["rooms.1"] == [name for name in names if not name.startswith("_INBOX")]
        await channel.publish("rooms.2", "to nobody")
        await channel.publish("rooms.1", "hello")
        assert ["hello"] == [each.text() for each in await take(stays)]


@pytest.mark.parametrize("trace", ["parent", "link"])
async def test_delivery_knows_its_publisher(
    server: NatsServer, node: Make, spans: Spans, trace: str
) -> None:
    """The publisher's span is the delivery's parent, or its link."""
    channel = node(server.url, trace=trace)
    async with channel.subscribe("rooms") as deliveries:
        await channel.publish("rooms", "hello")
        (delivery,) = await take(deliveries)
        with delivery:
            pass
    (publish,), (deliver,) = spans.named("nats.publish"), spans.named("ws.deliver")
    context = deliver.parent if trace == "parent" else _linked(deliver)
    assert context is not None
    assert (publish.context.trace_id, publish.context.span_id) == (
        context.trace_id,
        context.span_id,
    )
    assert "nats" == (publish.attributes or {})["messaging.system"]


def _linked(span: ReadableSpan) -> Any:
    assert span.parent is None
    (link,) = span.links
    return link.context


async def test_others_understand_and_are_understood(server: NatsServer, node: Make) -> None:
    """A node without this library gets the body alone, and what it publishes is delivered."""
    channel = node(server.url)
    async with application(server.url) as other, channel.subscribe("rooms.>") as deliveries:
        theirs = await other.subscribe("rooms.1")
        await other.flush()
        await channel.publish("rooms.1", {"text": "hello"})
        message = await theirs.next_msg(5)
        await other.publish("rooms.2", b'{"text":"hi"}')
        ours, reply = await take(deliveries, 2)
    assert b'{"text":"hello"}' == message.data
    assert {"text": "hello"} == ours.json()
    assert ("rooms.2", b'{"text":"hi"}', None) == (reply.topic, reply.body, reply.lag)


async def test_envelope_in_a_payload_is_read(server: NatsServer, node: Make) -> None:
    """A publisher without headers, such as another channel's payload that was passed on."""
    channel = node(server.url)
    payload = b'{"text":"hi","_ws":{"time":1.0,"publisher":"p","sequence":1}}'
    async with application(server.url) as other, channel.subscribe("rooms") as deliveries:
        await other.publish("rooms", payload)
        (delivery,) = await take(deliveries)
    assert ({"text": "hi"}, "p") == (delivery.body, delivery.envelope.publisher)


async def test_flood_is_dropped_where_it_is_counted(
    server: NatsServer, node: Make, registry: CollectorRegistry
) -> None:
    """An application that does not read loses the oldest, nothing else is lost on the way."""
    channel = node(server.url, queue=10)
    async with application(server.url) as other, channel.subscribe("flood") as deliveries:
        for number in range(3000):
            await other.publish("flood", b"%d" % number)
        await until(lambda: sum(channel.numbers.dropped.values()) == 2990)
        assert list(range(2990, 3000)) == [each.json() for each in await take(deliveries, 10)]
    labels = {"channel": "nats", "reason": "subscription_full"}
    assert 2990 == sample(registry, "ws_messages_dropped_total", **labels)


async def test_burst_of_large_messages_comes_through(server: NatsServer, node: Make) -> None:
    """Publishing waits for the network instead of failing, and takes no memory without bounds."""
    channel, listener = node(server.url, timeout=10), node(server.url)
    body = "x" * 500_000
    async with listener.subscribe("burst") as deliveries:
        await asyncio.gather(*(channel.publish("burst", body) for _ in range(40)))
        found = await take(deliveries, 40)
    assert 40 == len(found)
    assert {"ok": 40, "failed": 0} == channel.numbers.published


async def test_probe_comes_back(server: NatsServer, node: Make) -> None:
    """Its topic is a subject, so the age of the last one is known."""
    channel = node(server.url, probe_interval=0.1)
    async with channel.subscribe("rooms"):
        await until(lambda: probed(channel))
        age = channel.numbers.probe_age()
    assert age is not None
    assert age < 5
