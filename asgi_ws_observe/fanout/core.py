"""What every channel does, whatever broker carries its messages."""

from __future__ import annotations

import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Span, TracerProvider
from prometheus_client import CollectorRegistry

from ..fanout_numbers import FanoutNumbers
from ..metrics.prometheus import numbers_of
from ..tracing.contexts import attach, get_current
from ..tracing.messages import fail
from .delivery import Delivery
from .envelope import inject, inject_headers, parse
from .settings import ChannelSettings
from .spans import FanoutSpans, inside_publish

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .settings import ChannelOptions

__all__ = ["Counters", "Fanout", "Publishing", "extract"]

#: Topics whose sequence, and whose label, a process remembers.
MAX_TOPICS: Final = 10_000


class Counters:
    """Numbers what one process publishes, by topic."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._id = secrets.token_hex(8)
        self._forgotten = 0
        self._topics: OrderedDict[str, tuple[str, int]] = OrderedDict()

    @property
    def id(self) -> str:
        """Names this process; another one after every start, and in a forked child."""
        if self._process != os.getpid():
            # Two that count under one name would take each other's messages for repetitions.
            self._begin()
        return self._id

    def next(self, topic: str) -> tuple[str, int]:
        """Return the publisher and the sequence number of a topic's next message.

        A topic that was forgotten begins again at 1, and so as another publisher.
        """
        name = self.id
        publisher, last = self._topics.get(topic) or (self._name(name), 0)
        self._topics[topic] = found = (publisher, last + 1)
        self._topics.move_to_end(topic)
        if len(self._topics) > MAX_TOPICS:
            self._topics.popitem(last=False)
            self._forgotten += 1
        return found

    def is_own(self, publisher: str) -> bool:
        """Return whether it was this process."""
        return publisher.partition(".")[0] == self.id

    def _name(self, name: str) -> str:
        return f"{name}.{self._forgotten}" if self._forgotten else name


class Fanout:
    """Publishing and delivering over a broker that the application's own code talks to.

    For Kafka, RabbitMQ and whatever else: what is sent goes through `publishing`, what arrives
    through `delivery`. The channels of Redis and NATS are built on it.

    Args:
        system: OpenTelemetry's ``messaging.system``, such as ``kafka``.
        name: The value of the label ``channel``. Default: the system.
        label: Makes a topic's value of that label instead, such as ``room:{id}`` of ``room:17``.
        trace: What a publisher is to a delivery's span: its ``parent``, a ``link``; ``off`` for no
            spans.
        key: Wraps every body under this key; see `inject`.
        registry: Whose metrics. Default: prometheus_client's own.
        tracer_provider: Whose spans. Default: the global one.

    Raises:
        SettingsError: A value is not accepted.
    """

    def __init__(
        self,
        system: str,
        *,
        registry: CollectorRegistry | None = None,
        tracer_provider: TracerProvider | None = None,
        **settings: Unpack[ChannelOptions],
    ) -> None:
        given: dict[str, Any] = {"name": system, **settings}
        self.settings: Final = ChannelSettings(**given)
        self.counters: Final = Counters()
        self.spans: Final = FanoutSpans(system, self.settings.trace, tracer_provider)
        found = numbers_of(registry)
        self.store: Final = found.store
        self.errors: Final = found.errors
        self.numbers: Final = self.store.channel(self.settings.name)
        self._by_topic: dict[str, FanoutNumbers] = {}

    def publishing(self, topic: str, body: Any, *, headers: bool = True) -> Publishing:
        """Return what sends one message: ``with fanout.publishing(topic, body) as message: ...``.

        Args:
            topic: Where to; on the span, never a label.
            body: What: JSON, text or bytes.
            headers: Whether the broker carries headers: then `Publishing.payload` is the body
                alone, else the headers are in it.
        """
        return Publishing(self, topic, body, headers)

    def delivery(self, topic: str, payload: bytes | str, *, headers: Any = None) -> Delivery:
        """Return what has arrived, for ``with fanout.delivery(topic, payload) as delivery: ...``.

        Counts it as delivered.

        Args:
            topic: Where it was published.
            payload: As the broker handed it over, an envelope or not.
            headers: What came beside it: a mapping, or pairs, of text or bytes.
        """
        found = Delivery(self, topic, parse(payload, headers=headers))
        found.arrived()
        return found

    def numbers_of(self, topic: str) -> FanoutNumbers:
        """Return the numbers of a topic's label."""
        label = self.settings.label
        if label is None:
            return self.numbers
        numbers = self._by_topic.get(topic)
        if numbers is None:
            if len(self._by_topic) >= MAX_TOPICS:
                self._by_topic.clear()
            self._by_topic[topic] = numbers = self._labelled(topic, label)
        return numbers

    def _labelled(self, topic: str, label: Any) -> FanoutNumbers:
        try:
            return self.store.channel(str(label(topic)))
        except Exception as error:  # noqa: BLE001
            self.errors.report("fanout", error, label, "its topics count as the channel's")
            return self.numbers


class Publishing:
    """One message on its way to the broker; a context manager around the call that sends it.

    Attributes:
        payload: What to send, bytes.
        headers: What to send beside it; empty where the payload carries all.
        subscribers: To be set to how many subscribers the broker gave it to, where it says so.
        ready: Whether there is something to send: the body was one that can be.
        late: To be set where it was neither taken nor refused, and is tried again later.
    """

    __slots__ = (
        *("_fanout", "_numbers", "_previous", "_span", "_started", "_with_headers"),
        *("body", "headers", "late", "payload", "ready", "subscribers", "topic"),
    )

    def __init__(self, fanout: Fanout, topic: str, body: Any, with_headers: bool) -> None:
        self._fanout = fanout
        self._with_headers = with_headers
        self.topic = topic
        self.body = body
        self.payload = b""
        self.headers: Mapping[str, str] = {}
        self.subscribers: int | None = None
        self.late = self.ready = False

    def __enter__(self) -> Publishing:
        fanout = self._fanout
        # What is done here is part of the way.
        self._started, now = perf_counter(), time.time()
        self._numbers = fanout.numbers_of(self.topic)
        publisher, sequence = fanout.counters.next(self.topic)
        self._span = span = fanout.spans.publish(self.topic, self._numbers.label, publisher)
        self._previous = get_current()
        if span is not None:
            attach(inside_publish(span))
        try:
            self._write(publisher, sequence, now)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        self.ready = True
        if span is not None:
            span.set_attribute("messaging.message.body.size", len(self.payload))
        return self

    def _write(self, publisher: str, sequence: int, now: float) -> None:
        mark: dict[str, Any] = {
            "publisher": publisher,
            "sequence": sequence,
            "time": now,
            "clock": self._started,
        }
        if self._with_headers:
            self.payload, self.headers = inject_headers(self.body, **mark)
        else:
            self.payload = inject(self.body, key=self._fanout.settings.key, **mark)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        span: Span | None = self._span
        self._numbers.publish.observe(perf_counter() - self._started)
        if not self.late:
            self._numbers.published["ok" if error is None else "failed"] += 1
        if span is not None:
            attach(self._previous)
            if self.subscribers is not None:
                span.set_attribute("ws.fanout.subscribers", self.subscribers)
            if self.late:
                span.set_attribute("ws.fanout.late", True)
            if error is not None:
                fail(span, error)
            span.end()


@cache
def _usual() -> Fanout:
    return Fanout("fanout")


def extract(
    payload: bytes | str, *, headers: Any = None, topic: str = "", fanout: Fanout | None = None
) -> Delivery:
    """Return what has arrived, for ``with extract(payload) as delivery: ...``; it never raises.

    The other end of `inject`, for a broker that the application's own code talks to. Counts a
    delivery, and a payload that is no envelope is one as it is.

    Args:
        payload: As the broker handed it over.
        headers: What came beside it: a mapping, or pairs, of text or bytes.
        topic: Where it was published, for the span.
        fanout: Whose numbers and spans. Default: one named ``fanout``, of prometheus_client's own
            registry.
    """
    return (fanout or _usual()).delivery(topic, payload, headers=headers)
