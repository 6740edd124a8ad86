"""The reader that makes spans with opentelemetry-api."""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Tracer, TracerProvider

from ..connection import Connection
from ..hooks import ConnectionHook
from ..settings import Settings
from .adoption import is_adoptable, keep_native_away
from .attributes import handshake_attributes
from .carriers import Trust, TrustReader, upgrade_origin
from .environment import Environment
from .messages import Detail, MessageSpans
from .provider import TracerSource
from .sends import SendSpans
from .upgrade import ConnectionTrace

__all__ = ["ConnectionTracing", "Continuation"]


class ConnectionTracing(ConnectionHook):
    """Makes the spans of connections and messages, or adopts a connection's that is there.

    Args:
        settings: The middleware's settings.
        provider: Whose tracer to use; `None` for the global one, looked up for each connection,
            since it is often set after the application was built.

    Raises:
        SettingsError: One of OpenTelemetry's environment variables is not accepted.
    """

    part = "tracing"

    def __init__(self, settings: Settings, provider: TracerProvider | None = None) -> None:
        self._source = TracerSource(provider)
        self._used: Tracer | None = None
        self._detail = Detail(settings)
        self._linked = settings.connection_span == "linked"
        self._messages = settings.message_spans != "off"
        self._sends = settings.send_spans
        self._trust = TrustReader(settings)
        self._environment = Environment()

    def started(self, connection: Connection) -> None:
        tracer, scope = self._source.find(), connection.scope
        if tracer is None or self._environment.excludes(scope):
            return
        if tracer is not self._used:
            self._used = tracer
            self._detail.use(tracer)
        entry = otel_context.get_current()
        trust = self._trust.of(scope, connection.observation.errors)
        state = self._begin(connection, entry, trust)
        connection.trace = state
        # An unsampled connection has unsampled messages: making them would only cost. A sender who
        # is believed decides for itself.
        follows = state.span.is_recording() or self._linked or trust.client == "parent"
        if self._messages and follows:
            messages = MessageSpans(connection, self._detail, state, trust)
            connection.listener = state.messages = messages
            connection.gate = messages.bucket
            if self._sends:
                connection.send_listener = SendSpans(connection, self._detail, state)
        state.enter()

    def _begin(self, connection: Connection, entry: Context, trust: Trust) -> ConnectionTrace:
        scope = connection.scope
        attributes = handshake_attributes(connection) | self._environment.request_headers(scope)
        outer = trace.get_current_span(entry)
        origin = upgrade_origin(scope, entry, trust)
        adopted = is_adoptable(outer)
        if adopted:
            outer.set_attributes(attributes)
            for link in origin.links:
                outer.add_link(link.context)
            span = outer
        else:
            keep_native_away(scope)
            span = self._detail.start_span(
                "ws.upgrade", origin.parent, SpanKind.SERVER, attributes, origin.links
            )
        return ConnectionTrace(
            connection,
            self._detail,
            span,
            entry=entry,
            parent=origin.parent,
            adopted=adopted,
            linked=self._linked,
        )

    def opened(self, connection: Connection) -> None:
        if (state := _state(connection)) is not None:
            state.opened(self._environment.response_headers(connection.response_headers))

    def errored(self, connection: Connection, error: BaseException) -> None:
        if (state := _state(connection)) is not None:
            state.errored(error)

    def closed(self, connection: Connection) -> None:
        if (state := _state(connection)) is not None:
            state.closed(self._environment.response_headers(connection.response_headers))

    def returned(self, connection: Connection) -> None:
        if (state := _state(connection)) is not None:
            state.returned()

    def ended(self, connection: Connection) -> None:
        if (state := _state(connection)) is not None:
            # Breaks the circle with the connection, which would wait for the garbage collector.
            connection.trace = connection.listener = connection.send_listener = None
            state.ended()


class Continuation(ConnectionHook):
    """Ends the spans of connections that last too long, and lets others follow.

    Args:
        longest: How long a span may last, seconds.
    """

    part = "tracing"

    def __init__(self, longest: float) -> None:
        self._longest = longest

    def alive(self, connection: Connection) -> None:
        if (state := _state(connection)) is not None:
            state.continued(self._longest)


def _state(connection: Connection) -> ConnectionTrace | None:
    state: ConnectionTrace | None = connection.trace
    return state
