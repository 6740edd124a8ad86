"""What the tests of channels share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from asgi_ws_observe.fanout import Broadcast, Hub
from asgi_ws_observe.fanout.channel import FanoutChannel
from tests.fanout.memory import Bus, MemoryBroker
from tests.support import Spans, counted

#: Makes a channel on the test's bus; it is closed when the test is over.
Make = Callable[..., FanoutChannel]
#: Makes a hub; likewise.
MakeHub = Callable[..., Hub]


def dropped(registry: CollectorRegistry) -> dict[str, float]:
    """Return how many messages were dropped, by reason."""
    return counted(registry, "ws_messages_dropped_total", "reason")


async def wait(broadcast: Broadcast) -> Broadcast:
    """Wait for a broadcast, as a coroutine."""
    return await broadcast


@pytest.fixture
def bus() -> Bus:
    """Return a new bus."""
    return Bus()


@pytest_asyncio.fixture
async def make(bus: Bus, registry: CollectorRegistry, spans: Spans) -> AsyncIterator[Make]:
    """Return what makes channels that have no probes and little patience."""
    made: list[FanoutChannel] = []

    def channel(*, keeps: bool = False, **settings: Any) -> FanoutChannel:
        usual = {"probe_interval": None, "timeout": 1.0, "backoff": 0.05}
        arguments: dict[str, Any] = {
            "registry": registry,
            "tracer_provider": spans.provider,
            **usual,
            **settings,
        }
        made.append(FanoutChannel(MemoryBroker(bus, keeps=keeps), **arguments))
        return made[-1]

    yield channel
    for each in made:
        await each.aclose()
    assert [] == [each for each in asyncio.all_tasks() if each.get_name().startswith("ws_fanout")]


@pytest_asyncio.fixture
async def make_hub(registry: CollectorRegistry) -> AsyncIterator[MakeHub]:
    """Return what makes hubs, which are closed when the test is over."""
    made: list[Hub] = []

    def hub(**arguments: Any) -> Hub:
        made.append(Hub(registry=registry, **arguments))
        return made[-1]

    yield hub
    for each in made:
        await each.aclose(0.01)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what returns the events that were logged."""
    caplog.set_level(logging.INFO, "asgi_ws_observe")
    return lambda: [getattr(each, "event", each.getMessage()) for each in caplog.records]
