"""Spans and trace context for python-socketio's clients.

**Instrument the server first.** What is sent to it gets one argument more, the sender's trace
context. An instrumented server takes it off; a handler of any other server is called with one
argument too many, and raises `TypeError`. The other way round it is the same: where a server sends
trace context, every Python client has to be instrumented, while one in JavaScript ignores an
argument that it does not expect.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Final, TypeAlias, cast

import socketio
from opentelemetry.context import create_key, set_value
from opentelemetry.trace import Span, SpanContext, SpanKind, TracerProvider

from ..exceptions import SettingsError
from ..tracing.contexts import attach, get_current
from .carrier import carrier_of, split_event, with_carrier
from .client_headers import ConnectHeaders
from .client_spans import ClientSpans, Step, before_connect, connecting, hidden, inside, received

__all__ = ["ClientInstrumentation", "instrument_client"]

# Where a client keeps what was done to it.
_OWN: Final = "_asgi_ws_observe"
# Holds whose ``call`` an ``emit`` belongs to.
_CALLER: Final = create_key("asgi_ws_observe_socketio_caller")

# What to do something in, and with which arguments.
Prepared: TypeAlias = tuple[AbstractContextManager[None], tuple[Any, ...], dict[str, Any]]


def instrument_client(
    client: socketio.AsyncClient | socketio.Client,
    *,
    tracer_provider: TracerProvider | None = None,
    inject: bool | Collection[str] = True,
    trust_server: bool = True,
) -> ClientInstrumentation:
    """Trace what one client sends and receives, and send its trace context along.

    **Instrument the server before its clients**: any other one calls its handlers with one argument
    too many.

    Handlers may be registered before or after; a client that is instrumented already stays as it
    is. The client of an `AsyncSimpleClient` or a `SimpleClient` is its ``client``, which exists
    once it has connected. Spans need an SDK; without one, a span that is current is still sent
    along.

    Args:
        client: An `AsyncClient` or a `Client` of python-socketio 5.10 or later.
        tracer_provider: Whose tracer to use; `None` for the global one.
        inject: Which events get the trace context as one more argument: `True` for all, `False`
            for none, or a collection of their names. Unless it is `False`, connections send it in
            the header ``traceparent``, which disturbs no server.
        trust_server: Whether an event's handling belongs to the trace of the server that sent it;
            `False` for a trace of its own with a link.

    Returns:
        What undoes it.

    Raises:
        SettingsError: One of the arguments is not accepted.
    """
    if not isinstance(client, socketio.AsyncClient | socketio.Client):
        raise SettingsError(
            f"client: got {client!r}; accepted: socketio.AsyncClient and socketio.Client"
            " (a simple client's own is its `client`, once it has connected)"
        )
    known = client.__dict__.get(_OWN)
    if known is None:
        events = None if isinstance(inject, bool) else _names(inject)
        spans = ClientSpans(tracer_provider)
        known = ClientInstrumentation(client, spans, bool(inject), events, trust_server)
        client.__dict__[_OWN] = known
    return cast("ClientInstrumentation", known)


def _names(inject: object) -> frozenset[str]:
    if isinstance(inject, Collection) and not isinstance(inject, str | bytes):
        names = tuple(inject)
        if all(isinstance(each, str) for each in names):
            return frozenset(names)
    raise SettingsError(
        f"inject: got {inject!r}; accepted: True, False or a collection of event names"
    )


def _ours(headers: object) -> ConnectHeaders | None:
    owner = getattr(headers, "__self__", None)
    return owner if isinstance(owner, ConnectHeaders) else None


class ClientInstrumentation:
    """What `instrument_client` did to one client.

    Attributes:
        client: The client.
    """

    def __init__(
        self,
        client: socketio.AsyncClient | socketio.Client,
        spans: ClientSpans,
        inject: bool,
        events: frozenset[str] | None,
        trust: bool,
    ) -> None:
        self.client = client
        self._spans = spans
        self._inject = inject
        self._events = events
        self._trust = trust
        self._active = True
        # The span of the connection that the application made; later ones are linked to it.
        self._first: SpanContext | None = None
        self._patches: list[tuple[Any, str, Any, Any]] = []
        for name, prepare in (
            ("connect", self._connect),
            ("emit", self._emit),
            ("call", self._call),
            ("_handle_event", self._handle_event),
        ):
            self._patch(client, name, self._around(getattr(client, name), prepare))
        eio = client.eio
        self._patch(eio, "start_background_task", self._apart(eio.start_background_task))

    def uninstrument(self) -> None:
        """Leave the client as it was; where somebody else has patched it since, do nothing more."""
        self._active = False
        for place, name, own, earlier in self._patches:
            if place.__dict__.get(name) is own:
                if earlier is None:
                    delattr(place, name)
                else:
                    setattr(place, name, earlier)
        if self.client.__dict__.get(_OWN) is self:
            delattr(self.client, _OWN)
        if (ours := _ours(self.client.connection_headers)) is not None:
            self.client.connection_headers = ours.meant

    def _patch(self, place: Any, name: str, own: Any) -> None:
        self._patches.append((place, name, own, place.__dict__.get(name)))
        setattr(place, name, own)

    def _around(self, original: Any, prepare: Callable[..., Prepared]) -> Any:
        """Return a method that does what another one does, in a step.

        Args:
            original: The method.
            prepare: Takes its arguments and returns the step, and the arguments to pass on.
        """
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def call(*args: Any, **kwargs: Any) -> Any:
                step, args, kwargs = self._prepared(prepare, args, kwargs)
                with step:
                    return await original(*args, **kwargs)

        else:

            @functools.wraps(original)
            def call(*args: Any, **kwargs: Any) -> Any:
                step, args, kwargs = self._prepared(prepare, args, kwargs)
                with step:
                    return original(*args, **kwargs)

        return call

    def _prepared(self, prepare: Callable[..., Prepared], args: Any, kwargs: Any) -> Prepared:
        if self._active:
            # Wrong arguments, or an event without a name: the client itself says so.
            with suppress(Exception):
                return prepare(*args, **kwargs)
        return nullcontext(), args, kwargs

    def _connect(
        self,
        url: Any,
        headers: Any = None,
        auth: Any = None,
        transports: Any = None,
        namespaces: Any = None,
        *more: Any,
        **options: Any,
    ) -> Prepared:
        current = get_current()
        before = before_connect(current)
        # A client that comes back gives what it was given.
        earlier = _ours(headers)
        again = earlier is not None
        meant = headers if earlier is None else earlier.meant
        # A reconnection runs where the first connection was made: long over, and nobody's parent.
        alone = again and before is None
        context = hidden(current) if alone else current
        link = self._first if alone else None
        place = ",".join(sorted(self._namespaces(namespaces)))
        span = self._spans.begin("connect", place, None, SpanKind.CLIENT, parent=context, link=link)
        if span is not None and not again and not self.client.connected:
            self._first = span.get_span_context()
        asked = ConnectHeaders({} if meant is None else meant, self._header)
        context = connecting(inside(span, context), current if before is None else before)
        step = Step(context, span, self._spans, asked.settle)
        args = (url, asked.ask, auth, transports, namespaces, *more)
        return step, args, options

    def _namespaces(self, given: Any) -> Collection[str]:
        """Return the namespaces that the client will connect to, as it finds them."""
        if given is None:
            return {*self.client.handlers, *self.client.namespace_handlers} - {"*"} or {"/"}
        return {given} if isinstance(given, str) else given

    def _header(self) -> dict[str, str]:
        return carrier_of() if self._active and self._inject else {}

    def _apart(self, original: Any) -> Any:
        """Return what starts tasks that live as long as a connection outside of its span."""

        @functools.wraps(original)
        def start(*args: Any, **kwargs: Any) -> Any:
            current = get_current()
            before = before_connect(current)
            attach(current if before is None else before)
            try:
                return original(*args, **kwargs)
            finally:
                attach(current)

        return start

    def _emit(
        self,
        event: Any,
        data: Any = None,
        namespace: Any = None,
        callback: Any = None,
        **more: Any,
    ) -> Prepared:
        current = get_current()
        if current.get(_CALLER) is self:
            # What it sends in turn is not part of the call.
            step = Step(set_value(_CALLER, None, current), None, self._spans)
        else:
            name, place, began = self._spans.name(event), namespace or "/", time.time_ns()
            span = self._spans.begin(
                "send", place, name, SpanKind.PRODUCER, operation="send", began=began
            )
            step = Step(inside(span, current), span, self._spans)
            if span is not None and callback is not None:
                ack = functools.partial(self._ack, place, name, span, began)
                callback = self._around(callback, ack)
        if self._injects(event):
            data = with_carrier(data, carrier_of(step.context))
        return step, (event,), {"data": data, "namespace": namespace, "callback": callback, **more}

    def _injects(self, event: object) -> bool:
        if self._events is None:
            return self._inject
        return isinstance(event, str) and event in self._events

    def _ack(self, place: str, name: str, sent: Span, began: int, *answer: Any) -> Prepared:
        parent = received(sent, None)
        span = self._spans.begin(
            "ack", place, name, SpanKind.CLIENT, operation="settle", parent=parent, began=began
        )
        # It lasts until the answer came; what the callback does with it is not the server's time.
        self._spans.end(span)
        return Step(received(span or sent, None), None, self._spans), answer, {}

    def _call(
        self, event: Any, data: Any = None, namespace: Any = None, *more: Any, **options: Any
    ) -> Prepared:
        name, context = self._spans.name(event), get_current()
        span = self._spans.begin("call", namespace or "/", name, SpanKind.CLIENT, operation="send")
        if span is not None:
            context = set_value(_CALLER, self, inside(span, context))
        return Step(context, span, self._spans), (event, data, namespace, *more), options

    def _handle_event(self, namespace: Any, ack: Any, data: Any) -> Prepared:
        rest, remote = split_event(data)
        believed = remote if self._trust else None
        span = self._spans.begin(
            "process",
            namespace or "/",
            self._spans.name(rest[0]),
            SpanKind.CONSUMER,
            operation="process",
            parent=received(None, believed),
            link=None if self._trust else remote,
        )
        return Step(received(span, believed), span, self._spans), (namespace, ack, rest), {}
