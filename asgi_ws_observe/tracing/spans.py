"""The reader that makes spans with opentelemetry-api.

A span that is made current inside the wrapped ``receive()`` stays current in the handler, because
awaiting runs in the caller's context. ``asyncio.wait_for`` before Python 3.12 runs it in a task of
its own; a context token from there cannot be given back elsewhere, so a message is left by
attaching the connection's context again, never by detaching.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import asgi_getter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from .. import __version__
from ..connection import Connection
from ..hooks import ConnectionHook
from ..labels import UNMATCHED, LabelLimiter
from ..settings import Settings
from .attributes import close_attributes, handshake_attributes, total_attributes

__all__ = ["MAX_MESSAGE_TYPES", "ConnectionTracing"]

#: Distinct values of ``ws.message.type``, ``other`` not counted.
MAX_MESSAGE_TYPES: Final = 50

# What there is before an SDK is configured: spans of these record nothing, so none is made.
_NO_SDK: Final = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)


class ConnectionTrace:
    """The tracing state of one connection, and the listener that makes its messages' spans."""

    __slots__ = (
        *("_connection", "_message_span", "_start_span", "_type", "closed_at", "context"),
        *("entry", "failed", "span"),
    )

    def __init__(
        self,
        connection: Connection,
        start_span: Callable[..., Span],
        message_type: LabelLimiter,
        span: Span,
        context: Context,
        entry: Context,
    ) -> None:
        self._connection = connection
        self._start_span = start_span
        self._type = message_type
        self._message_span: Span | None = None
        self.closed_at: int | None = None
        self.failed = False
        self.span = span
        self.context = context
        self.entry = entry

    def received(self, message: Any, size: int) -> None:
        """Start the message's span and make it current for the handler."""
        self._message_span = span = self._start_span("ws.message", self.context, SpanKind.CONSUMER)
        # One by one and late: attributes given at the start are copied and checked for the sampler
        # too, which makes a sampled message a tenth dearer.
        span.set_attribute("ws.message.bytes", size)
        opcode = "text" if message.get("bytes") is None else "binary"
        span.set_attribute("ws.message.opcode", opcode)
        identity = span.get_span_context()
        self._connection.message_context = identity if identity.trace_flags.sampled else None
        otel_context.attach(trace.set_span_in_context(span, self.context))

    def handled(self) -> None:
        """End the message's span and make the connection's current again."""
        span, self._message_span = self._message_span, None
        if span is None:
            return
        kind = self._connection.message_type
        if kind is not None:
            bounded = self._type(str(kind))
            span.update_name(f"ws.message {bounded}")
            span.set_attribute("ws.message.type", bounded)
        self._connection.message_context = None
        try:
            span.end()
        finally:
            # Whatever a span processor does, the handler must not stay inside this message.
            otel_context.attach(self.context)

    def fail(self, error: BaseException) -> None:
        """Mark the connection's span, and that of the message being handled."""
        self.failed = True
        for span in (self.span, self._message_span):
            if span is not None:
                span.record_exception(error)
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))


class ConnectionTracing(ConnectionHook):
    """Makes the spans ``ws.upgrade {route}`` and ``ws.message {type}``.

    Args:
        settings: The middleware's settings.
        provider: Whose tracer to use; `None` for the global one, looked up for each connection,
            since it is often set after the application was built.
    """

    part = "tracing"

    def __init__(self, settings: Settings, provider: TracerProvider | None = None) -> None:
        self._given = provider
        self._used: TracerProvider | None = None
        self._tracer: Tracer
        self._messages = settings.message_spans == "all"
        self._type = LabelLimiter(MAX_MESSAGE_TYPES)

    def started(self, connection: Connection) -> None:
        provider = self._given or trace.get_tracer_provider()
        if isinstance(provider, _NO_SDK):
            return
        if provider is not self._used:
            self._used, self._tracer = provider, provider.get_tracer("asgi_ws_observe", __version__)
        entry = otel_context.get_current()
        inside = trace.get_current_span(entry).get_span_context().is_valid
        parent = entry if inside else _extracted(connection.scope, entry)
        start_span = self._tracer.start_span
        span = start_span(
            "ws.upgrade",
            context=parent,
            kind=SpanKind.SERVER,
            attributes=handshake_attributes(connection),
        )
        context = trace.set_span_in_context(span, parent)
        identity = span.get_span_context()
        if identity.is_valid:
            connection.trace_id = trace.format_trace_id(identity.trace_id)
            connection.span_id = trace.format_span_id(identity.span_id)
            if identity.trace_flags.sampled:
                connection.span_context = identity
        state = ConnectionTrace(connection, start_span, self._type, span, context, entry)
        connection.trace = state
        # An unsampled connection has unsampled messages: making them would only cost.
        if self._messages and span.is_recording():
            connection.listener = state
        otel_context.attach(context)

    def opened(self, connection: Connection) -> None:
        if (state := _recording(connection)) is not None:
            _name(state.span, connection.route)
            state.span.set_attribute("http.response.status_code", 101)
            if connection.subprotocol is not None:
                state.span.set_attribute("ws.subprotocol", connection.subprotocol)

    def errored(self, connection: Connection, error: BaseException) -> None:
        if (state := _recording(connection)) is not None:
            state.fail(error)

    def closed(self, connection: Connection) -> None:
        if (state := _recording(connection)) is not None:
            state.span.set_attributes(close_attributes(connection))
            if connection.outcome in ("rejected", "denied"):
                _name(state.span, connection.route)
            else:
                # The application may go on for long after its client has left.
                state.closed_at = time.time_ns()
            # OpenTelemetry: 5xx is an error of the server. An exception has said more already.
            status = connection.status or 0
            if not state.failed and (connection.outcome == "error" or status >= 500):
                code = connection.close_code
                said = f"answered {status}" if code is None else f"closed with {code}"
                state.span.set_status(Status(StatusCode.ERROR, said))

    def returned(self, connection: Connection) -> None:
        state: ConnectionTrace | None = connection.trace
        if state is not None:
            otel_context.attach(state.entry)

    def ended(self, connection: Connection) -> None:
        state: ConnectionTrace | None = connection.trace
        if state is not None:
            # Breaks the circle with the connection, which would wait for the garbage collector.
            connection.trace = connection.listener = None
            state.span.set_attributes(total_attributes(connection))
            state.span.end(state.closed_at)


def _extracted(scope: MutableMapping[str, Any], entry: Context) -> Context:
    """Return the context that the client's headers carry; the entry's where they are malformed."""
    try:
        return propagate.extract(dict(scope), entry, asgi_getter)
    except Exception:  # noqa: BLE001 - the getter raises on bytes that it cannot decode
        return entry


def _name(span: Span, route: str) -> None:
    # OpenTelemetry: http.route is not set where there is none.
    if route != UNMATCHED:
        span.update_name(f"ws.upgrade {route}")
        span.set_attribute("http.route", route)


def _recording(connection: Connection) -> ConnectionTrace | None:
    state: ConnectionTrace | None = connection.trace
    return state if state is not None and state.span.is_recording() else None
