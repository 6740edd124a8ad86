"""A channel: publish on one node, deliver on all others, and know when that stops working."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry

from ..exceptions import SettingsError
from ..labels import safe_text
from ..logs import write_line
from ..timers import Timer
from .broker import Broker, Name, Received
from .core import Fanout, Publishing
from .delivery import Delivery
from .envelope import inject, parse
from .listener import Listener, State
from .outbox import Kept, Outbox
from .probes import Probes
from .sequences import Sequences
from .subscription import Subscription
from .tasks import within

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .settings import ChannelOptions

__all__ = ["PROBE_TOPIC", "FanoutChannel"]

logger = logging.getLogger("asgi_ws_observe.fanout")

#: What a channel's probe is published to; the process's identity follows.
PROBE_TOPIC: Final = "ws-probe:"
#: How often losses are settled, seconds.
_TICK: Final = 1.0
#: What a float, and so the exposition, holds exactly: anybody can claim any number.
_MOST_LOST: Final = 2**53


@dataclass(slots=True)
class _Heard:
    """Who listens to one name, and what came by it."""

    sequences: Sequences
    subscriptions: list[Subscription] = field(default_factory=list)


class FanoutChannel(Fanout):
    """Publishes to a broker and delivers what comes from it; see `RedisChannel`, `NatsChannel`.

    It belongs to one event loop. `publish` works at once; the first subscription starts the
    listener, which comes back by itself whatever happens to the broker.

    Args:
        broker: The broker.
        registry: Whose metrics. Default: prometheus_client's own.
        tracer_provider: Whose spans. Default: the global one.
        settings: Of `ChannelSettings`.

    Raises:
        SettingsError: A value is not accepted.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        registry: CollectorRegistry | None = None,
        tracer_provider: TracerProvider | None = None,
        **settings: Unpack[ChannelOptions],
    ) -> None:
        super().__init__(
            broker.system, registry=registry, tracer_provider=tracer_provider, **settings
        )
        self._broker = broker
        self._heard: dict[Name, _Heard] = {}
        self._listener = Listener(broker, self.settings, self._take, self._up, self._down)
        self._timer = Timer(self.errors, "losses are counted no more")
        self._outbox: Outbox | None = None
        if broker.keeps:
            self._outbox = Outbox(
                self._send,
                self.settings.outbox,
                self.settings.backoff,
                self.numbers,
                broker.refuses,
            )
        self._probes: Probes | None = None
        if (interval := self.settings.probe_interval) is not None:
            self._probes = Probes(interval, self._send_probe, self._listener.restart, self.numbers)
        self._probe = Name(PROBE_TOPIC)
        self._down_since: float | None = None
        self._was_up = False
        self._refused: type[Exception] | None = None

    @property
    def state(self) -> State:
        """What the listener does: ``idle``, ``connecting``, ``listening`` or ``waiting``."""
        return self._listener.state

    async def __aenter__(self) -> FanoutChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def publish(self, topic: str, body: Any) -> int | None:
        """Publish a message, to be delivered on every node that is subscribed.

        Without ``raises=True`` a broker that fails is counted, logged, and no exception.

        Args:
            topic: Where to.
            body: JSON, text or bytes.

        Returns:
            How many subscribers the broker gave it to (nodes, not clients); `None` where it does
            not say, or has not taken it.

        Raises:
            TypeError: The body is none that can be sent.
            Exception: What the broker raised, with ``raises=True`` and a broker that does not keep
                messages, or refuses this one for good.
        """
        message = self.publishing(topic, body, headers=self._broker.has_headers)
        try:
            with message:
                await self._publish(message)
        except Exception:
            if self.settings.raises or not message.ready:
                raise
        return message.subscribers

    async def _publish(self, message: Publishing) -> None:
        numbers = self.numbers_of(message.topic)
        kept = Kept(message.topic, message.payload, message.headers, numbers)
        outbox = self._outbox
        if outbox is not None and outbox:
            message.late = True
            outbox.put(kept)
            return
        try:
            message.subscribers = await within(
                self.settings.timeout,
                self._broker.publish(message.topic, message.payload, message.headers),
            )
            self._refused = None
        except Exception as error:
            # Once for each kind in a row: a topic that is none must not hide an outage.
            if type(error) is not self._refused:
                self._refused = type(error)
                self._log(logging.ERROR, "ws_fanout_refused", error)
            if outbox is None or self._broker.refuses(error):
                raise
            message.late = True
            outbox.put(kept)

    async def _send(self, kept: Kept) -> None:
        await within(
            self.settings.timeout, self._broker.publish(kept.topic, kept.payload, kept.headers)
        )

    def subscribe(self, *topics: str, patterns: Iterable[str] = ()) -> Subscription:
        """Return deliveries: ``async with channel.subscribe(topic) as deliveries:``.

        Args:
            topics: What to listen to.
            patterns: The same, in the broker's own notation of patterns.

        Raises:
            SettingsError: Nothing is given, or a pattern to a broker that has none.
        """
        names = [Name(topic) for topic in topics]
        names += [Name(pattern, is_pattern=True) for pattern in patterns]
        if not names:
            raise SettingsError("subscribe: got nothing; accepted: topics, or patterns=[...]")
        if not self._broker.has_patterns and any(name.is_pattern for name in names):
            raise SettingsError(
                f"subscribe: got patterns, which {self._broker.system} cannot do here; "
                "accepted: topics"
            )
        return Subscription(self, tuple(dict.fromkeys(names)), self.settings.queue)

    async def begin(self, subscription: Subscription) -> None:
        """Listen for a subscription; it calls this itself."""
        for name in subscription.names:
            heard = self._heard.setdefault(name, _Heard(Sequences(self._broker.loss_seconds)))
            heard.subscriptions.append(subscription)
        self._start()
        await self._listener.add(subscription.names)

    async def finish(self, subscription: Subscription) -> None:
        """Listen no more for a subscription; it calls this itself."""
        over = []
        for name in subscription.names:
            heard = self._heard[name]
            heard.subscriptions.remove(subscription)
            if not heard.subscriptions:
                self._settle(inf, [self._heard.pop(name)])
                over.append(name)
        await self._listener.remove(over)

    async def aclose(self) -> None:
        """End all subscriptions, send what waits if that can be done in time, and let go."""
        self._timer.stop()
        if self._probes is not None:
            await self._probes.aclose()
        await self._listener.aclose()
        self._settle(inf, self._heard.values())
        for heard in self._heard.values():
            for subscription in heard.subscriptions:
                subscription.end()
        self._heard.clear()
        if self._outbox is not None:
            await self._outbox.aclose(self.settings.timeout)
        self.numbers.listener_up = None
        await self._broker.aclose()

    def _start(self) -> None:
        if self._listener.state != "idle":
            return
        self.numbers.listener_up = 0
        self._timer.start(asyncio.get_running_loop())
        self._timer.call_in(_TICK, self._tick)
        name = self.settings.name
        if self._probes is not None:
            self._probe = Name(PROBE_TOPIC + self.counters.id)
            self._heard[self._probe] = _Heard(Sequences(self._broker.loss_seconds))
            self._probes.begin()
        self._listener.start(f"ws_fanout_listener {name}", self._heard)

    # What the listener's task calls.

    def _take(self, received: Received) -> Coroutine[Any, Any, None] | None:
        heard = self._heard.get(received.name)
        if heard is None:
            return None
        envelope = parse(received.payload, headers=received.headers)
        if received.name == self._probe and self._probes is not None:
            self._probes.arrived()
            Delivery(self, received.topic, envelope).arrived(probe=True)
            return None
        if envelope.publisher is not None and envelope.sequence is not None:
            numbers = self.numbers_of(received.topic)
            now = perf_counter()
            if not heard.sequences.arrived(
                envelope.publisher, received.topic, envelope.sequence, now
            ):
                numbers.dropped["duplicate"] += 1
                return None
        # Its own one for each: a delivery is a span, and knows its recipients.
        for subscription in heard.subscriptions:
            if subscription.offer(Delivery(self, received.topic, envelope, received.id)):
                self.numbers_of(received.topic).dropped["subscription_full"] += 1
        if self._broker.keeps and any(each.is_full() for each in heard.subscriptions):
            # What the broker keeps can wait there.
            return _room(heard.subscriptions)
        return None

    def _up(self) -> None:
        self.numbers.listener_up = 1
        if self._probes is not None:
            self._probes.start(f"ws_fanout_probes {self.settings.name}")
        away = None if self._down_since is None else perf_counter() - self._down_since
        if self._was_up:
            self.numbers.reconnects += 1
        if away is not None:
            self._log(logging.WARNING, "ws_fanout_up", away=round(away, 3))
        self._was_up, self._down_since = True, None

    def _down(self, error: BaseException) -> None:
        self.numbers.listener_up = 0
        if self._down_since is None:
            self._down_since = perf_counter()
            self._log(logging.ERROR, "ws_fanout_down", error)

    def _log(
        self, level: int, event: str, error: BaseException | None = None, **fields: Any
    ) -> None:
        values = {
            "event": event,
            "node": self.store.node,
            "channel": self.settings.name,
            "system": self._broker.system,
            **fields,
        }
        if error is not None:
            values["error_type"] = type(error).__name__
            values["error_text"] = safe_text(error)
        if logger.isEnabledFor(level):
            write_line(logger, level, {k: v for k, v in values.items() if v not in (None, "")})

    # What goes on beside it.

    def _tick(self) -> None:
        self._settle(perf_counter(), self._heard.values())
        self._timer.call_in(_TICK, self._tick)

    def _settle(self, now: float, heard: Iterable[_Heard]) -> None:
        for each in heard:
            lost = self.numbers.lost + each.sequences.settle(now)
            self.numbers.lost = min(lost, _MOST_LOST)

    async def _send_probe(self) -> None:
        publisher, sequence = self.counters.next(self._probe.text)
        payload = inject(None, publisher=publisher, sequence=sequence, clock=perf_counter())
        work = self._broker.publish(self._probe.text, payload, {}, brief=True)
        await within(self.settings.timeout, work)


async def _room(subscriptions: list[Subscription]) -> None:
    for subscription in list(subscriptions):
        await subscription.room()
