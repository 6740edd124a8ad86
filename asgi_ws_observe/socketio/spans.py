"""The spans of Socket.IO."""

from __future__ import annotations

import time
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Tracer, TracerProvider

from .. import __version__
from ..store import Store
from ..tracing.bucket import ALWAYS, NEVER, TokenBucket
from ..tracing.contexts import get_current
from ..tracing.messages import fail
from ..tracing.spans import NO_SDK
from .options import ServerSettings

__all__ = ["EMPTY", "SOCKETIO_ATTRIBUTES", "SocketIOSpans", "current_identity", "inside"]

#: Attribute -> what it says, on which spans.
SOCKETIO_ATTRIBUTES: Final = {
    "messaging.system": "`socket.io`",
    "messaging.operation.type": "`process`, `send`, `settle`",
    "messaging.destination.name": "the namespace, bounded as the label is",
    "messaging.destination.template": "the category of the rooms, on what is for rooms",
    "messaging.client.id": "the client's sid",
    "messaging.socket.io.namespace": "the namespace, likewise",
    "messaging.socket.io.event_name": "the event, bounded as the label is",
    "socketio.transport": "`polling`, `websocket`",
    "socketio.connect.outcome": "connect: how it ended",
    "socketio.connect.refusal": "connect: what the connect handler told the client",
    "socketio.disconnect.reason": "connection, disconnect: why",
    "socketio.close_code": "connection: the WebSocket's close code, where there was one",
    "socketio.events.in": "connection: events received",
    "socketio.ack.requested": "process: whether the client waits for an acknowledgement",
    "socketio.event.outcome": "process: `ok`, `error`, `unhandled`, `cancelled`",
    "socketio.target": "send, deliver: `broadcast`, `room`, `rooms`, `sid`",
    "socketio.recipients": "send, deliver: clients of this node that it went to",
    "socketio.ack.latency": "ack: since the emit, seconds",
    "socketio.bus": "send, deliver: the manager's name, such as `aioredis`",
    "socketio.bus.subscribers": "send: how many nodes Redis gave it to",
    "socketio.bus.outcome": "send: `dropped` or `failed`, where the bus did not take it",
    "socketio.bus.method": "deliver: `emit`, `disconnect`, or what is done to a room",
    "socketio.bus.lag": "deliver: since it was published, seconds",
    "error.type": "the exception's class, or the outcome of a connect that failed",
}

EMPTY: Final = Context()
# Where opentelemetry-api holds the global provider; it is asked where that is not to be found.
_GLOBAL: Final = "_TRACER_PROVIDER"


class SocketIOSpans:
    """Makes the spans of one server.

    Args:
        settings: How many.
        store: Whose bucket of message spans counts; a process has one.
        provider: Whose tracer to use; `None` for the global one, looked up for each span.

    Attributes:
        slow: What takes longer has a span in any case, seconds.
    """

    def __init__(
        self, settings: ServerSettings, store: Store, provider: TracerProvider | None
    ) -> None:
        self._given = provider
        self._used: Any = None
        self._has_asked = False
        self._tracer: Tracer
        self._off = settings.settings.connection_span == "off"
        self._no_events = self._off or settings.event_spans == "off"
        self.slow: float = settings.settings.slow_message_seconds
        bucket = {"all": ALWAYS, "slow": NEVER, "off": NEVER}.get(settings.event_spans)
        if bucket is None:
            if store.span_bucket is None:
                store.span_bucket = TokenBucket(settings.settings.message_span_rate)
            bucket = store.span_bucket
        self._bucket: TokenBucket = bucket

    def of_connections(self) -> bool:
        """Return whether there are spans at all."""
        self._has_asked = True
        provider = self._given or trace.get_tracer_provider()
        if provider is self._used:
            return True
        if self._off or isinstance(provider, NO_SDK):
            return False
        self._used = provider
        self._tracer = provider.get_tracer("asgi_ws_observe", __version__)
        return True

    def of_events(self) -> bool:
        """Return whether there are spans of events."""
        if self._no_events:
            return False
        # As long as there is none, opentelemetry-api looks for one in the environment each time,
        # which takes longer than all else that is counted of an event. Once is enough.
        if self._given is None and self._has_asked and getattr(trace, _GLOBAL, self) is None:
            return False
        return self.of_connections()

    def is_due(self, now: float) -> bool:
        """Return whether an event's span may be made from the start, and count it if so."""
        bucket = self._bucket
        if now < bucket.opens_at:
            return False
        bucket.take(now)
        return True

    def start(
        self,
        name: str,
        kind: SpanKind,
        parent: Context,
        attributes: Mapping[str, Any],
        links: tuple[Link, ...] | None = None,
        start_time: int | None = None,
    ) -> Span:
        """Return a started span; the parent is always said, since what is current is anybody's."""
        return self._tracer.start_span(
            name, parent, kind, attributes, links=links, start_time=start_time
        )

    def late(
        self,
        name: str,
        kind: SpanKind,
        parent: Context,
        attributes: Mapping[str, Any],
        *,
        started: float,
        links: tuple[Link, ...] | None = None,
        error: BaseException | None = None,
    ) -> Span:
        """Make a span afterwards, with its true times, that ends now.

        Args:
            name: The span's.
            kind: Likewise.
            parent: Likewise.
            attributes: Likewise.
            started: When it began, of `time.perf_counter()`.
            links: Likewise.
            error: Why it failed.
        """
        ended = time.time_ns()
        began = ended - round((perf_counter() - started) * 1e9)
        span = self.start(name, kind, parent, attributes, links, began)
        if error is not None:
            fail(span, error)
        span.end(ended)
        return span


def inside(identity: SpanContext | None) -> Context:
    """Return a context in which a span of this identity is current, and nothing else."""
    if identity is None:
        return EMPTY
    return trace.set_span_in_context(trace.NonRecordingSpan(identity), EMPTY)


def current_identity() -> SpanContext | None:
    """Return the identity of the current span, `None` where there is none."""
    found = trace.get_current_span(get_current()).get_span_context()
    return found if found.is_valid else None
