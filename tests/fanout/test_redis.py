"""Redis in all three modes, against a real server that is there all the time."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry
from redis.asyncio import BlockingConnectionPool, Redis

from asgi_ws_observe import MissingExtraError, SettingsError
from asgi_ws_observe.fanout.redis import RedisChannel
from tests.fanout.redis_nodes import MODES, Nodes, bodies, taken
from tests.fanout.redis_servers import RedisServer, single
from tests.support import Spans, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Return a running server."""
    with single(tmp_path_factory.mktemp("redis"), requirepass="secret") as server:
        yield server


@pytest_asyncio.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Nodes]:
    """Return what makes nodes; they leave no connection to the server."""
    server.ask("FLUSHALL")
    async with Nodes(server.url) as nodes:
        yield nodes
    await until(lambda: not server.clients())


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> str:
    """Return each mode in turn."""
    return str(request.param)


every_mode = pytest.mark.parametrize("mode", MODES, indirect=True)


@every_mode
async def test_body_arrives_as_it_was_published(nodes: Nodes, mode: str) -> None:
    """An object, a list, a text, bytes that are no UTF-8, a number and nothing."""
    sent = [{"text": "héllo"}, ["a", 1], "héllo", b"\xff\x00\r\n", 1.5, None]
    alice, bob = nodes(mode=mode), nodes(mode=mode)
    async with bob.channel.subscribe("rooms") as deliveries:
        for body in sent:
            await alice.channel.publish("rooms", body)
        assert sent == await bodies(deliveries, len(sent))
    assert len(sent) == alice.number("published_total", outcome="ok")
    assert len(sent) == bob.number("delivered_total")
    assert 0 == bob.number("lost_total")


@every_mode
async def test_large_message_arrives(nodes: Nodes, mode: str) -> None:
    """In many pieces, whole."""
    body = {"text": "x" * 3_000_000}
    node = nodes(mode=mode, silence=0.05)
    async with node.channel.subscribe("rooms") as deliveries:
        await node.channel.publish("rooms", body)
        (delivery,) = await taken(deliveries, 1)
        assert body == delivery.json()
    assert 0 == node.number("reconnects_total")


async def test_number_of_subscribers_is_returned_and_on_the_span(nodes: Nodes) -> None:
    """Redis says how many connections took it; a stream does not."""
    alice, bob = nodes(), nodes()
    assert 0 == await alice.channel.publish("rooms", "nobody")
    async with alice.channel.subscribe("rooms"), bob.channel.subscribe("rooms"):
        assert 2 == await alice.channel.publish("rooms", "both")
        assert await nodes(mode="streams").channel.publish("rooms-kept", "later") is None
    found = [span.attributes or {} for span in alice.spans.named("redis.publish")]
    assert [0, 2] == [each["ws.fanout.subscribers"] for each in found]


@every_mode
async def test_topics_are_apart(nodes: Nodes, mode: str) -> None:
    """Each subscription has what it is to, one of two topics has both, in their order."""
    alice, bob = nodes(mode=mode), nodes(mode=mode)
    async with (
        bob.channel.subscribe("red") as red,
        bob.channel.subscribe("red", "blue") as both,
        bob.channel.subscribe("red") as again,
    ):
        for topic in ("red", "blue", "green", "red"):
            await alice.channel.publish(topic, {"to": topic})
        assert ["red", "red"] == [each.topic for each in await taken(red, 2)]
        assert ["red", "red"] == [each.topic for each in await taken(again, 2)]
        assert {"red", "blue"} == {each.topic for each in await taken(both, 3)}


@every_mode
async def test_topic_is_left_when_its_last_subscription_ends(
    nodes: Nodes, server: RedisServer, mode: str
) -> None:
    """Not before; the others are in nobody's way, and coming back is no loss."""
    node = nodes(mode=mode)
    async with node.channel.subscribe("other") as other:
        async with node.channel.subscribe("rooms"):
            async with node.channel.subscribe("rooms"):
                pass
            if mode != "streams":
                assert 1 == await node.channel.publish("rooms", "still")
        if mode != "streams":
            assert 0 == await node.channel.publish("rooms", "nobody")
        for _ in range(20):
            async with node.channel.subscribe("rooms") as rooms:
                await node.channel.publish("rooms", {"again": True})
                assert 1 == len(await taken(rooms, 1))
        await node.channel.publish("other", {"here": True})
        assert 1 == len(await taken(other, 1))
    assert 0 == node.number("lost_total") + node.number("reconnects_total")


async def test_pattern_takes_what_matches(nodes: Nodes) -> None:
    """By a pattern and by its name a message comes to each subscription once."""
    node = nodes()
    async with (
        node.channel.subscribe(patterns=["room:?", "*:1"]) as some,
        node.channel.subscribe("room:1") as one,
    ):
        for topic in ("room:1", "room:22", "hall:1", "hall:2"):
            await node.channel.publish(topic, topic)
        assert ["room:1", "room:1", "hall:1"] == await bodies(some, 3)
        assert ["room:1"] == await bodies(one, 1)
    for mode in ("sharded", "streams"):
        with pytest.raises(SettingsError, match="patterns"):
            nodes(mode=mode).channel.subscribe(patterns=["*"])


@every_mode
async def test_topic_that_is_no_utf8_is_one_all_the_same(nodes: Nodes, mode: str) -> None:
    """Its bytes are its surrogates, both ways; other surrogates are none."""
    topic = b"room:\xff\xfe".decode("utf-8", "surrogateescape")
    node = nodes(mode=mode)
    async with node.channel.subscribe(topic, "grün") as deliveries:
        await node.channel.publish(topic, {})
        await node.channel.publish("grün", {})
        assert {topic, "grün"} == {each.topic for each in await taken(deliveries, 2)}
        await until(lambda: node.is_up)
    for wrong in ("\ud800", 3):
        with pytest.raises(SettingsError, match="accepted: texts"):
            node.channel.subscribe(wrong)  # type: ignore[arg-type]
    assert await node.channel.publish("\ud800", "refused") is None
    assert 1 == node.number("published_total", outcome="failed")
    assert 0 == node.number("outbox_messages")


async def test_binary_topic_comes_by_a_pattern(nodes: Nodes, server: RedisServer) -> None:
    """Published by others, who need not care for texts."""
    async with nodes().channel.subscribe(patterns=["*"]) as deliveries:
        server.ask("PUBLISH", b"\xff", "hello")
        (delivery,) = await taken(deliveries, 1)
        assert (b"\xff", b"hello") == (
            delivery.topic.encode("utf-8", "surrogateescape"),
            delivery.body,
        )


@pytest.mark.parametrize(
    "options",
    [
        {"decode_responses": True},
        {"protocol": 3},
        {"max_connections": 2},
        {"encoding": "latin-1", "decode_responses": True},
        {"health_check_interval": 1, "socket_timeout": 0.2, "retry_on_timeout": True},
        {"single_connection_client": True},
        {"pool": BlockingConnectionPool},
    ],
    ids=lambda options: next(iter(options)),
)
@every_mode
async def test_client_of_the_application_works_however_it_is_made(
    nodes: Nodes, server: RedisServer, mode: str, options: dict[str, Any]
) -> None:
    """Its pool is neither used nor closed, and many publish at once."""
    if pool := options.get("pool"):
        client = Redis.from_pool(pool.from_url(server.url, max_connections=1, timeout=1))
    else:
        client = Redis.from_url(server.url, **options)
    node = nodes(client, mode=mode)
    async with client, node.channel.subscribe("grün") as deliveries:
        await client.set("key", "value")
        work = (node.channel.publish("grün", {"number": number}) for number in range(50))
        own = (client.get("key") for _ in range(1))
        await asyncio.gather(*work, *own)
        found = [delivery.json()["number"] for delivery in await taken(deliveries, 50)]
        assert list(range(50)) == found
        await node.channel.publish("grün", b"\xff")
        assert [b"\xff"] == await bodies(deliveries, 1)
        await node.channel.aclose()
        assert await client.get("key") in ("value", b"value")


async def test_client_of_a_url_is_closed(nodes: Nodes, server: RedisServer) -> None:
    """With all connections; what comes later is published, and closed again."""
    node = nodes()
    async with node.channel.subscribe("rooms"):
        await node.channel.publish("rooms", "hello")
        assert server.clients()
    await node.channel.aclose()
    await until(lambda: not server.clients())
    assert 0 == await node.channel.publish("rooms", "later")
    await node.channel.aclose()
    await until(lambda: not server.clients())


@every_mode
async def test_trace_goes_through(nodes: Nodes, mode: str) -> None:
    """The publisher's span is the delivery's parent."""
    alice, bob = nodes(mode=mode), nodes(mode=mode)
    async with bob.channel.subscribe("rooms") as deliveries:
        await alice.channel.publish("rooms", {"text": "hello"})
        (delivery,) = await taken(deliveries, 1)
        with delivery:
            delivery.recipients = 1
    (publish,) = alice.spans.all()
    (deliver,) = bob.spans.all()
    assert ("redis.publish", SpanKind.PRODUCER) == (publish.name, publish.kind)
    assert ("ws.deliver", SpanKind.CONSUMER) == (deliver.name, deliver.kind)
    assert publish.context is not None
    assert deliver.parent is not None
    assert publish.context.trace_id == deliver.parent.trace_id
    assert publish.context.span_id == deliver.parent.span_id
    assert delivery.id == (deliver.attributes or {}).get("messaging.message.id")
    assert (mode == "streams") == (delivery.id is not None)


@every_mode
async def test_trace_can_be_a_link(nodes: Nodes, mode: str) -> None:
    """Then a delivery is a trace of its own."""
    node = nodes(mode=mode, trace="link")
    async with node.channel.subscribe("rooms") as deliveries:
        await node.channel.publish("rooms", {"text": "hello"})
        with (await taken(deliveries, 1))[0]:
            pass
    (publish,), (deliver,) = node.spans.named("redis"), node.spans.named("ws")
    assert deliver.parent is None
    assert publish.context is not None
    assert [publish.context.span_id] == [link.context.span_id for link in deliver.links]


@every_mode
async def test_instrumented_client_doubles_nothing(
    nodes: Nodes, server: RedisServer, mode: str
) -> None:
    """One span for a publish, none for what a channel does for itself, the application's own."""
    spans = Spans()
    instrumentor = RedisInstrumentor()
    instrumentor.instrument(tracer_provider=spans.provider)
    try:
        async with Redis.from_url(server.url) as client:
            node = nodes(client, mode=mode)
            async with node.channel.subscribe("rooms") as deliveries:
                with trace.get_tracer("test", tracer_provider=spans.provider).start_as_current_span(
                    "handler"
                ):
                    await node.channel.publish("rooms", {"text": "hello"})
                    async with node.channel.subscribe("more"):
                        pass
                    await client.get("key")
                await taken(deliveries, 1)
                await until(lambda: node.number("lag_seconds_count", origin="probe") >= 2)
                await node.channel.aclose()
    finally:
        instrumentor.uninstrument()
    assert ["redis.publish"] == [span.name for span in node.spans.all()]
    assert ["GET", "handler"] == [span.name for span in spans.all()]


async def test_node_without_the_library_understands_and_is_understood(
    nodes: Nodes, server: RedisServer
) -> None:
    """An object keeps its keys, a text comes under ``body``; what it says itself is bytes."""
    node = nodes()
    async with (
        Redis.from_url(server.url) as client,
        client.pubsub(ignore_subscribe_messages=True) as plain,
        node.channel.subscribe("rooms") as deliveries,
    ):
        await plain.subscribe("rooms")
        await plain.get_message(ignore_subscribe_messages=True, timeout=1)
        await node.channel.publish("rooms", {"type": "join", "user": 7})
        await node.channel.publish("rooms", "hello")
        await client.publish("rooms", json.dumps({"type": "leave"}))
        read = [await plain.get_message(timeout=5) for _ in range(3)]
        objects = [json.loads((each or {})["data"]) for each in read]
        assert ("join", 7) == (objects[0]["type"], objects[0]["user"])
        assert "hello" == objects[1]["body"]
        found = await taken(deliveries, 3)
        assert [{"type": "join", "user": 7}, "hello", b'{"type": "leave"}'] == [
            each.body for each in found
        ]
        assert {"type": "leave"} == found[2].json()
        assert ["own", "own", "other"] == [each.origin for each in found]


async def test_stream_is_shared_with_nodes_without_the_library(
    nodes: Nodes, server: RedisServer
) -> None:
    """They find the body in a field of that name; other fields are the body, as an object."""
    async with (
        Redis.from_url(server.url) as client,
        nodes(mode="streams").channel.subscribe("rooms") as deliveries,
    ):
        await client.xadd("rooms", {"body": b"\xff"})
        await client.xadd("rooms", {"type": "join", "user": "7"})
        await nodes(mode="streams").channel.publish("rooms", {"type": "leave"})
        found = await taken(deliveries, 3)
        assert b"\xff" == found[0].body
        assert {"type": "join", "user": "7"} == found[1].json()
        entries: Any = await client.xrange("rooms")
        assert [each.id for each in found] == [identity.decode() for identity, _ in entries]
        assert {"type": "leave"} == json.loads(entries[2][1][b"body"])


@every_mode
async def test_probe_comes_back(nodes: Nodes, mode: str) -> None:
    """Its age stays small while nobody talks, and it is no delivery."""
    node = nodes(mode=mode)
    async with node.channel.subscribe("rooms"):
        await until(lambda: node.number("lag_seconds_count", origin="probe") >= 3)
        assert node.number("probe_age_seconds") < 1
    assert 0 == node.number("delivered_total") + node.number("lost_total")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"redis": 3}, "redis: got 3; accepted: a redis.asyncio.Redis or RedisCluster, or a URL"),
        ({"redis": "localhost"}, "redis: got a URL that is none: "),
        ({"mode": "both"}, "mode: got 'both'; accepted: one of pubsub, sharded, streams"),
        ({"maxlen": 0}, "maxlen: got 0; accepted: a whole number, 1 or more"),
        ({"maxlen": True}, "maxlen: got True; accepted: a whole number, 1 or more"),
    ],
)
def test_wrong_value_is_refused(arguments: dict[str, Any], message: str) -> None:
    """At once, saying what is accepted."""
    with pytest.raises(SettingsError) as caught:
        RedisChannel(**{"redis": "redis://127.0.0.1:1", **arguments})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("mode", ["pubsub", "streams"])
async def test_thousand_topics_share_one_connection(
    nodes: Nodes, server: RedisServer, mode: str
) -> None:
    """One to listen, and one to publish."""
    topics = [f"room:{number}" for number in range(1000)]
    node = nodes(mode=mode, timeout=5)
    async with node.channel.subscribe(*topics) as deliveries:
        await until(lambda: node.is_up)
        assert 2 == len(server.clients())
        await asyncio.gather(*(node.channel.publish(topic, {"to": topic}) for topic in topics))
        assert set(topics) == {each.topic for each in await taken(deliveries, 1000)}


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the module without redis says what to install."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    for name in ("redis", "redis_client", "redis_commands", "redis_pubsub", "redis_streams"):
        monkeypatch.delitem(sys.modules, f"asgi_ws_observe.fanout.{name}")
    with pytest.raises(MissingExtraError, match=r"pip install 'asgi-ws-observe\[redis\]'$"):
        importlib.import_module("asgi_ws_observe.fanout.redis")


async def test_silent_server_is_asked(nodes: Nodes, server: RedisServer) -> None:
    """Where nothing is published, or subscribed to: its answer shows that all is well."""
    node = nodes(silence=0.05, probe_interval=None)
    kind = "pubsub"
    async with node.channel.subscribe("rooms"):
        await until(lambda: server.clients(kind)[0]["cmd"] == "ping")
    kind = "normal"
    await until(lambda: server.clients(kind)[0]["cmd"] == "ping")
    began = time.perf_counter()
    await until(lambda: time.perf_counter() - began > 0.3)
    assert node.is_up
    assert 0 == node.number("reconnects_total")


@every_mode
def test_channel_goes_on_on_another_event_loop(server: RedisServer, mode: str) -> None:
    """An application's tests run its lifespan again and again, each time on a new one."""
    channel = RedisChannel(server.url, mode=mode, registry=CollectorRegistry())

    async def once() -> None:
        async with channel, channel.subscribe("rooms") as deliveries:
            await channel.publish("rooms", "hello")
            assert ["hello"] == [each.body for each in await taken(deliveries, 1)]

    for _ in range(2):
        asyncio.run(asyncio.wait_for(once(), 10))
