"""What the tests of channels over NATS share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
import pytest_asyncio
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from asgi_ws_observe.fanout.channel import FanoutChannel
from asgi_ws_observe.fanout.delivery import Delivery
from asgi_ws_observe.fanout.nats import NatsBroker, NatsChannel
from asgi_ws_observe.fanout.subscription import Subscription
from tests.fanout.brokers import NatsServer, nats_server
from tests.fanout.test_channel import take as take_all
from tests.support import Spans

Make = Callable[..., NatsChannel]
Lines = Callable[[], list[str]]


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """A server that nothing happens to."""
    with nats_server() as found:
        yield found


@pytest.fixture
def mortal() -> Iterator[NatsServer]:
    """A server of the test's own."""
    with nats_server() as found:
        yield found


@pytest_asyncio.fixture
async def node(registry: CollectorRegistry, spans: Spans) -> AsyncIterator[Make]:
    """Return what makes channels of little patience; in the end nothing of them is left."""
    before = asyncio.all_tasks()
    made: list[NatsChannel] = []

    def channel(given: Any, **settings: Any) -> NatsChannel:
        usual = {"probe_interval": None, "timeout": 1.0, "silence": 0.3, "backoff": 0.1}
        arguments: dict[str, Any] = {"registry": registry, "tracer_provider": spans.provider}
        made.append(NatsChannel(given, **arguments | usual | settings))
        return made[-1]

    yield channel
    for each in made:
        await each.aclose()
    assert set() == {each for each in asyncio.all_tasks() - before if "ws_fanout" in str(each)}


@asynccontextmanager
async def application(url: str) -> AsyncIterator[Client]:
    """Yield a client of the application's own, which is quiet."""

    async def ignore(_: Exception) -> None:
        pass

    client = await nats.connect(url, error_cb=ignore, reconnect_time_wait=0.05)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture(params=["own", "given"])
def client_of(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Return what makes what a channel is given: an address, and then the application's client."""

    @asynccontextmanager
    async def address(url: str) -> AsyncIterator[Any]:
        yield url

    return address if request.param == "own" else application


async def take(deliveries: Subscription, number: int = 1) -> list[Delivery]:
    """Return the next deliveries, which come soon."""
    return await asyncio.wait_for(take_all(deliveries, number), 10)


def listener_up(channel: FanoutChannel) -> bool:
    """Return whether the metric says that a channel's listener has its subscriptions."""
    return channel.numbers.listener_up == 1


def probed(channel: FanoutChannel) -> bool:
    """Return whether probes of a channel came back."""
    return sum(channel.numbers.lag["probe"].counts) >= 2


def broker_of(channel: FanoutChannel) -> NatsBroker:
    """Return the broker of a channel over NATS."""
    found = channel._broker
    assert isinstance(found, NatsBroker)
    return found


def client_in(channel: FanoutChannel) -> Client:
    """Return the client that a channel uses now."""
    found = broker_of(channel)._nats._client
    assert found is not None
    return found
