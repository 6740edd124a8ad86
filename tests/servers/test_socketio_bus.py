"""The bus between nodes: a Redis that goes away, lost messages, and those without this library."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fanout.redis_servers import RedisServer
from tests.servers.nodes import Node
from tests.servers.processes import ROOT, Exposition
from tests.servers.socketio_nodes import Client, Since, Site, client, node, pair
from tests.support import until

Nodes = tuple[Site, Site, RedisServer]
PUBLISHED = "socketio_bus_published_total"
RECEIVED = "socketio_bus_received_total"
LOST = "socketio_bus_lost_messages_total"
UP = "socketio_bus_listener_up"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Run two nodes with a Redis between them."""
    with pair(tmp_path_factory.mktemp("nodes")) as found:
        yield found


async def talk(speaker: Client, listener: Client, text: str) -> None:
    """Say something until the listener hears it."""
    await speaker.call("say", "room:one", text)
    while text != (await listener.hear())[0]:
        pass


def both(nodes: Nodes, is_up: bool) -> Callable[[], bool]:
    """Return whether the listeners of both nodes are up, or both down."""
    return lambda: all(is_up == each.number(UP) for each in nodes[:2])


async def test_listener_is_up_with_the_first_client(tmp_path: Path, nodes: Nodes) -> None:
    """Before, a node hears nothing of what others say."""
    with node(tmp_path, "late", nodes[2].url) as late:
        assert 0 == late.number(UP)
        async with client(late):
            await until(lambda: 1 == late.number(UP))


async def test_redis_that_is_killed_shows_until_it_is_back(nodes: Nodes) -> None:
    """Both nodes are deaf, what they publish is dropped, and all of that was lost for the other."""
    a, b, redis = nodes
    numbers, others = Since(a), Since(b)
    async with client(a) as speaker, client(a) as near, client(b) as far:
        for each in (near, far):
            await each.call("join", "room:one")
        await until(both(nodes, True))
        await talk(speaker, far, "before")
        assert "before" == (await near.hear())[0]
        redis.kill()
        try:
            await until(both(nodes, False))
            for number in range(3):
                await talk(speaker, near, f"during {number}")
        finally:
            redis.start()
        assert 3 == numbers(PUBLISHED, method="emit", outcome="dropped")
        dropped = [each["attributes"] for each in a.named("send said")[-3:]]
        assert ["dropped"] * 3 == [each.get("socketio.bus.outcome") for each in dropped]
        await until(both(nodes, True), 20)
        await talk(speaker, far, "after")
        await until(lambda: 3 == others(LOST))
    assert 2 == numbers(PUBLISHED, outcome="ok")
    assert 2 == others(RECEIVED, method="emit", origin="other")
    assert far.heard.empty()
    # Its own clients were told without the bus.
    assert 0 == numbers(LOST)


async def test_messages_that_a_deaf_listener_misses_are_lost(nodes: Nodes) -> None:
    """Its connection was cut; the others publish, and Redis takes it."""
    a, b, redis = nodes
    numbers, others = Since(a), Since(b)
    async with client(a) as speaker, client(b) as far:
        await far.call("join", "room:one")
        await talk(speaker, far, "before")
        redis.cut("pubsub")
        await until(both(nodes, False))
        for number in range(4):
            await speaker.call("say", "room:one", f"during {number}")
        await until(both(nodes, True), 20)
        await talk(speaker, far, "after")
        await until(lambda: 4 == others(LOST))
    assert 6 == numbers(PUBLISHED, outcome="ok") == numbers(PUBLISHED)
    assert 2 == others(RECEIVED, origin="other")
    assert 0 == numbers(LOST)


async def test_node_that_could_not_publish_at_once_listens_still(nodes: Nodes) -> None:
    """The manager connects anew to publish, while its listener goes on with what it has."""
    a, b, redis = nodes
    async with client(a) as speaker, client(b) as far:
        await far.call("join", "room:one")
        await talk(speaker, far, "before")
        numbers = Since(a)
        redis.cut("normal")
        await talk(speaker, far, "after")
        assert both(nodes, True)()
        await far.call("join", "room:two")
        await talk(far, far, "back")
        await until(lambda: 1 == numbers(RECEIVED, origin="other"))
    assert 1 == numbers(PUBLISHED, outcome="ok") == numbers(PUBLISHED)


async def test_lag_is_for_how_long_redis_held_messages(nodes: Nodes) -> None:
    """Of other nodes' messages, and of the node's own."""
    a, b, redis = nodes
    async with client(a) as speaker, client(b) as far:
        await far.call("join", "room:one")
        await talk(speaker, far, "before")
        numbers, others = Since(a), Since(b)
        redis.ask("CLIENT", "PAUSE", 300, "WRITE")
        await talk(speaker, far, "held")
        for number, origin in ((numbers, "own"), (others, "other")):
            await until(lambda found=number: found("socketio_bus_lag_seconds_count"))  # type: ignore[misc]
            assert 1 == number("socketio_bus_lag_seconds_count", origin=origin)
            assert 0.2 < number("socketio_bus_lag_seconds_sum", origin=origin) < 2
    assert 0.2 < b.named("deliver said")[-1]["attributes"]["socketio.bus.lag"] < 2


async def test_node_without_this_library_is_understood_and_understands(
    tmp_path: Path, nodes: Nodes
) -> None:
    """Its messages count, and nothing of ours reaches its clients."""
    a, _, redis = nodes
    with node(tmp_path, "plain", redis.url, SIO_PLAIN="1") as plain:
        async with client(a) as ours, client(plain) as theirs:
            for each in (ours, theirs):
                await each.call("join", "room:one")
            await talk(theirs, theirs, "warm")
            await until(lambda: ours.heard.qsize())
            await ours.hear()
            numbers = Since(a)
            await theirs.call("say", "room:one", "of theirs")
            assert ("of theirs",) == await ours.hear()
            assert 1 == numbers(RECEIVED, method="emit", origin="other") == numbers(RECEIVED)
            assert 1 == numbers("socketio_emits_total", event="said", origin="other")
            assert 0 == numbers("socketio_bus_lag_seconds_count")
            await theirs.hear()
            await ours.call("say", "room:one", "of ours")
            assert ("of ours",) == await theirs.hear()
            assert "blue" == await ours.call("ask", theirs.sid, 5.0)
            assert 1 == numbers("socketio_acks_total", event="question", outcome="ok")
            assert 1 == numbers(RECEIVED, method="callback", origin="other")
            assert 0 == numbers(LOST)


def write(number: int, url: str, spans: Path) -> str:
    """Run a process that emits so often, and return its metrics."""
    written = subprocess.run(
        [sys.executable, "-m", "tests.servers.socketio_writer", str(number)],
        cwd=ROOT,
        env=os.environ | {"SIO_BUS": url, "SIO_SPANS": str(spans)},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return written.stdout


async def test_manager_that_only_writes_is_observed(tmp_path: Path, nodes: Nodes) -> None:
    """In a process of its own; what it emits is one trace with the delivery on a node."""
    _, b, redis = nodes
    numbers, spans = Since(b), tmp_path / "spans"
    async with client(b) as far:
        await far.call("join", "room:one")
        await until(lambda: b.number(UP))
        found = Exposition(await asyncio.to_thread(write, 3, redis.url, spans))
        heard = [await far.hear() for _ in range(3)]
    assert 3 == found.total(PUBLISHED, method="emit", outcome="ok") == found.total(PUBLISHED)
    assert 3 == found.total("socketio_emits_total", event="said", origin="own", target="room")
    assert [] == found.samples(UP)
    assert 0 == found.total("ws_observe_errors_total")
    sent = Node(b.server, spans).named("send said")
    assert [(f"written {each}", span["trace"]) for each, span in enumerate(sent)] == [
        (text, carrier["traceparent"].split("-")[1]) for text, carrier in heard
    ]
    delivered = [b.spans_of("deliver said", trace=span["trace"])[0] for span in sent]
    assert [span["span"] for span in sent] == [span["parent"] for span in delivered]
    assert 3 == numbers(RECEIVED, method="emit", origin="other")
    assert 3 == numbers("socketio_bus_lag_seconds_count", origin="other")
    assert 0 == numbers(LOST)
