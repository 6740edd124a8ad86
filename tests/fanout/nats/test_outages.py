"""What survives when NATS, or the line to it, fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from asgi_ws_observe.fanout.nats import NatsChannel
from tests.fanout.brokers import Line, NatsServer, line_to
from tests.fanout.nats.conftest import (
    Lines,
    Make,
    application,
    broker_of,
    client_in,
    listener_up,
    probed,
    take,
)
from tests.support import sample, until


async def test_server_that_is_killed_comes_back(
    mortal: NatsServer,
    node: Make,
    client_of: Callable[[str], Any],
    registry: CollectorRegistry,
    lines: Lines,
) -> None:
    """Publishing fails without an exception, the metrics tell it, and delivery resumes."""
    async with client_of(mortal.url) as given:
        channel = node(given)
        async with channel.subscribe("rooms") as deliveries:
            await channel.publish("rooms", "before")
            found = await take(deliveries)
            mortal.kill()
            await until(lambda: not listener_up(channel))
            assert await channel.publish("rooms", "lost") is None
            await asyncio.to_thread(mortal.start)
            await until(lambda: listener_up(channel))
            await until(lambda: client_in(channel).is_connected)
            await channel.publish("rooms", "after")
            found += await take(deliveries)
        await channel.aclose()
    assert ["before", "after"] == [each.text() for each in found]
    assert {"ok": 2, "failed": 1} == channel.numbers.published
    # The one that failed reached nobody, and so it is missing.
    assert 1 == sample(registry, "ws_fanout_lost_total", channel="nats")
    assert 1 == sample(registry, "ws_fanout_reconnects_total", channel="nats")
    assert {"ws_fanout_down", "ws_fanout_refused", "ws_fanout_up"} == set(lines())


async def test_server_that_stops_is_found_out(
    mortal: NatsServer, node: Make, client_of: Callable[[str], Any]
) -> None:
    """Its connections stay and nothing comes: the probe ages, the listener goes down and up."""
    async with client_of(mortal.url) as given:
        channel = node(given, probe_interval=0.2)
        async with channel.subscribe("rooms") as deliveries:
            await until(lambda: probed(channel))
            mortal.pause()
            await until(lambda: not listener_up(channel))
            await until(lambda: (channel.numbers.probe_age() or 0) > 1.5)
            mortal.resume()
            await until(lambda: listener_up(channel))
            await channel.publish("rooms", "hello")
            assert ["hello"] == [each.text() for each in await take(deliveries)]
            await until(lambda: (channel.numbers.probe_age() or 9) < 1)
        await channel.aclose()


async def test_what_is_missed_while_the_line_is_cut_is_counted(
    server: NatsServer, node: Make, client_of: Callable[[str], Any], registry: CollectorRegistry
) -> None:
    """Exactly, by the numbers of a publisher whose own line is whole."""
    publisher = node(server.url, name="publisher")
    async with line_to(server.port) as line, client_of(line.url) as given:
        channel = node(given, name="listener")
        async with channel.subscribe("rooms") as deliveries:
            await publisher.publish("rooms", 0)
            assert [0] == [each.json() for each in await take(deliveries)]
            await _cut(line, channel)
            for number in range(1, 6):
                await publisher.publish("rooms", number)
            await client_in(publisher).flush()
            await line.open()
            await until(lambda: listener_up(channel))
            await publisher.publish("rooms", 6)
            assert [6] == [each.json() for each in await take(deliveries)]
        await channel.aclose()
    assert 5 == sample(registry, "ws_fanout_lost_total", channel="listener")
    assert {"ok": 7, "failed": 0} == publisher.numbers.published


async def _cut(line: Line, channel: NatsChannel) -> None:
    line.cut()
    await until(lambda: not listener_up(channel))


async def test_line_that_blinks_loses_nothing_that_comes_after(
    server: NatsServer, node: Make, client_of: Callable[[str], Any], registry: CollectorRegistry
) -> None:
    """nats-py subscribes again by itself; what comes before the listener looks comes once."""
    publisher = node(server.url, name="publisher")
    async with line_to(server.port) as line, client_of(line.url) as given:
        channel = node(given, name="listener")
        async with channel.subscribe("rooms") as deliveries:
            await publisher.publish("rooms", 0)
            assert [0] == [each.json() for each in await take(deliveries)]
            client = client_in(channel)
            line.blink()
            await until(lambda: client.stats["reconnects"] == 1 and client.is_connected)
            await client.flush()
            for number in range(1, 4):
                await publisher.publish("rooms", number)
            await until(lambda: channel.numbers.reconnects == 1)
            await publisher.publish("rooms", 4)
            assert [1, 2, 3, 4] == [each.json() for each in await take(deliveries, 4)]
        await channel.aclose()
    assert 0 == sample(registry, "ws_fanout_lost_total", channel="listener")
    dropped = {"channel": "listener", "reason": "duplicate"}
    assert 0 == sample(registry, "ws_messages_dropped_total", **dropped)


async def test_what_is_left_while_the_line_is_cut_is_not_subscribed_again(
    server: NatsServer, node: Make
) -> None:
    """A subscription that ends meanwhile goes, one that begins meanwhile comes."""
    async with line_to(server.port) as line, application(line.url) as client:
        channel = node(client)
        async with channel.subscribe("stays"):
            leaves = channel.subscribe("leaves")
            await leaves.__aenter__()
            await _cut(line, channel)
            await leaves.aclose()
            await line.open()
            async with channel.subscribe("comes") as deliveries:
                await until(lambda: listener_up(channel))
                await channel.publish("comes", "hello")
                assert ["hello"] == [each.text() for each in await take(deliveries)]
                subjects = sorted(each.subject for each in client._subs.values())
                assert ["comes", "stays"] == [each for each in subjects if each[0] != "_"]
        await channel.aclose()


async def test_broker_that_is_deaf_is_connected_to_again(
    server: NatsServer, node: Make, client_of: Callable[[str], Any]
) -> None:
    """What the probes call: new subscriptions, though nothing seemed wrong."""
    async with client_of(server.url) as given:
        channel = node(given)
        async with channel.subscribe("rooms") as deliveries:
            await channel._listener.restart()
            await until(lambda: channel.numbers.reconnects == 1)
            await channel.publish("rooms", "hello")
            assert ["hello"] == [each.text() for each in await take(deliveries)]
        await channel.aclose()


async def test_silence_is_asked_about(server: NatsServer, node: Make) -> None:
    """A quiet bus is no broken one: the echo answers."""
    channel = node(server.url, silence=0.05)
    async with channel.subscribe("rooms"):
        await until(lambda: broker_of(channel)._last_echo > 4)
    assert 0 == channel.numbers.reconnects
