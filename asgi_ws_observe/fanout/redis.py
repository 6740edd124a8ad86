"""Redis as the bus between nodes; needs the extra ``redis``.

from asgi_ws_observe.fanout.redis import RedisChannel

channel = RedisChannel("redis://localhost:6379")
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry

from ..exceptions import SettingsError
from .channel import FanoutChannel
from .redis_client import RedisClient
from .redis_pubsub import PubSubBroker
from .redis_streams import StreamsBroker

__all__ = ["RedisChannel"]

_MODES: Final = ("pubsub", "sharded", "streams")


class RedisChannel(FanoutChannel):
    """Publishes to Redis and delivers what comes from it.

    Args:
        redis: The application's own `redis.asyncio.Redis` (of a single server or Sentinel's) or
            `redis.asyncio.RedisCluster`, or a URL such as ``redis://localhost:6379``. Listening
            takes one connection of its own beside the client's pool; a client that is given stays
            open.
        mode: ``pubsub``: at most once, what is published while a node is away is lost and counted.
            ``sharded``: the same by ``SPUBLISH``, for clusters of Redis 7. ``streams``: every node
            reads every entry, after an outage from where it was, and what Redis could not take is
            kept and sent when it is back.
        maxlen: About how many entries a stream keeps.
        registry: Whose metrics. Default: prometheus_client's own.
        tracer_provider: Whose spans. Default: the global one.
        settings: Of `ChannelSettings`, such as ``name``, ``label``, ``probe_interval``.

    Raises:
        SettingsError: A value is not accepted.
        MissingExtraError: When this module is imported and redis is not installed.
    """

    def __init__(
        self,
        redis: Any,
        *,
        mode: str = "pubsub",
        maxlen: int = 10_000,
        registry: CollectorRegistry | None = None,
        tracer_provider: TracerProvider | None = None,
        **settings: Any,
    ) -> None:
        if mode not in _MODES:
            raise SettingsError(f"mode: got {mode!r}; accepted: one of {', '.join(_MODES)}")
        if isinstance(maxlen, bool) or not isinstance(maxlen, int) or maxlen < 1:
            raise SettingsError(f"maxlen: got {maxlen!r}; accepted: a whole number, 1 or more")
        client = RedisClient(redis)
        broker: PubSubBroker | StreamsBroker = (
            StreamsBroker(client, maxlen)
            if mode == "streams"
            else PubSubBroker(client, mode == "sharded")
        )
        super().__init__(broker, registry=registry, tracer_provider=tracer_provider, **settings)
