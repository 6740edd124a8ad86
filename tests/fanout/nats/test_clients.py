"""The application's own client, addresses, and what is refused."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from asgi_ws_observe import SettingsError
from asgi_ws_observe.exceptions import MissingExtraError
from asgi_ws_observe.fanout import nats_client
from asgi_ws_observe.fanout.broker import Name
from asgi_ws_observe.fanout.nats import NatsChannel
from tests.fanout.brokers import NatsServer, nats_server, permissions
from tests.fanout.nats.conftest import (
    Lines,
    Make,
    application,
    broker_of,
    client_in,
    listener_up,
    take,
)
from tests.support import sample, until


async def test_given_client_stays_open_and_keeps_nothing(server: NatsServer, node: Make) -> None:
    """After the close nothing is subscribed, and the application goes on with it."""
    async with application(server.url) as client:
        channel = node(client)
        async with channel.subscribe("rooms") as deliveries:
            await channel.publish("rooms", "hello")
            assert ["hello"] == [each.text() for each in await take(deliveries)]
        await channel.aclose()
        assert client.is_connected
        assert {} == client._subs


async def test_given_client_that_is_not_connected_yet_is_waited_for(
    server: NatsServer, node: Make, lines: Lines
) -> None:
    """A channel made before the lifespan connects: no exception, and it comes when it can."""
    client = Client()
    channel = node(client, timeout=0.2)
    assert await channel.publish("rooms", "too early") is None
    assert 1 == channel.numbers.published["failed"]
    async with channel.subscribe("rooms") as deliveries:
        assert 0 == channel.numbers.listener_up
        await client.connect(server.url)
        await until(lambda: listener_up(channel))
        await channel.publish("rooms", "hello")
        assert ["hello"] == [each.text() for each in await take(deliveries)]
    await channel.aclose()
    await client.close()
    assert ["ws_fanout_refused", "ws_fanout_down", "ws_fanout_up"] == lines()


async def test_given_client_that_is_closed_and_connected_by_hand(
    server: NatsServer, node: Make
) -> None:
    """Its subscriptions went with it; they are made again, however quickly that was."""
    client = await nats.connect(server.url)
    channel = node(client)
    async with channel.subscribe("rooms") as deliveries:
        await client.close()
        await client.connect(server.url)
        await until(lambda: not listener_up(channel))
        await until(lambda: listener_up(channel))
        await channel.publish("rooms", "hello")
        assert ["hello"] == [each.text() for each in await take(deliveries)]
        await client.close()
        await until(lambda: not listener_up(channel))
        await client.connect(server.url)
        await until(lambda: listener_up(channel))
        await channel.publish("rooms", "again")
        assert ["again"] == [each.text() for each in await take(deliveries)]
    await channel.aclose()
    await client.close()


async def test_nobody_to_connect_to_is_no_exception(node: Make, lines: Lines) -> None:
    """Publishing and subscribing go on without a server, and say so."""
    channel = node("nats://127.0.0.1:1")
    assert await channel.publish("rooms", "hello") is None
    assert await channel.publish("rooms", "hello") is None
    async with channel.subscribe("rooms"):
        assert 0 == channel.numbers.listener_up
    assert {"ok": 0, "failed": 2} == channel.numbers.published
    assert ["ws_fanout_refused", "ws_fanout_down"] == lines()


async def test_raises_gives_the_reason(node: Make) -> None:
    """With ``raises=True`` the caller gets what is wrong, not that no server is left."""
    with pytest.raises(ConnectionError, match="NATS is not connected: ConnectionRefusedError"):
        await node("127.0.0.1:1", raises=True).publish("rooms", "hello")


async def test_message_that_is_too_large_harms_nobody(server: NatsServer, node: Make) -> None:
    """With its headers it is larger than the server takes, which would close the connection."""
    async with application(server.url) as client:
        channel = node(client, raises=True)
        with pytest.raises(ValueError, match="with headers; the server takes 1048576"):
            await channel.publish("rooms", "x" * (2**20 - 100))
        await channel.publish("rooms", "x" * (2**20 - 400))
        await client.flush()
        assert client.is_connected
        await channel.aclose()


@pytest.mark.parametrize(
    "topic", ["", "a b", "a..b", ".a", "rooms.*", "rooms.>", "a\r\nPUB b 0", "x" * 1001]
)
async def test_topic_that_is_none_is_not_published(
    server: NatsServer, node: Make, topic: str
) -> None:
    """It is counted as failed, and no command of its own gets to the server."""
    channel = node(server.url)
    assert await channel.publish(topic, "hello") is None
    assert {"ok": 0, "failed": 1} == channel.numbers.published


@pytest.mark.parametrize("subject", ["", "a b", "a..b", "a.>.b", "a*", "a.>b", "a\nb", "x" * 1001])
async def test_subject_that_is_none_is_refused_at_once(node: Make, subject: str) -> None:
    """Before anything loops over it."""
    channel = node("nats://127.0.0.1:1")
    with pytest.raises(SettingsError, match="accepted: a NATS subject"):
        channel.subscribe(subject)
    with pytest.raises(SettingsError, match="accepted: a NATS subject"):
        channel.subscribe(patterns=[subject])


@pytest.mark.parametrize(
    "given",
    [
        *(7, None, b"nats://localhost", [7], [], "", "http://localhost", "nats://"),
        *("nats://localhost:port", "nats://localhost:0", ["nats://a", "ws://b"], "nats://a,"),
    ],
)
def test_address_that_is_none_is_refused(given: Any, registry: CollectorRegistry) -> None:
    """When the channel is made."""
    with pytest.raises(SettingsError, match=r"^nats: got .*; accepted: a nats.aio.client.Client"):
        NatsChannel(given, registry=registry)


def test_password_is_not_in_the_error(registry: CollectorRegistry) -> None:
    """An address that is wrong may have one all the same."""
    with pytest.raises(SettingsError) as found:
        NatsChannel("http://me:secret@localhost", registry=registry)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize("given", ["{}", "127.0.0.1:1, {}", ["127.0.0.1:1", "{}"]])
async def test_one_address_of_several_is_enough(
    server: NatsServer, node: Make, given: str | list[str]
) -> None:
    """With a scheme or without one; those that do not answer are passed over."""
    here = f"127.0.0.1:{server.port}"
    urls = [each.format(here) for each in given] if isinstance(given, list) else given.format(here)
    channel = node(urls)
    await channel.publish("rooms", "hello")
    assert {"ok": 1, "failed": 0} == channel.numbers.published


async def test_what_the_server_forbids_is_told(
    node: Make, tmp_path: Path, lines: Lines, registry: CollectorRegistry
) -> None:
    """It is in the log and among the errors of the monitoring; what is allowed goes on."""
    config = permissions(tmp_path / "nats.conf", "rooms.>", "_INBOX.>")
    with nats_server("-c", str(config)) as server:
        channel = node(server.url.replace("//", "//somebody:something@"))
        async with channel.subscribe("rooms.1", "secrets") as deliveries:
            await channel.publish("secrets", "hello")
            await channel.publish("rooms.1", "hello")
            assert ["rooms.1"] == [each.topic for each in await take(deliveries)]
        await channel.aclose()
    assert 2 == sample(registry, "ws_observe_errors_total", part="fanout")
    assert 1 == len([line for line in lines() if "what the server forbids" in line])


async def test_client_that_does_not_come_back_is_replaced(
    server: NatsServer, node: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py gives up for good on an error that it does not expect, and says nothing."""
    channel = node(server.url)
    await channel.publish("rooms", "hello")
    stuck = client_in(channel)
    stuck._status = Client.RECONNECTING
    assert await channel.publish("rooms", "hello") is None
    assert {"ok": 1, "failed": 1} == channel.numbers.published
    monkeypatch.setattr(nats_client, "_GRACE", 0.0)
    await channel.publish("rooms", "hello")
    assert {"ok": 2, "failed": 1} == channel.numbers.published
    assert stuck.is_closed


async def test_publishing_that_waits_ends_with_the_connection(
    server: NatsServer, node: Make
) -> None:
    """A server that reads nothing and goes away: what waits has failed, at once."""
    channel = node(server.url, timeout=60)
    await channel.publish("rooms", "hello")
    client = client_in(channel)
    await client.flush()
    client._pending_data_size = 2**30
    waiting = asyncio.create_task(channel.publish("rooms", "hello"))
    # Before Python 3.11 a time limit is a task more, and its turns.
    for _ in range(10):
        await asyncio.sleep(0)
    await client.close()
    assert await asyncio.wait_for(waiting, 10) is None
    assert {"ok": 1, "failed": 1} == channel.numbers.published


async def test_what_is_not_subscribed_can_be_left(server: NatsServer, node: Make) -> None:
    """A subscription may end before the server was ever reached."""
    await broker_of(node(server.url)).unsubscribe([Name("rooms")])


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it."""
    monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    spec = importlib.util.find_spec(nats_client.__name__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(MissingExtraError, match=r"nats-py is .* 'asgi-ws-observe\[nats\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
