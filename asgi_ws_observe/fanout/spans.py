"""The spans of publishing and of delivering."""

from __future__ import annotations

from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context, set_value
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Tracer, TracerProvider

from ..labels import safe_text
from ..tracing.contexts import get_current
from ..tracing.provider import TracerSource

__all__ = ["FANOUT_ATTRIBUTES", "FanoutSpans", "inside_delivery", "inside_publish", "silently"]

#: Attribute -> what it says, on ``<system>.publish`` and ``ws.deliver``.
FANOUT_ATTRIBUTES: Final = {
    "messaging.system": "`redis`, `nats`, or what `Fanout` was given",
    "messaging.operation.name": "`publish`, `deliver`",
    "messaging.operation.type": "`send`, `process`",
    "messaging.destination.name": "the topic",
    "messaging.message.body.size": "the payload's bytes, the envelope included",
    "messaging.message.id": "the broker's own identity of the message, where it has one",
    "ws.fanout.channel": "the value of the label `channel`",
    "ws.fanout.publisher": "the process that published it; another one after every start",
    "ws.fanout.subscribers": "publish: how many nodes the broker gave it to, where it says so",
    "ws.fanout.late": "publish: the broker is away, and gets it when it is back",
    "ws.fanout.origin": "deliver: `own`, `other`",
    "ws.fanout.lag": "deliver: since it was published, seconds",
    "ws.fanout.recipients": "deliver: connections of this node that it went to",
    "error.type": "the exception's class",
}

_EMPTY: Final = Context()
# What instrumentations of client libraries look for: theirs would be a second span of the same.
_SUPPRESSED: Final = "suppress_instrumentation"


class FanoutSpans:
    """Makes the spans of one channel.

    Args:
        system: The value of ``messaging.system``.
        trace_as: What a publisher is to a delivery: its ``parent``, a ``link``; ``off`` for no
            spans at all.
        provider: Whose tracer to use; `None` for the global one, looked up for each span.
    """

    def __init__(self, system: str, trace_as: str, provider: TracerProvider | None = None) -> None:
        self._system = system
        self._links = trace_as == "link"
        self._off = trace_as == "off"
        self._source = TracerSource(provider)

    def publish(self, topic: str, label: str, publisher: str) -> Span | None:
        """Return the started span of a message that is published, `None` without an SDK."""
        tracer = self._tracer()
        if tracer is None:
            return None
        attributes = self._attributes(topic, label, "publish", "send", publisher)
        return tracer.start_span(
            f"{self._system}.publish", kind=SpanKind.PRODUCER, attributes=attributes
        )

    def deliver(
        self, topic: str, label: str, publisher: str | None, remote: SpanContext | None
    ) -> Span | None:
        """Return the started span of a delivery, `None` without an SDK.

        What is current here is no part of it: a listener was started by anybody.
        """
        tracer = self._tracer()
        if tracer is None:
            return None
        parent, links = _EMPTY, None
        if remote is not None and self._links:
            links = (Link(remote),)
        elif remote is not None:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(remote), _EMPTY)
        attributes = self._attributes(topic, label, "deliver", "process", publisher)
        return tracer.start_span("ws.deliver", parent, SpanKind.CONSUMER, attributes, links=links)

    def _tracer(self) -> Tracer | None:
        return None if self._off else self._source.find()

    def _attributes(
        self, topic: str, label: str, name: str, kind: str, publisher: str | None
    ) -> dict[str, str]:
        attributes = {
            "messaging.system": self._system,
            "messaging.operation.name": name,
            "messaging.operation.type": kind,
            "messaging.destination.name": safe_text(topic),
            "ws.fanout.channel": label,
        }
        if publisher is not None:
            attributes["ws.fanout.publisher"] = publisher
        return attributes


def inside_publish(span: Span) -> Context:
    """Return the context in which a client library sends a message."""
    return set_value(_SUPPRESSED, True, trace.set_span_in_context(span, get_current()))


def inside_delivery(span: Span) -> Context:
    """Return the context in which the application handles a delivery."""
    return trace.set_span_in_context(span, _EMPTY)


def silently() -> Context:
    """Return the context of what a listener does for itself: nobody's, and not instrumented."""
    return set_value(_SUPPRESSED, True, _EMPTY)
