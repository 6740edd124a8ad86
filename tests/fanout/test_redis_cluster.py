"""Redis Cluster and Sentinel: real ones that lose a master, and a slot that moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.crc import key_slot

from asgi_ws_observe.fanout.broker import Name
from asgi_ws_observe.fanout.redis_client import RedisClient
from asgi_ws_observe.fanout.redis_pubsub import PubSubBroker
from tests.fanout.redis_nodes import MODES, Node, Nodes, bodies, taken
from tests.fanout.redis_servers import MASTER_NAME, RedisServer, cluster, sentinel
from tests.support import until

TOPICS = [f"room:{number}" for number in range(12)]


@pytest.fixture(scope="module")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    """Return the masters of a running cluster."""
    with cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest_asyncio.fixture
async def client(masters: list[RedisServer]) -> AsyncIterator[RedisCluster]:
    """Return the application's client."""
    for server in masters:
        server.ask("FLUSHALL")
    async with RedisCluster.from_url(masters[0].url) as client:
        yield client


@pytest_asyncio.fixture
async def nodes(client: RedisCluster, masters: list[RedisServer]) -> AsyncIterator[Nodes]:
    """Return what makes nodes; they leave no connection but the client's own."""
    async with Nodes(client) as nodes:
        yield nodes
    await client.aclose()
    await until(lambda: not any(ours(server) for server in masters))


def ours(server: RedisServer) -> list[dict[str, str]]:
    """Return its connections but those by which another server moved its keys."""
    every = server.clients("normal") + server.clients("pubsub")
    return [each for each in every if not each["cmd"].startswith("restore")]


def node_id(server: RedisServer) -> bytes:
    """Return what a cluster calls a server."""
    return bytes(server.ask("CLUSTER", "MYID"))


def owner(masters: list[RedisServer], topic: str) -> RedisServer:
    """Return the server that has a topic."""
    for first, last, (_, port, *_), *_ in masters[0].ask("CLUSTER", "SLOTS"):
        if first <= key_slot(topic.encode()) <= last:
            (found,) = (server for server in masters if server.port == port)
            return found
    raise AssertionError(topic)


def begin_to_move(masters: list[RedisServer], topic: str) -> tuple[RedisServer, RedisServer]:
    """Begin to move a topic's slot; return where it is and where it goes."""
    source = owner(masters, topic)
    target = next(server for server in masters if server is not source)
    slot = key_slot(topic.encode())
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))
    return source, target


def move(masters: list[RedisServer], topic: str) -> None:
    """Move a topic's slot to another server, as ``redis-cli --cluster reshard`` does."""
    source, target = begin_to_move(masters, topic)
    slot = key_slot(topic.encode())
    for key in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 1000)
    for server in (target, source, *masters):
        server.ask("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))


@asynccontextmanager
async def talking(alice: Node, topic: str) -> AsyncIterator[None]:
    """Publish again and again until the end of the block."""
    over = asyncio.Event()

    async def talk() -> None:
        while not over.is_set():
            await alice.channel.publish(topic, "over")
            await asyncio.sleep(0.02)

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        over.set()
        await task


async def talks(alice: Node, deliveries: Any, topic: str) -> None:
    """Publish until something arrives."""

    async def heard() -> None:
        async for delivery in deliveries:
            if delivery.body == "over":
                return

    async with talking(alice, topic):
        await asyncio.wait_for(heard(), 20)


@pytest.mark.parametrize("mode", MODES)
async def test_message_reaches_every_node(
    nodes: Nodes, masters: list[RedisServer], mode: str
) -> None:
    """Topics of all masters, each message once, in the order of its topic."""
    alice, bob = nodes(mode=mode), nodes(mode=mode)
    async with bob.channel.subscribe(*TOPICS) as deliveries:
        await until(lambda: bob.is_up)
        if mode == "sharded":
            spread = [server.ask("PUBSUB", "SHARDCHANNELS", "room:*") for server in masters]
            assert all(spread)
            assert sorted(TOPICS) == sorted(each.decode() for some in spread for each in some)
        for number in range(5):
            for topic in TOPICS:
                found = await alice.channel.publish(topic, {"number": number})
                assert (found is None) == (mode == "streams")
        got = await taken(deliveries, 5 * len(TOPICS))
        for topic in TOPICS:
            assert list(range(5)) == [each.body["number"] for each in got if each.topic == topic]
        async with bob.channel.subscribe(TOPICS[0], "more") as more:
            await alice.channel.publish("more", "again")
            assert ["again"] == await bodies(more, 1)
    assert 0 == bob.number("lost_total") + bob.number("reconnects_total")


async def test_pattern_and_plain_topic_come_through_any_server(nodes: Nodes) -> None:
    """One connection hears the whole cluster."""
    node = nodes()
    async with node.channel.subscribe(patterns=["room:*"]) as deliveries:
        for topic in TOPICS:
            await node.channel.publish(topic, topic)
        assert TOPICS == await bodies(deliveries, len(TOPICS))


@pytest.mark.parametrize("mode", ["sharded", "streams"])
async def test_slot_that_moves_is_followed(
    nodes: Nodes, masters: list[RedisServer], mode: str
) -> None:
    """Publishing and listening find its new server, and other topics go on."""
    alice, bob = nodes(mode=mode), nodes(mode=mode)
    async with bob.channel.subscribe("room:1", "room:2") as deliveries:
        await until(lambda: bob.is_up)
        await alice.channel.publish("room:1", "before")
        assert ["before"] == await bodies(deliveries, 1)
        before = owner(masters, "room:1")
        await asyncio.to_thread(move, masters, "room:1")
        assert before is not owner(masters, "room:1")
        await talks(alice, deliveries, "room:1")
        await talks(alice, deliveries, "room:2")
        await until(lambda: bob.number("reconnects_total") > 0)
    assert 0 == alice.number("published_total", outcome="failed")
    if mode == "streams":
        assert 0 == bob.number("lost_total")


async def test_slot_that_is_moving_takes_messages(nodes: Nodes, masters: list[RedisServer]) -> None:
    """A new stream is made where the slot goes."""
    source, target = await asyncio.to_thread(begin_to_move, masters, "moving")
    node = nodes(mode="streams")
    await node.channel.publish("moving", "hello")
    assert 1 == node.number("published_total", outcome="ok")
    slot = key_slot(b"moving")
    for server in (target, source, *masters):
        server.ask("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))
    assert 1 == target.ask("XLEN", "moving")


@pytest.mark.parametrize("mode", MODES)
async def test_master_that_is_killed_is_waited_for(
    nodes: Nodes, masters: list[RedisServer], mode: str
) -> None:
    """With Pub/Sub the others do meanwhile."""
    alice, bob = nodes(mode=mode), nodes(mode=mode)
    async with bob.channel.subscribe(*TOPICS) as deliveries:
        await until(lambda: bob.is_up)
        server = owner(masters, TOPICS[0])
        if mode == "pubsub":
            (server,) = (each for each in masters if each.clients("pubsub"))
        server.kill()
        try:
            await until(lambda: not bob.is_up)
            if mode == "pubsub":
                await until(lambda: bob.is_up)
                await talks(alice, deliveries, TOPICS[0])
                assert 0 == alice.number("published_total", outcome="failed")
            else:
                work = (alice.channel.publish(TOPICS[0], "away") for _ in range(3))
                assert [None] * 3 == await asyncio.gather(*work)
        finally:
            server.start()
        for topic in (TOPICS[0], TOPICS[5]):
            await talks(alice, deliveries, topic)
        await until(lambda: bob.is_up, 20)


@pytest.mark.parametrize("mode", ["sharded", "streams"])
async def test_server_that_hangs_while_others_talk_is_noticed(
    nodes: Nodes, masters: list[RedisServer], mode: str
) -> None:
    """Their messages are no sign of its life."""
    alice, bob = nodes(mode=mode), nodes(mode=mode)
    silent = owner(masters, TOPICS[0])
    topic = next(each for each in TOPICS if owner(masters, each) is not silent)
    async with bob.channel.subscribe(*TOPICS):
        await until(lambda: bob.is_up)
        silent.pause()
        try:
            async with talking(alice, topic):
                await until(lambda: not bob.is_up)
        finally:
            silent.resume()
        await until(lambda: bob.is_up)


async def test_cluster_that_is_away_is_no_exception(tmp_path: Path) -> None:
    """At the start; it is found when it is there."""
    with cluster(tmp_path / "later") as masters:
        for server in masters:
            server.kill()
        client = RedisCluster.from_url(masters[0].url)
        async with Nodes(client) as nodes:
            node = nodes(mode="sharded")
            async with node.channel.subscribe("rooms") as deliveries:
                assert await node.channel.publish("rooms", "too early") is None
                assert not node.is_up
                for server in masters:
                    server.start()
                await until(lambda: node.is_up, 20)
                await talks(node, deliveries, "rooms")
        await client.aclose()


@pytest.mark.parametrize("mode", ["pubsub", "streams"])
async def test_failover_is_followed(tmp_path: Path, mode: str) -> None:
    """The sentinel makes the replica the master, and both ends go there."""
    with sentinel(tmp_path / "sentinel") as servers:
        addresses = [("127.0.0.1", servers.sentinel.port)]
        manager = Sentinel(addresses, socket_timeout=1)  # type: ignore[no-untyped-call]
        client = manager.master_for(MASTER_NAME, socket_timeout=1)
        async with client, Nodes(client) as nodes:
            alice, bob = nodes(mode=mode), nodes(mode=mode)
            async with bob.channel.subscribe("rooms") as deliveries:
                await until(lambda: bob.is_up)
                await alice.channel.publish("rooms", "before")
                assert ["before"] == await bodies(deliveries, 1)
                servers.master.kill()
                await until(lambda: servers.master_port() == servers.replica.port, 20)
                await talks(alice, deliveries, "rooms")
                await until(lambda: bob.is_up)
                assert servers.replica.clients()
            assert 1 == bob.number("reconnects_total")
        for each in manager.sentinels:
            await each.aclose()


async def test_server_that_has_left_is_an_error(nodes: Nodes, client: RedisCluster) -> None:
    """The listener then learns anew who is there; what is not listened to is not left."""
    found = RedisClient(client)
    await found.refresh()
    # Somebody else has learnt it already.
    await found.refresh(0)
    assert 1 == await found.version()
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1 has left the cluster"):
        found.connection("127.0.0.1:1")
    assert found.place_at("127.0.0.1", 1) is None
    await PubSubBroker(found, sharded=True).unsubscribe([Name("rooms")])
