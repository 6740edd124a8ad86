"""Redis Streams lose nothing, deliver nothing twice, and say what is gone; real servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from asgi_ws_observe import SettingsError
from tests.fanout.redis_nodes import Nodes, bodies, taken
from tests.fanout.redis_servers import RedisServer, single
from tests.support import until

#: An entry's identity of a clock that is far ahead.
FUTURE = "9999999999999-0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a running server that has every entry on disk."""
    with single(tmp_path / "redis", durable=True) as server:
        yield server


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a running server that keeps nothing when it is killed."""
    with single(tmp_path / "forgetful") as server:
        yield server


@pytest_asyncio.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Nodes]:
    """Return what makes nodes; they leave no connection to the server."""
    async with Nodes(server.url) as nodes:
        yield nodes
    await until(lambda: not server.clients())


async def test_nothing_is_lost_when_the_server_is_killed_under_load(
    nodes: Nodes, server: RedisServer
) -> None:
    """Each message once, and those of one task in their order."""
    alice, bob = nodes(mode="streams"), nodes(mode="streams")
    tasks, each = 4, 150

    async def publish(task: int) -> None:
        for number in range(each):
            await alice.channel.publish("rooms", [task, number])

    async with bob.channel.subscribe("rooms") as deliveries:
        work = asyncio.gather(*(publish(task) for task in range(tasks)))
        await until(lambda: alice.number("published_total", outcome="ok") > 100)
        server.kill()
        await until(lambda: alice.number("outbox_messages") > 100)
        assert not bob.is_up
        server.start()
        await work
        got = await bodies(deliveries, tasks * each)
        await until(lambda: not alice.number("outbox_messages"))
        for task in range(tasks):
            assert [[task, number] for number in range(each)] == [
                body for body in got if body[0] == task
            ]
        await alice.channel.publish("rooms", "last")
        assert ["last"] == await bodies(deliveries, 1)
    assert tasks * each + 1 == alice.number("published_total", outcome="ok")
    assert 0 == alice.number("published_total", outcome="failed") + bob.number("lost_total")
    assert 1 == bob.number("reconnects_total")


async def test_cut_connection_misses_nothing(nodes: Nodes, server: RedisServer) -> None:
    """Whatever is cut, and however often."""
    alice, bob = nodes(mode="streams"), nodes(mode="streams", backoff=0.05)
    async with bob.channel.subscribe("rooms") as deliveries:
        for number in range(100):
            await alice.channel.publish("rooms", number)
            if not number % 20:
                server.cut("normal")
        assert list(range(100)) == await bodies(deliveries, 100)
    assert 0 == bob.number("lost_total")


@pytest.mark.parametrize("way", ["FLUSHALL", "DEL", "restart"])
async def test_stream_that_is_gone_begins_again(
    forgetful: RedisServer, server: RedisServer, way: str
) -> None:
    """What comes then is delivered, also if the clock of the server has gone back."""
    async with Nodes(forgetful.url) as nodes:
        node = nodes(mode="streams")
        async with node.channel.subscribe("rooms", "other") as deliveries:
            probe = node.channel._probe.text
            for topic in ("rooms", probe):
                forgetful.ask("XADD", topic, FUTURE, "body", "hello")
            assert [b"hello"] == await bodies(deliveries, 1)
            await node.channel.publish("other", 0)
            assert [0] == await bodies(deliveries, 1)
            if way == "restart":
                forgetful.kill()
                forgetful.start()
            else:
                forgetful.ask(*(("DEL", "rooms", "other", probe) if way == "DEL" else (way,)))
            await until(lambda: node.number("reconnects_total") == 1)
            await until(lambda: node.is_up)
            await node.channel.publish("rooms", "after")
            await node.channel.publish("other", 1)
            found = await bodies(deliveries, 2)
            assert {"after", 1} == set(found)
        assert 0 == node.number("lost_total")


async def test_entries_that_were_trimmed_are_losses(nodes: Nodes, server: RedisServer) -> None:
    """What Redis kept for too short a time is counted."""
    alice, bob = nodes(mode="streams"), nodes(mode="streams", queue=1)
    async with bob.channel.subscribe("rooms") as deliveries:
        await alice.channel.publish("rooms", 0)
        # The listener reads on when there is room.
        await until(lambda: deliveries.is_full())
        for number in range(1, 20):
            await alice.channel.publish("rooms", number)
        # There is nothing to interrupt then.
        async with bob.channel.subscribe("other"):
            server.ask("XTRIM", "rooms", "MAXLEN", 2)
        got = []
        while 19 not in got:
            got += await bodies(deliveries, 1)
    assert len(got) < 10
    assert 20 - len(got) == bob.number("lost_total")


async def test_stream_is_kept_short(nodes: Nodes, server: RedisServer) -> None:
    """About as long as it is told, and that of a probe not for ever."""
    node = nodes(mode="streams", maxlen=100)
    async with node.channel.subscribe("rooms"):
        await asyncio.gather(*(node.channel.publish("rooms", number) for number in range(500)))
        assert 100 <= server.ask("XLEN", "rooms") < 300
        probe = node.channel._probe.text
        await until(lambda: server.ask("XLEN", probe) == 1)
        await until(lambda: 0 < server.ask("TTL", probe) <= 600)


async def test_new_topic_interrupts_a_read(nodes: Nodes, server: RedisServer) -> None:
    """What is published to it arrives at once, not when the read has waited long enough."""
    node = nodes(mode="streams", silence=60, probe_interval=None)
    waited = []
    async with node.channel.subscribe("first"):
        for number in range(5):
            began = time.perf_counter()
            async with node.channel.subscribe(f"topic:{number}") as deliveries:
                await node.channel.publish(f"topic:{number}", {})
                await taken(deliveries, 1)
            waited.append(time.perf_counter() - began)
    assert min(waited) < 0.2


async def test_topic_that_is_left_during_a_read_is_not_delivered(nodes: Nodes) -> None:
    """Neither is what was published before it was subscribed to again, nor anything twice."""
    node = nodes(mode="streams", silence=60, probe_interval=None)
    async with node.channel.subscribe("other"):
        for number in range(10):
            async with node.channel.subscribe("rooms") as deliveries:
                await node.channel.publish("rooms", ["seen", number])
                assert [["seen", number]] == await bodies(deliveries, 1)
            await node.channel.publish("rooms", ["unseen", number])
    assert 0 == node.dropped("duplicate")


async def test_entry_that_was_published_twice_is_delivered_once(
    nodes: Nodes, server: RedisServer
) -> None:
    """A server that hung had taken it, and got it again."""
    alice, bob = nodes(mode="streams", timeout=0.2), nodes(mode="streams")
    async with bob.channel.subscribe("rooms") as deliveries:
        await alice.channel.publish("rooms", 0)
        server.pause()
        await alice.channel.publish("rooms", 1)
        assert 1 == alice.number("outbox_messages")
        server.resume()
        await until(lambda: not alice.number("outbox_messages"))
        await alice.channel.publish("rooms", 2)
        assert [0, 1, 2] == await bodies(deliveries, 3)
        assert server.ask("XLEN", "rooms") > 3
        await until(lambda: bob.dropped("duplicate") == server.ask("XLEN", "rooms") - 3)
    assert 0 == bob.number("lost_total")


async def test_key_that_is_no_stream_is_in_nobodys_way(
    nodes: Nodes, server: RedisServer, lines: Callable[[], list[str]]
) -> None:
    """Other topics are delivered, publishing to it fails at once; it is read when it is one."""
    server.ask("SET", "rooms", "something else")
    node = nodes(mode="streams", timeout=0.5)
    async with node.channel.subscribe("rooms") as rooms, node.channel.subscribe("other") as other:
        assert not node.is_up
        assert await node.channel.publish("rooms", "refused") is None
        assert 1 == node.number("published_total", outcome="failed")
        assert 0 == node.number("outbox_messages")
        for number in range(5):
            await node.channel.publish("other", number)
        assert list(range(5)) == await bodies(other, 5)
        server.ask("DEL", "rooms")
        await until(lambda: node.is_up)
        await node.channel.publish("rooms", "hello")
        assert ["hello"] == await bodies(rooms, 1)
        # It changes under the listener's hands.
        server.ask("DEL", "rooms")
        server.ask("SET", "rooms", "something else")
        await until(lambda: not node.is_up)
        await node.channel.publish("other", 5)
        assert [5] == await bodies(other, 1)
    assert {"ws_fanout_refused", "ws_fanout_down", "ws_fanout_up"} <= set(lines())


async def test_command_that_is_forbidden_is_in_the_log(
    nodes: Nodes, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The listener comes up as soon as it may."""
    server.ask("ACL", "SETUSER", "alice", "on", ">secret", "~*", "&*", "+@all", "-xinfo")
    node = nodes(server.url.replace("//", "//alice:secret@"), mode="streams")
    async with node.channel.subscribe("rooms") as deliveries:
        assert not node.is_up
        assert "xinfo" in caplog.text
        server.ask("ACL", "SETUSER", "alice", "+@all")
        await until(lambda: node.is_up)
        await node.channel.publish("rooms", "hello")
        assert ["hello"] == await bodies(deliveries, 1)


async def test_node_that_was_restarted_goes_on_where_it_was(nodes: Nodes) -> None:
    """After the last delivery that was handled."""
    alice, bob = nodes(mode="streams"), nodes(mode="streams")
    async with bob.channel.subscribe("rooms") as deliveries:
        for number in range(3):
            await alice.channel.publish("rooms", number)
        last = (await taken(deliveries, 2))[-1].id
    await bob.channel.aclose()
    await alice.channel.publish("rooms", 3)
    carol = nodes(mode="streams")
    async with carol.channel.subscribe("rooms", after=last) as deliveries:
        await alice.channel.publish("rooms", 4)
        assert [2, 3, 4] == await bodies(deliveries, 3)
        with pytest.raises(SettingsError, match="listens to already"):
            carol.channel.subscribe("rooms", after=last)
    async with carol.channel.subscribe("rooms", after="0") as deliveries:
        assert list(range(5)) == await bodies(deliveries, 5)
    assert 0 == carol.number("lost_total") + carol.dropped("duplicate")


async def test_channel_that_was_closed_begins_where_the_stream_ends(nodes: Nodes) -> None:
    """Unless it is told otherwise, like a new one."""
    alice, bob = nodes(mode="streams"), nodes(mode="streams")
    async with bob.channel.subscribe("rooms") as deliveries:
        await alice.channel.publish("rooms", "before")
        assert ["before"] == await bodies(deliveries, 1)
        # Its subscription ends with the channel, and not by itself.
        await bob.channel.aclose()
    await alice.channel.publish("rooms", "between")
    async with bob.channel.subscribe("rooms") as deliveries:
        await alice.channel.publish("rooms", "after")
        assert ["after"] == await bodies(deliveries, 1)


@pytest.mark.parametrize(
    ("mode", "after", "message"),
    [
        ("pubsub", "1-0", "after: accepted: in the mode streams, which keeps messages"),
        ("streams", "$", "after: '$' is no entry's identity; accepted: a Delivery.id"),
        ("streams", "", "after: '' is no entry's identity; accepted: a Delivery.id"),
    ],
)
async def test_wrong_position_is_refused(nodes: Nodes, mode: str, after: str, message: str) -> None:
    """Saying what is accepted."""
    with pytest.raises(SettingsError) as caught:
        nodes(mode=mode).channel.subscribe("rooms", after=after)
    assert message == str(caught.value)


async def test_entry_that_was_deleted_is_passed_over(nodes: Nodes, server: RedisServer) -> None:
    """Those after it are delivered, and its place is no loss of the server's."""
    node = nodes(mode="streams")
    async with node.channel.subscribe("rooms") as deliveries:
        await node.channel.publish("rooms", 0)
        (first,) = await taken(deliveries, 1)
        server.ask("XDEL", "rooms", first.id)
        server.cut("normal")
        await until(lambda: node.number("reconnects_total") == 1)
        await until(lambda: node.is_up)
        await node.channel.publish("rooms", 1)
        found: list[Any] = await bodies(deliveries, 1)
        assert [1] == found
