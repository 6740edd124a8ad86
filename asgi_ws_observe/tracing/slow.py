"""For those who trace everything and want to pay for little: a filter in front of an exporter."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator
from typing import Final
from weakref import WeakSet, WeakValueDictionary

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags

from ..exceptions import MissingExtraError, SettingsError

try:
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
except ImportError as error:
    raise MissingExtraError("otlp", "opentelemetry-sdk") from error

__all__ = ["SlowMessageProcessor"]

_HOLDER: Final = "_asgi_ws_observe_place"
# A span id's lower 56 bits are compared with the ratio; ids are random.
_ID_BITS: Final = 2**56


class _Message:
    """A message that is being worked on: what its handler's spans wait for."""

    __slots__ = ("__weakref__", "_owner", "began", "failed", "kept", "spans")

    def __init__(self, owner: SlowMessageProcessor, began: int) -> None:
        self._owner = owner
        self.began = began
        self.failed = False
        self.kept: bool | None = None
        self.spans: list[ReadableSpan] = []

    def __del__(self) -> None:
        # Its span was never ended.
        self._owner.held -= len(self.spans)


class _Place:
    """Where a span stands. The span holds it, so that it is forgotten when the span is."""

    __slots__ = ("__weakref__", "is_message", "message")

    def __init__(self, message: _Message, is_message: bool) -> None:
        self.message = message
        self.is_message = is_message


class SlowMessageProcessor(SpanProcessor):
    """Passes on a message's span and all below it only if it was slow, failed or sampled.

    Spans below a message wait in memory until it ends; then all of them are passed on, as sampled,
    or none. What belongs to no message passes at once. Put it in front of the processor that
    exports, behind a sampler that records everything::

        provider = TracerProvider(sampler=AlwaysRecordSampler(ParentBased(TraceIdRatioBased(0.01))))
        provider.add_span_processor(SlowMessageProcessor(BatchSpanProcessor(exporter)))

    and set `Settings.message_spans` to ``all``.

    Args:
        processor: What gets the spans that are kept.
        slow_seconds: A message that takes this long is kept, seconds.
        head_ratio: The share of messages that is kept whatever becomes of them, 0.0 to 1.0, where
            the sampler samples everything. `None`: those that the sampler chose.
        max_spans: How many spans wait at most. Those above are dropped, and counted; a message's
            own span never waits.
        max_spans_per_message: The same for one message, which may never end.

    Attributes:
        dropped: How many spans were dropped since they would have been too many.
        held: How many wait.

    Raises:
        SettingsError: An argument is out of its range.
    """

    def __init__(
        self,
        processor: SpanProcessor,
        *,
        slow_seconds: float = 1.0,
        head_ratio: float | None = None,
        max_spans: int = 10_000,
        max_spans_per_message: int = 1_000,
    ) -> None:
        for name, value, most in (
            ("slow_seconds", slow_seconds, float("inf")),
            ("head_ratio", 0.0 if head_ratio is None else head_ratio, 1.0),
            ("max_spans", max_spans, float("inf")),
            ("max_spans_per_message", max_spans_per_message, float("inf")),
        ):
            if not 0 <= value <= most:
                raise SettingsError(
                    f"SlowMessageProcessor.{name}: got {value!r}; accepted: a number, 0 or more"
                    + (f", {most:g} at most" if most == 1 else "")
                )
        self.dropped = self.held = 0
        self._next = processor
        self._slow = slow_seconds * 1e9
        self._head = None if head_ratio is None else head_ratio * _ID_BITS
        self._most = max_spans
        self._most_each = max_spans_per_message
        # Spans end in any thread, and a `_Message` may be forgotten while the lock is held.
        self._lock = threading.RLock()
        self._places: WeakValueDictionary[int, _Place] = WeakValueDictionary()
        self._messages: WeakSet[_Message] = WeakSet()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note where a span stands."""
        with self._lock:
            place = None
            if _is_message(span):
                message = _Message(self, span.start_time or 0)
                self._messages.add(message)
                place = _Place(message, True)
            elif span.parent is not None:
                above = self._places.get(span.parent.span_id)
                place = None if above is None else _Place(above.message, False)
            if place is not None:
                setattr(span, _HOLDER, place)
                self._places[span.get_span_context().span_id] = place
        self._next.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass a span on, keep it waiting, or drop it."""
        with self._lock:
            passed = list(self._due(span))
        for each in passed:
            self._next.on_end(each)

    def _due(self, span: ReadableSpan) -> Iterator[ReadableSpan]:
        identity = span.context
        place = None if identity is None else self._places.get(identity.span_id)
        if identity is None or place is None:
            yield span
            return
        message = place.message
        message.failed = message.failed or span.status.status_code is StatusCode.ERROR
        if place.is_message:
            took = (span.end_time or 0) - message.began
            sampled = self._is_sampled(identity)
            message.kept = sampled or message.failed or took >= self._slow
            waiting = self._released(message)
            if message.kept:
                yield from map(_as_sampled, waiting)
        if message.kept:
            yield _as_sampled(span)
        elif message.kept is None:
            self._hold(message, span)

    def _is_sampled(self, identity: SpanContext) -> bool:
        if self._head is None:
            return identity.trace_flags.sampled
        return identity.span_id % _ID_BITS < self._head

    def _hold(self, message: _Message, span: ReadableSpan) -> None:
        if self.held >= self._most or len(message.spans) >= self._most_each:
            self.dropped += 1
            return
        message.spans.append(span)
        self.held += 1

    def _released(self, message: _Message) -> list[ReadableSpan]:
        spans, message.spans = message.spans, []
        self.held -= len(spans)
        return spans

    def shutdown(self) -> None:
        """Pass on what waits for messages that are slow already, and shut down."""
        now = time.time_ns()
        with self._lock:
            slow = [each for each in self._messages if now - each.began >= self._slow]
            passed = [_as_sampled(span) for each in slow for span in self._released(each)]
        for each in passed:
            self._next.on_end(each)
        self._next.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the processor behind; what waits for the end of its message goes on waiting."""
        return self._next.force_flush(timeout_millis)


def _is_message(span: Span) -> bool:
    scope = span.instrumentation_scope
    return (
        span.kind is SpanKind.CONSUMER
        and scope is not None
        and scope.name == "asgi_ws_observe"
        and span.name.startswith("ws.message")
    )


def _as_sampled(span: ReadableSpan) -> ReadableSpan:
    """Return a span that exporting processors take, which leave out what was only recorded."""
    identity = span.context
    if identity is None or identity.trace_flags.sampled:
        return span
    flags = TraceFlags(identity.trace_flags | TraceFlags.SAMPLED)
    sampled = copy.copy(span)
    sampled._context = SpanContext(
        identity.trace_id, identity.span_id, identity.is_remote, flags, identity.trace_state
    )
    return sampled
