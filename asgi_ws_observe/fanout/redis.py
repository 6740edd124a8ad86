"""Redis as the bus between nodes; needs the extra ``redis``.

from asgi_ws_observe.fanout.redis import RedisChannel

channel = RedisChannel("redis://localhost:6379")
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry

from ..exceptions import SettingsError
from ..options import Choice, Number
from .arguments import checked
from .channel import FanoutChannel
from .redis_client import RedisClient, encoded
from .redis_pubsub import PubSubBroker
from .redis_streams import Position, StreamsBroker
from .subscription import Subscription

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .settings import ChannelOptions

__all__ = ["RedisChannel"]


class RedisChannel(FanoutChannel):
    """Publishes to Redis and delivers what comes from it.

    It makes connections of its own beside the client's pool, with the client's settings: one to
    publish and one to listen, in a cluster one to publish to each server and, sharded or with
    streams, to listen to each server or slot. A client that is given stays open.

    Args:
        redis: The application's own `redis.asyncio.Redis` (of a single server or Sentinel's) or
            `redis.asyncio.RedisCluster`, or a URL such as ``redis://localhost:6379``.
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
        **settings: Unpack[ChannelOptions],
    ) -> None:
        mode = checked("mode", Choice("pubsub", "sharded", "streams"), mode)
        maxlen = checked("maxlen", Number(1), maxlen)
        client = RedisClient(redis)
        self._streams = StreamsBroker(client, maxlen) if mode == "streams" else None
        super().__init__(
            self._streams or PubSubBroker(client, mode == "sharded"),
            registry=registry,
            tracer_provider=tracer_provider,
            **settings,
        )

    def subscribe(
        self, *topics: str, patterns: Iterable[str] = (), after: str | None = None
    ) -> Subscription:
        """Return deliveries: ``async with channel.subscribe(topic) as deliveries:``.

        Args:
            topics: What to listen to.
            patterns: The same, in the notation of ``PSUBSCRIBE``; in the mode ``pubsub`` only.
            after: The `Delivery.id` of what was handled last, to begin with what came after it:
                so a node that was restarted misses nothing that Redis still keeps. In the mode
                ``streams`` only, and for topics that this channel does not listen to yet. Default:
                what comes from now on.

        Raises:
            SettingsError: Nothing is given, a topic is no text, or a pattern or ``after`` is given
                where there are none.
        """
        patterns = list(patterns)
        for name in (*topics, *patterns):
            try:
                encoded(name)
            except (UnicodeError, AttributeError):
                raise SettingsError(f"subscribe: got {name!r}; accepted: texts") from None
        if after is not None:
            self._resume(topics, after)
        return super().subscribe(*topics, patterns=patterns)

    def _resume(self, topics: tuple[str, ...], after: str) -> None:
        if self._streams is None:
            raise SettingsError("after: accepted: in the mode streams, which keeps messages")
        heard = [name.text for name in self._heard if name.text in topics]
        if heard:
            raise SettingsError(
                f"after: got {heard[0]!r}, which this channel listens to already; accepted: other "
                "topics"
            )
        try:
            position = Position(after)
        except ValueError as error:
            raise SettingsError(f"after: {error}; accepted: a Delivery.id") from None
        self._streams.resume(topics, position)
