"""The span of a connection: ours or an adopted one, as long as the connection or shorter."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode

from ..labels import UNMATCHED
from .adoption import mended_name, records_exceptions
from .attributes import (
    close_attributes,
    handshake_attributes,
    routed_name,
    total_attributes,
)
from .messages import Detail, MessageSpans, fail
from .slim import slim

if TYPE_CHECKING:
    from ..connection import Connection

__all__ = ["ConnectionTrace"]


# Every empty frozen set is another one.
_NO_IDS: Final[frozenset[int]] = frozenset()


class ConnectionTrace:
    """The tracing state of one connection.

    Args:
        connection: The record.
        detail: What all connections share.
        span: The connection's span.
        entry: The context in which the middleware was called.
        parent: The context that the span was started in.
        adopted: Whether the span is another instrumentation's, which ends it.
        linked: Whether messages are traces of their own.

    Attributes:
        span: The connection's present span.
        identity: Its context.
        messages: The listener, `None` where messages have no spans.
        earlier: Trace ids of the spans that it has had before.
    """

    __slots__ = (
        *("_adopted", "_closed_at", "_connection", "_detail", "_entry", "_error", "_parent"),
        *("_part", "_since", "earlier", "identity", "linked", "messages", "span"),
    )

    def __init__(
        self,
        connection: Connection,
        detail: Detail,
        span: Span,
        *,
        entry: Context,
        parent: Context,
        adopted: bool,
        linked: bool,
    ) -> None:
        self._connection = connection
        self._detail = detail
        self._entry = entry
        self._parent = parent
        self._adopted = adopted
        self._closed_at: int | None = None
        self._error: BaseException | None = None
        self._part = 1
        self.linked = linked
        self.messages: MessageSpans | None = None
        self.earlier = _NO_IDS
        self._take(span)

    def _take(self, span: Span) -> None:
        self.span = span
        slim(span)
        self.identity: SpanContext = span.get_span_context()
        self._since = time.monotonic()
        if self.identity.is_valid:
            connection, identity = self._connection, self.identity
            connection.identity = identity
            connection.span_context = identity if identity.trace_flags.sampled else None

    def enter(self) -> None:
        """Make the connection's span current."""
        if not self._adopted:
            otel_context.attach(trace.set_span_in_context(self.span, self._parent))

    def opened(self, headers: dict[str, Any]) -> None:
        """Take in that the handshake was accepted.

        Args:
            headers: Attributes of the answer's headers.
        """
        span, connection = self.span, self._connection
        if span.is_recording():
            self._name()
            span.set_attribute("http.response.status_code", 101)
            if connection.subprotocol is not None:
                span.set_attribute("ws.subprotocol", connection.subprotocol)
            span.set_attributes(headers)
        if self.linked and not self._adopted:
            span.end()
            # What has ended is kept by nobody: its identity is enough for those who come after.
            self.span = trace.NonRecordingSpan(self.identity)
            if trace.get_current_span() is span:
                otel_context.attach(trace.set_span_in_context(self.span))

    def errored(self, error: BaseException) -> None:
        """Take in the exception that left the application."""
        self._error = error
        if self.span.is_recording():
            # Who records exceptions itself would have this one twice.
            own = self._adopted and records_exceptions(self.span)
            fail(self.span, error, record=not own)
        if self.messages is not None:
            self.messages.fail(error)

    def closed(self, headers: dict[str, Any]) -> None:
        """Take in that the connection is over or its handshake failed.

        Args:
            headers: Attributes of the headers of a denial.
        """
        if self._connection.outcome not in ("rejected", "denied"):
            # The application may go on for long after its client has left.
            self._closed_at = time.time_ns()
        if self.span.is_recording():
            self._name()
            self.span.set_attributes(headers)
            self._conclude(self.span)

    def returned(self) -> None:
        """Take in that the application has ended; who made an adopted span ends it now."""
        if self._adopted and self.span.is_recording():
            self._name()
            self._conclude(self.span)
            self._add_totals(self.span)
            if self._connection.status is not None:
                # opentelemetry-instrumentation-asgi writes 200 here for every message.
                self.span.set_attribute("http.response.status_code", self._connection.status)
            self._say_ok()
        otel_context.attach(self._entry)

    def ended(self) -> None:
        """End what is ours, when connection and application are both over."""
        if not self._adopted:
            self._end()
        # Each holds the other.
        self.messages = None

    def _end(self) -> None:
        span = self.span
        if self.linked and self._connection.status == 101:
            span = self._start("ws.close", SpanKind.INTERNAL, since=self._closed_at)
            if span.is_recording():
                self._conclude(span)
                if self._error is not None:
                    fail(span, self._error)
        if span.is_recording():
            self._add_totals(span)
            span.end(self._closed_at)

    def continued(self, longest: float) -> None:
        """Let another span follow, linked to the present one, if that is older than this, seconds.

        An adopted span, and one that ended with the handshake, are left alone.
        """
        if self._adopted or self.linked or time.monotonic() - self._since < longest:
            return
        if not self.span.is_recording():
            return
        self._add_totals(self.span)
        self.span.set_attribute("ws.outcome", self._connection.outcome)
        self.span.end()
        self.earlier |= {self.identity.trace_id}
        self._part += 1
        span = self._start("ws.upgrade", SpanKind.SERVER)
        if span.is_recording():
            span.set_attributes(handshake_attributes(self._connection))
            span.set_attribute("ws.connection.part", self._part)
        self._take(span)
        self._name()
        if self.messages is not None:
            self.messages.renew = True
            self._connection.gate = None

    def _start(self, name: str, kind: SpanKind, since: int | None = None) -> Span:
        """Start a root span that is linked to the connection's."""
        return self._detail.start_span(
            routed_name(name, self._connection.route),
            trace.set_span_in_context(trace.INVALID_SPAN, self._entry),
            kind,
            None,
            (Link(self.identity),),
            start_time=since,
        )

    def _conclude(self, span: Span) -> None:
        connection = self._connection
        span.set_attributes(close_attributes(connection))
        # OpenTelemetry: 5xx is an error of the server. An exception has said more already.
        status = connection.status or 0
        if self._error is None and (connection.outcome == "error" or status >= 500):
            code = connection.close_code
            said = f"answered {status}" if code is None else f"closed with {code}"
            span.set_status(Status(StatusCode.ERROR, said))

    def _say_ok(self) -> None:
        """Keep an adopted span from becoming an error for a client's leaving.

        To others a `WebSocketDisconnect` that passes through them is an exception. For the SDK the
        status OK is final.
        """
        fine = self._error is None and self._connection.outcome != "error"
        status = getattr(self.span, "status", None)
        if fine and getattr(status, "status_code", None) is StatusCode.UNSET:
            self.span.set_status(StatusCode.OK)

    def _add_totals(self, span: Span) -> None:
        span.set_attributes(total_attributes(self._connection))
        if self.messages is not None:
            untraced = self._connection.messages_in - self.messages.made
            span.set_attribute("ws.messages.untraced", untraced)

    def _name(self) -> None:
        route = self._connection.route
        adopted = self._adopted
        name = mended_name(self.span, route) if adopted else routed_name("ws.upgrade", route)
        if name is not None:
            self.span.update_name(name)
        # OpenTelemetry: http.route is not set where there is none.
        if route != UNMATCHED:
            self.span.set_attribute("http.route", route)
