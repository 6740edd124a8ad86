"""The spans of python-socketio's clients, and what is current while a client works."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, cast

from opentelemetry import trace
from opentelemetry.context import Context, create_key, set_value
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Tracer, TracerProvider

from .. import __version__
from ..labels import as_text, safe_text
from ..tracing.contexts import attach, get_current
from ..tracing.messages import fail
from ..tracing.spans import NO_SDK

__all__ = [
    "MAX_EVENTS",
    "OTHER_EVENT",
    "ClientSpans",
    "Step",
    "before_connect",
    "connecting",
    "hidden",
    "inside",
    "received",
]

#: How many event names of one client stand in its spans.
MAX_EVENTS: Final = 100
#: What stands for every other one.
OTHER_EVENT: Final = "_other"

_EMPTY: Final = Context()
_MAX_NAME: Final = 256
# What was current before a connection was made holds for what lives as long as it does.
_BEFORE: Final = create_key("asgi_ws_observe_socketio_before")

_logger = logging.getLogger("asgi_ws_observe")


class Step:
    """Makes a context current for one thing that a client does, and ends its span.

    What is raised inside marks the span and goes on.

    Attributes:
        context: What is current inside.

    Args:
        context: The same.
        span: Ended on the way out; `None` for none.
        spans: Ends it.
        left: Called on the way out; `None` for nothing.
    """

    __slots__ = ("_before", "_left", "_span", "_spans", "context")

    def __init__(
        self,
        context: Context,
        span: Span | None,
        spans: ClientSpans,
        left: Callable[[], None] | None = None,
    ) -> None:
        self.context = context
        self._span = span
        self._spans = spans
        self._left = left
        self._before = context

    def __enter__(self) -> None:
        self._before = get_current()
        attach(self.context)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        # A coroutine that is thrown away is closed wherever that happens.
        if get_current() is self.context:
            attach(self._before)
        if self._left is not None:
            self._left()
        self._spans.end(self._span, error)


class ClientSpans:
    """Makes the spans of one client; whatever fails here is logged once and goes no further.

    Args:
        provider: Whose tracer to use; `None` for the global one, looked up for each span.
    """

    def __init__(self, provider: TracerProvider | None) -> None:
        self._given = provider
        self._used: Any = None
        self._tracer: Tracer
        self._names: dict[str, str] = {}
        self._complained = False

    def name(self, event: object) -> str:
        """Return an event's name as spans have it, ``_other`` above the bound."""
        raw = as_text(event)[:_MAX_NAME]
        known = self._names.get(raw)
        if known is None:
            if len(self._names) >= MAX_EVENTS:
                return OTHER_EVENT
            self._names[raw] = known = safe_text(raw)
        return known

    def begin(
        self,
        doing: str,
        namespace: object,
        event: str | None,
        kind: SpanKind,
        *,
        operation: str | None = None,
        parent: Context | None = None,
        link: SpanContext | None = None,
        began: int | None = None,
    ) -> Span | None:
        """Return a started span, `None` without an SDK.

        Args:
            doing: The first word of its name.
            namespace: The namespace, or several.
            event: As `name` returned it; `None` for none.
            kind: The span's kind.
            operation: The value of ``messaging.operation.type``.
            parent: The context of its parent; `None` for the current one.
            link: Another span that it belongs to.
            began: When it began, ns since the epoch; `None` for now.
        """
        try:
            if not self._has_tracer():
                return None
            place = safe_text(namespace)
            attributes = {
                "messaging.system": "socket.io",
                "messaging.destination.name": place,
                "messaging.socket.io.namespace": place,
            }
            if operation is not None:
                attributes["messaging.operation.type"] = operation
            if event is not None:
                attributes["messaging.socket.io.event_name"] = event
            name = f"{doing} {place if event is None else event}"
            links = None if link is None else (Link(link),)
            span = self._tracer.start_span(name, parent, kind, attributes, links, began)
            # An SDK that is switched off has spans without an identity.
            return span if span.get_span_context().is_valid else None
        except Exception as error:  # noqa: BLE001 - a sampler's or a span processor's
            self._complain(error)
            return None

    def end(self, span: Span | None, error: BaseException | None = None) -> None:
        """End a span if there is one, as a failure if there is an error."""
        if span is None:
            return
        try:
            if error is not None:
                fail(span, error)
            span.end()
        except Exception as own:  # noqa: BLE001
            self._complain(own)

    def _has_tracer(self) -> bool:
        provider = self._given or trace.get_tracer_provider()
        if isinstance(provider, NO_SDK):
            return False
        if provider is not self._used:
            self._tracer = provider.get_tracer("asgi_ws_observe", __version__)
            self._used = provider
        return True

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            _logger.error("spans of a Socket.IO client fail; it works on", exc_info=error)


def inside(span: Span | None, context: Context) -> Context:
    """Return a context in which a span is current; the same where there is none."""
    return context if span is None else trace.set_span_in_context(span, context)


def hidden(context: Context) -> Context:
    """Return a context in which no span is current."""
    return trace.set_span_in_context(trace.INVALID_SPAN, context)


def received(span: Span | None, remote: SpanContext | None) -> Context:
    """Return the context in which a client handles what it received: nobody's but the sender's.

    Args:
        span: That of handling it.
        remote: The sender's, where it is believed; it counts where there is no `span`.
    """
    if span is None and remote is not None:
        span = trace.NonRecordingSpan(remote)
    return inside(span, _EMPTY)


def connecting(context: Context, before: Context) -> Context:
    """Return a context in which a connection is made; it knows what was current before."""
    return set_value(_BEFORE, before, context)


def before_connect(context: Context) -> Context | None:
    """Return what was current before the connection that is being made, `None` if none is."""
    return cast("Context | None", context.get(_BEFORE))
