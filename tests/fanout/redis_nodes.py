"""Nodes that meet over Redis: a channel each, with its own metrics and spans."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from prometheus_client import CollectorRegistry

from asgi_ws_observe.fanout.delivery import Delivery
from asgi_ws_observe.fanout.redis import RedisChannel
from asgi_ws_observe.fanout.subscription import Subscription
from tests.support import Spans, total

__all__ = ["MODES", "Node", "Nodes", "bodies", "taken"]

MODES: Final = ("pubsub", "sharded", "streams")
#: Little patience, so that tests are short.
SETTINGS: Final[dict[str, Any]] = {
    "silence": 0.3,
    "timeout": 1.0,
    "backoff": 0.3,
    "probe_interval": 0.2,
}


class Node:
    """One process's channel.

    Attributes:
        channel: The channel.
        spans: What it exported.
    """

    def __init__(self, redis: Any, **settings: Any) -> None:
        self._registry = CollectorRegistry()
        self.spans = Spans()
        self.channel = RedisChannel(
            redis,
            registry=self._registry,
            tracer_provider=self.spans.provider,
            **{**SETTINGS, **settings},
        )

    def number(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of ``ws_fanout_...`` that have these labels."""
        return total(self._registry, f"ws_fanout_{name}", **labels)

    def dropped(self, reason: str) -> float:
        """Return how many messages were dropped for a reason."""
        return total(self._registry, "ws_messages_dropped_total", reason=reason)

    @property
    def is_up(self) -> bool:
        """Whether the listener has all its subscriptions."""
        return self.number("listener_up") == 1


class Nodes:
    """Makes nodes, and closes them when the block ends; nothing is left of them then.

    Args:
        redis: What a channel is given where a test says nothing else.
    """

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._made: list[Node] = []

    def __call__(self, redis: Any = None, **settings: Any) -> Node:
        self._made.append(Node(redis or self._redis, **settings))
        return self._made[-1]

    async def __aenter__(self) -> Nodes:
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self._made:
            await node.channel.aclose()
        left = [each.get_name() for each in asyncio.all_tasks()]
        assert [] == [name for name in left if name.startswith("ws_fanout")]


async def taken(deliveries: Subscription, count: int, within: float = 10.0) -> list[Delivery]:
    """Return the next deliveries."""
    found: list[Delivery] = []

    async def take() -> None:
        async for delivery in deliveries:
            found.append(delivery)
            if len(found) == count:
                return

    await asyncio.wait_for(take(), within)
    return found


async def bodies(deliveries: Subscription, count: int, within: float = 10.0) -> list[Any]:
    """Return the bodies of the next deliveries."""
    return [delivery.body for delivery in await taken(deliveries, count, within)]
