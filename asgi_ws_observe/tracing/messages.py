"""Spans of messages: all of them, so many a second, or the slow and failed ones only.

A span that is due from the start is current in the handler. One of a message that only turned out
to be slow or to fail is made afterwards, with its true times.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer

from ..labels import LabelLimiter, as_text, safe_text
from ..settings import Settings
from .bucket import ALWAYS, NEVER, TokenBucket
from .carriers import Trust
from .contexts import (
    BASE,
    SPAN_KEY,
    Place,
    attach,
    base_of_current,
    get_current,
    task_of,
)
from .payload import PayloadReader
from .sampling import for_sampled_children

if TYPE_CHECKING:
    from ..connection import Connection
    from .upgrade import ConnectionTrace

__all__ = ["MAX_MESSAGE_TYPES", "Detail", "MessageSpans", "fail"]

# An exception's text, and its stack trace, which ends with the text; characters.
_MAX_ERROR: Final = 1024
_MAX_STACK: Final = 16384
_CONSUMER: Final = SpanKind.CONSUMER
# What an object may begin with, white space included: as text, and as bytes.
_STARTS: Final = (frozenset("{ \t\r\n"), (b"{", b" ", b"\t", b"\r", b"\n"))
#: Distinct values of ``ws.message.type``, ``other`` not counted.
MAX_MESSAGE_TYPES: Final = 50


class Detail:
    """What all connections of one middleware share: how many spans, and what they say.

    Attributes:
        start_span: The tracer's.
        start_child: The same for children of a sampled span of this process.
        bucket: When a span may be made from the start.
        slow: Messages that take longer are kept, seconds.
        type: Bounds the types.
        reader: Finds the types.
    """

    __slots__ = ("_rate", "bucket", "reader", "slow", "start_child", "start_span", "type")

    def __init__(self, settings: Settings) -> None:
        self.start_span: Callable[..., Span]
        self.start_child: Callable[..., Span]
        self.bucket: TokenBucket | None = {"all": ALWAYS, "slow": NEVER}.get(settings.message_spans)
        self.slow = settings.slow_message_seconds
        self.type = LabelLimiter(MAX_MESSAGE_TYPES)
        self.reader = PayloadReader(settings)
        self._rate = settings.message_span_rate

    def use(self, tracer: Tracer) -> None:
        """Make spans with this tracer from now on."""
        self.start_span = tracer.start_span
        self.start_child = for_sampled_children(tracer).start_span

    def describe(
        self, span: Span, name: str, kind: str | None, message: Mapping[str, Any], size: int
    ) -> None:
        """Say on a message's span what it is; `MessageSpans.received` has this written out."""
        self.name(span, name, kind)
        span.set_attribute("ws.message.bytes", size)
        if message.get("bytes") is not None:
            span.set_attribute("ws.message.opcode", "binary")

    def name(self, span: Span, name: str, kind: str | None) -> None:
        """Name a message's span by its type, if it has one, and bound that."""
        if kind is not None:
            bounded = self.type(kind)
            span.update_name(f"{name} {bounded}")
            span.set_attribute("ws.message.type", bounded)

    def bucket_of(self, connection: Connection) -> TokenBucket:
        """Return the bucket that counts for a connection; a process has one."""
        if self.bucket is None:
            store = connection.observation.store
            if store.span_bucket is None:
                store.span_bucket = TokenBucket(self._rate)
            self.bucket = store.span_bucket
        return self.bucket


class MessageSpans(Place):
    """The listener that makes the spans of one connection's messages.

    Attributes:
        bucket: When a span may be made from the start.
        made: How many it has made.
        error: The exception that left the application while it worked on a message.
        renew: Whether the connection's span has been followed by another one, which the handler
            does not know.
    """

    __slots__ = (
        *("_base", "_connection", "_detail", "_found_after", "_kind", "_links"),
        *("_parent", "_reads_context", "_span", "_start", "_trace", "_trust", "error", "made"),
        *("bucket", "renew", "slow"),
    )

    def __init__(
        self, connection: Connection, detail: Detail, upgrade: ConnectionTrace, trust: Trust
    ) -> None:
        super().__init__()
        self._connection = connection
        self._detail = detail
        self.bucket = detail.bucket_of(connection)
        self._trace = upgrade
        self._trust = trust.client
        self._reads_context = trust.client != "never"
        self._span: Span | None = None
        # The number of the message after which `Place` found what it keeps.
        self._found_after = -1
        self._kind: str | None = None
        self._base: Context | None = None
        self._parent: Context
        self._links: tuple[Link, ...] | None
        self._start: Callable[..., Span]
        self.slow = detail.slow
        self.made = 0
        self.error: BaseException | None = None
        self.renew = False

    def received(self, message: MutableMapping[str, Any], size: int) -> None:
        """Start the message's span and make it current for the handler, if one is due."""
        if self.renew:
            self._renew()
        connection, bucket = self._connection, self.bucket
        if bucket is not ALWAYS:
            now = connection.received_at
            if now < bucket.opens_at:
                # Kept for the case that it turns out to be slow, or fails.
                connection.skipped = message
                return
            bucket.take(now)
        if self._found_after != connection.messages_in - 1:
            # Of a message before others that were skipped.
            self.interrupted()
        data, binary = message.get("text"), False
        if data is None:
            data, binary = message.get("bytes") or b"", True
        base = self._found or base_of_current()
        self._found = None
        if base is not self._base:
            self._settle(base)
        parent, links, start = self._parent, self._links, self._start
        self._kind = None
        # Most messages that are no objects show it in their first character.
        if self._detail.reader.asks or data[:1] in _STARTS[binary]:
            parent, links = self._read(message, size)
            if parent is not self._parent:
                start = self._detail.start_span
        self._span = span = start("ws.message", parent, _CONSUMER, None, links)
        # One by one and late: attributes given at the start are copied and checked for the sampler
        # too, which makes a sampled message a tenth dearer. So does every further one.
        span.set_attribute("ws.message.bytes", size)
        if binary:
            span.set_attribute("ws.message.opcode", "binary")
        self.made += 1
        values = {**self._parent}
        values[BASE] = base
        values[SPAN_KEY] = span
        attach(context := Context(values))
        if sys.version_info < (3, 12) and not self._checked:
            self._check(context)
        self._checked = False

    def handled(self, duration: float, exemplar: bool) -> SpanContext | None:
        """End the message's span, or make that of one that was slow or failed."""
        span = self._span
        if span is None:
            message, self._connection.skipped = self._connection.skipped, None
            if message is None or (duration < self.slow and self.error is None):
                return None
            span = self._make_late(message, duration)
            return _sampled(span) if exemplar else None
        self._span = None
        self._found_after = self._connection.messages_in
        try:
            if self._kind is not None or self._connection.last_taken.type is not None:
                self._detail.name(span, "ws.message", self._type())
            span.end()
        finally:
            # Whatever a span processor does, the handler must not stay inside this message; and if
            # it has left it on its own account, it stays where it is.
            current = get_current()
            base: Any = current.get(BASE)
            if base is None:
                self._found = current
            else:
                attach(base)
                self._found = base
                if sys.version_info < (3, 12):  # pragma: no branch - always so, or never
                    # As a rule it is the same task again.
                    if self._task is not None and task_of(self._loop) is self._task:
                        self._checked = True
                    else:
                        self._check(base)
        return _sampled(span) if exemplar else None

    def fail(self, error: BaseException) -> None:
        """Take in that the application raised while it worked on a message, or between two."""
        self.error = error
        if self._span is not None:
            fail(self._span, error)

    def _make_late(self, message: MutableMapping[str, Any], duration: float) -> Span:
        ended = time.time_ns()
        size = self._connection.message.size
        base = base_of_current()
        if base is not self._base:
            self._settle(base)
        parent, links = self._read(message, size)
        began = ended - round(duration * 1e9)
        span = self._detail.start_span("ws.message", parent, _CONSUMER, None, links, began)
        self._detail.describe(span, "ws.message", self._type(), message, size)
        self.made += 1
        if self.error is not None:
            fail(span, self.error)
        span.end(ended)
        return span

    def _read(
        self, message: MutableMapping[str, Any], size: int
    ) -> tuple[Context, tuple[Link, ...] | None]:
        """Take in what a message says about itself, and return its span's parent and links."""
        self._kind, remote = self._detail.reader.read(
            message,
            size,
            carrier=self._reads_context,
            errors=self._connection.observation.errors,
        )
        if remote is None:
            return self._parent, self._links
        if self._trust == "link":
            return self._parent, (*(self._links or ()), Link(remote))
        sender = trace.NonRecordingSpan(remote)
        return trace.set_span_in_context(sender, self._parent), (Link(self._trace.identity),)

    def _type(self) -> str | None:
        """Return the message's type: what the application set, else what the message says."""
        kind = self._connection.message_type or self._kind
        return None if kind is None else str(kind)

    def _settle(self, base: Context) -> None:
        """Find the parent for messages that are received where this context is current.

        A span of the application's around its loop stays what it is, the parent of the messages.
        """
        self._base = base
        upgrade = self._trace
        self._start = self._detail.start_span
        if upgrade.linked:
            parent = trace.set_span_in_context(trace.INVALID_SPAN, base)
            self._links = (Link(upgrade.identity),)
        else:
            own = trace.get_current_span(base).get_span_context()
            parent = base
            if own.trace_id != upgrade.identity.trace_id:
                own, parent = upgrade.identity, trace.set_span_in_context(upgrade.span, base)
            self._links = None
            if own.trace_flags.sampled and not own.is_remote:
                self._start = self._detail.start_child
        self._parent = parent

    def _renew(self) -> None:
        """Put the connection's present span where an earlier one of its own is current."""
        self.renew = False
        self._connection.gate = self.bucket
        self._base = None
        self.interrupted()
        base = base_of_current()
        if trace.get_current_span(base).get_span_context().trace_id in self._trace.earlier:
            attach(context := trace.set_span_in_context(self._trace.span, base))
            if sys.version_info < (3, 12):  # pragma: no branch - always so, or never
                self._check(context)


def _sampled(span: Span) -> SpanContext | None:
    identity = span.get_span_context()
    return identity if identity.trace_flags.sampled else None


def _bounded(error: BaseException) -> dict[str, str] | None:
    """Return what an exception's event is to say, where a client's words may be too many."""
    if len(as_text(error)) <= _MAX_ERROR:
        return None
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {
        "exception.message": safe_text(error, _MAX_ERROR),
        "exception.stacktrace": stack[:_MAX_STACK],
    }


def fail(span: Span, error: BaseException, *, record: bool = True) -> None:
    """Mark a span as failed.

    Args:
        span: The span.
        error: Why.
        record: Whether to add the exception with its traceback as an event.
    """
    if record:
        span.record_exception(error, attributes=_bounded(error))
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR, type(error).__name__))
