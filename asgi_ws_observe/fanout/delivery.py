"""One message that has arrived on this node."""

from __future__ import annotations

import time
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import Span

from ..tracing.contexts import attach, get_current
from ..tracing.messages import fail
from .envelope import Envelope
from .spans import inside_delivery

if TYPE_CHECKING:
    from .core import Fanout

__all__ = ["Delivery"]


class Delivery:
    """One message that has arrived on this node; as a context manager, the span ``ws.deliver``.

    Attributes:
        topic: What it was published to.
        body: As it was published: JSON, text or bytes. Bytes where a publisher without this
            library sent it; `json` and `text` work for all.
        envelope: What came with it.
        recipients: To be set to how many local connections it went to.
        lag: From publishing to the application taking it, seconds; `None` where the publisher did
            not say when.
        origin: ``own`` where this process published it, else ``other``.
        id: The broker's own identity of it, where it has one.
    """

    __slots__ = (
        *("_fanout", "_previous", "_span", "envelope", "id", "lag", "origin", "recipients"),
        "topic",
    )

    def __init__(
        self, fanout: Fanout, topic: str, envelope: Envelope, identity: str | None = None
    ) -> None:
        self._fanout = fanout
        self.topic = topic
        self.envelope = envelope
        self.id = identity
        self.recipients: int | None = None
        self.lag: float | None = None
        self.origin = "other"
        self._span: Span | None = None
        self._previous: Context | None = None

    @property
    def body(self) -> Any:
        """As it was published: JSON, text or bytes."""
        return self.envelope.body

    def json(self) -> Any:
        """Return the body as JSON, parsed where a publisher sent it as text.

        Raises:
            ValueError: It is none.
        """
        return self.envelope.json()

    def text(self) -> str:
        """Return the body as text: JSON where it is no text itself.

        Raises:
            ValueError: It is bytes that are no UTF-8.
        """
        return self.envelope.text()

    def arrived(self, probe: bool = False) -> None:
        """Count the delivery and its lag: the application takes it now.

        Args:
            probe: Whether it is a channel's own probe, which no application takes.
        """
        envelope, numbers = self.envelope, self._fanout.numbers_of(self.topic)
        own = envelope.publisher is not None and self._fanout.counters.is_own(envelope.publisher)
        self.origin = "own" if own else "other"
        if own and envelope.clock is not None:
            # By the clock that both were read from: no machine's clock is in it.
            self.lag = max(0.0, perf_counter() - envelope.clock)
        elif envelope.time is not None:
            self.lag = max(0.0, time.time() - envelope.time)
        if probe:
            numbers = self._fanout.numbers
        else:
            numbers.delivered += 1
        if self.lag is not None:
            numbers.lag["probe" if probe else self.origin].observe(self.lag)

    def __enter__(self) -> Delivery:
        fanout, envelope = self._fanout, self.envelope
        label = fanout.numbers_of(self.topic).label
        span = fanout.spans.deliver(self.topic, label, envelope.publisher, envelope.context)
        if span is not None:
            self._previous = get_current()
            attach(inside_delivery(span))
            if span.is_recording():
                self._describe(span)
            self._span = span
        return self

    def _describe(self, span: Span) -> None:
        span.set_attribute("messaging.message.body.size", len(self.envelope.raw))
        span.set_attribute("ws.fanout.origin", self.origin)
        if self.lag is not None:
            span.set_attribute("ws.fanout.lag", self.lag)
        if self.id is not None:
            span.set_attribute("messaging.message.id", self.id)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.recipients is not None:
            self._fanout.numbers_of(self.topic).recipients.observe(self.recipients)
        span, self._span = self._span, None
        if span is not None:
            attach(self._previous or Context())
            if self.recipients is not None:
                span.set_attribute("ws.fanout.recipients", self.recipients)
            if isinstance(error, Exception):
                fail(span, error)
            span.end()
