"""What happens to a channel when Redis is away, hangs, or cuts a connection; a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis import Redis

from asgi_ws_observe.fanout import inject
from tests.fanout.redis_nodes import MODES, Node, Nodes, bodies
from tests.fanout.redis_servers import RedisServer, single
from tests.support import until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a running server that has every entry on disk."""
    with single(tmp_path / "redis", durable=True) as server:
        yield server


@pytest_asyncio.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Nodes]:
    """Return what makes nodes; they leave no connection to the server."""
    async with Nodes(server.url) as nodes:
        yield nodes
    if server.process.poll() is None:
        await until(lambda: not server.clients())


async def counts_as_lost(node: Node, number: float) -> None:
    """Wait until losses are settled; there are exactly so many."""
    await until(lambda: node.number("lost_total") >= number)
    assert number == node.number("lost_total")


@pytest.mark.parametrize("mode", MODES)
async def test_killed_server_that_comes_back_is_used_again(
    nodes: Nodes, server: RedisServer, mode: str, lines: Callable[[], list[str]]
) -> None:
    """Nothing is raised meanwhile; the metrics tell, and then all is well again."""
    alice, bob = nodes(mode=mode), nodes(mode=mode)
    async with bob.channel.subscribe("rooms") as deliveries:
        await alice.channel.publish("rooms", "before")
        assert ["before"] == await bodies(deliveries, 1)
        await until(lambda: bob.is_up)
        server.kill()
        await until(lambda: not bob.is_up)
        assert await alice.channel.publish("rooms", "away") is None
        await until(lambda: bob.number("probe_age_seconds") > 0.5)
        assert bob.channel.state in ("waiting", "connecting")
        if mode == "streams":
            assert 1 == alice.number("outbox_messages")
        else:
            assert 1 == alice.number("published_total", outcome="failed")
        server.start()
        await until(lambda: bob.is_up)
        await until(lambda: bob.number("probe_age_seconds") < 0.5)
        await alice.channel.publish("rooms", "after")
        expected = ["away", "after"] if mode == "streams" else ["after"]
        assert expected == await bodies(deliveries, len(expected))
    await until(lambda: not alice.number("outbox_messages"))
    assert 1 == bob.number("reconnects_total")
    assert ["ws_fanout_down", "ws_fanout_up"] == [
        each for each in lines() if each in ("ws_fanout_down", "ws_fanout_up")
    ]


async def test_what_pubsub_loses_is_counted_exactly(nodes: Nodes, server: RedisServer) -> None:
    """Published while the listener's connection was cut, until it is back."""
    alice, bob = nodes(), nodes(backoff=0.5)
    got = []
    async with bob.channel.subscribe("rooms") as deliveries:
        published = 0
        for _ in range(3):
            await until(lambda: bob.is_up)
            assert 1 == server.cut("pubsub")
            for _ in range(20):
                await alice.channel.publish("rooms", published)
                published += 1
            await until(lambda: bob.is_up)
            await alice.channel.publish("rooms", published)
            published += 1
            got.append(await bodies(deliveries, 1))
            while got[-1] != [published - 1]:
                got.append(await bodies(deliveries, 1))
        assert published > len(got)
        # The first message of a publisher is where its numbers begin.
        first: int = got[0][0]
        await counts_as_lost(bob, published - len(got) - first)
    assert 3 == bob.number("reconnects_total")


@pytest.mark.parametrize("mode", ["pubsub", "streams"])
async def test_server_that_hangs_is_noticed(nodes: Nodes, server: RedisServer, mode: str) -> None:
    """Connections stay and nobody answers; when it goes on, nothing is unaccounted for."""
    alice, bob = nodes(mode=mode, timeout=0.3), nodes(mode=mode, timeout=0.3)
    async with bob.channel.subscribe("rooms") as deliveries:
        await alice.channel.publish("rooms", 0)
        await until(lambda: bob.is_up)
        server.pause()
        await until(lambda: not bob.is_up)
        for number in range(1, 5):
            await alice.channel.publish("rooms", number)
        await until(lambda: bob.number("probe_age_seconds") > 1.5)
        server.resume()
        await until(lambda: bob.is_up)
        await until(lambda: not alice.number("outbox_messages"))
        await alice.channel.publish("rooms", 5)
        got = []
        while 5 not in got:
            got += await bodies(deliveries, 1)
        if mode == "streams":
            assert list(range(6)) == got
        else:
            await counts_as_lost(bob, 6 - len(got))


@pytest.mark.parametrize("mode", MODES)
async def test_server_that_comes_later_is_found(
    nodes: Nodes, server: RedisServer, mode: str
) -> None:
    """Subscribing ends in time without it, and what is subscribed to meanwhile is there then."""
    server.kill()
    node = nodes(mode=mode)
    async with node.channel.subscribe("rooms") as rooms, node.channel.subscribe("halls") as halls:
        assert not node.is_up
        assert await node.channel.publish("elsewhere", "too early") is None
        server.start()
        await until(lambda: node.is_up)
        await node.channel.publish("rooms", "hello")
        await node.channel.publish("halls", "hello")
        assert ["hello"] == await bodies(rooms, 1)
        assert ["hello"] == await bodies(halls, 1)
    # It was never there before.
    assert 0 == node.number("reconnects_total")


@pytest.mark.parametrize("mode", MODES)
async def test_wrong_password_is_no_exception(
    nodes: Nodes, server: RedisServer, mode: str, lines: Callable[[], list[str]]
) -> None:
    """It is in the log; once the server takes it all is well."""
    node = nodes(server.url.replace("//", "//alice:secret@"), mode=mode)
    async with node.channel.subscribe("rooms") as deliveries:
        assert await node.channel.publish("elsewhere", "hello") is None
        assert not node.is_up
        assert {"ws_fanout_down", "ws_fanout_refused"} <= set(lines())
        server.ask("ACL", "SETUSER", "alice", "on", ">secret", "~*", "&*", "+@all")
        await until(lambda: node.is_up)
        await node.channel.publish("rooms", "hello")
        assert ["hello"] == await bodies(deliveries, 1)


async def test_refusal_is_raised_where_that_is_wanted(nodes: Nodes, server: RedisServer) -> None:
    """With ``raises=True``."""
    node = nodes(raises=True)
    assert 0 == await node.channel.publish("rooms", "hello")
    server.kill()
    with pytest.raises(Exception, match=r"(?i)connect"):
        await node.channel.publish("rooms", "hello")


async def test_cancelled_publish_leaves_the_connection_as_it_was(
    nodes: Nodes, server: RedisServer
) -> None:
    """The next answer is the next command's; of one that hangs for long it is a new connection."""
    node = nodes(timeout=0.4, probe_interval=None, silence=60)
    async with node.channel.subscribe("rooms"):
        for _ in range(2):
            work = asyncio.create_task(node.channel.publish("nobody", "hello"))
            await asyncio.sleep(0)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert 1 == await node.channel.publish("rooms", "hello")
        (first,) = server.clients("normal")
        server.pause()
        for _ in range(3):
            assert await node.channel.publish("rooms", "hello") is None
        server.resume()
        assert 1 == await node.channel.publish("rooms", "hello")
        await until(lambda: len(server.clients("normal")) == 1)
        (last,) = server.clients("normal")
        assert first["id"] != last["id"]
    assert 5 == node.number("published_total", outcome="failed")


async def test_subscriber_that_redis_disconnects_counts_its_losses(
    nodes: Nodes, server: RedisServer
) -> None:
    """An event loop that stands still while more comes than Redis buffers."""
    server.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1")
    node = nodes()
    async with node.channel.subscribe("rooms") as deliveries:
        with Redis.from_url(server.url) as client:
            client.publish("rooms", inject("first", publisher="other", sequence=1))
            got = await bodies(deliveries, 1)
            count, took, big = 1, 1, "x" * 1_000_000
            while took:
                count += 1
                took = client.publish("rooms", inject(big, publisher="other", sequence=count))
            await until(lambda: node.number("reconnects_total") == 1)
            client.publish("rooms", inject("last", publisher="other", sequence=count + 1))
        while "last" not in got:
            got += await bodies(deliveries, 1)
        assert count > len(got)
        await counts_as_lost(node, count + 1 - len(got))


async def test_slow_application_drops_the_oldest_and_keeps_its_connection(nodes: Nodes) -> None:
    """With Pub/Sub; what is dropped is counted."""
    node = nodes(queue=5)
    async with node.channel.subscribe("rooms") as deliveries:
        for number in range(20):
            await node.channel.publish("rooms", number)
        await until(lambda: node.dropped("subscription_full") == 15)
        assert list(range(15, 20)) == await bodies(deliveries, 5)
    assert 0 == node.number("lost_total") + node.number("reconnects_total")


async def test_forbidden_topic_is_in_the_log(
    nodes: Nodes, server: RedisServer, lines: Callable[[], list[str]]
) -> None:
    """The listener is down for as long as Redis refuses it."""
    server.ask("ACL", "SETUSER", "alice", "on", ">secret", "~*", "&ws-*", "+@all")
    node = nodes(server.url.replace("//", "//alice:secret@"))
    async with node.channel.subscribe("rooms") as deliveries:
        assert not node.is_up
        assert "ws_fanout_down" in lines()
        server.ask("ACL", "SETUSER", "alice", "&*")
        await until(lambda: node.is_up)
        assert 1 == await node.channel.publish("rooms", "hello")
        assert ["hello"] == await bodies(deliveries, 1)


@pytest.mark.parametrize("mode", MODES)
async def test_deaf_listener_connects_again(nodes: Nodes, server: RedisServer, mode: str) -> None:
    """When its probes are taken and none comes back, whatever the reason."""
    node = nodes(mode=mode)
    async with node.channel.subscribe("rooms") as deliveries:
        await until(lambda: node.is_up)
        await node.channel._listener.restart()
        await until(lambda: node.number("reconnects_total") == 1)
        await until(lambda: node.is_up)
        await node.channel.publish("rooms", "hello")
        assert ["hello"] == await bodies(deliveries, 1)
