"""Clients that connect to a namespace, and leave it."""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from socketio import exceptions

from ..labels import safe_text
from ..tracing.messages import fail
from .acks import settle_lost
from .carrier import split_auth
from .engine import connection_id_of, eio_sid_of, reason_of
from .observer import ClientConnection
from .spans import EMPTY, attributes_of, current_identity, inside
from .steps import Step

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["Connecting", "Disconnecting", "connecting"]

#: The client that connects, where its connect handler is called.
connecting: Final[ContextVar[Connecting | None]] = ContextVar("connecting", default=None)
_REFUSALS: Final = (ConnectionRefusedError, exceptions.ConnectionRefusedError)


class Connecting(Step):
    """A client that asks for a namespace, until it is answered.

    Attributes:
        auth: What it sent, without the trace context.
    """

    __slots__ = (
        *("_eio_sid", "_error", "_label", "_namespace", "_outcome", "_refusal"),
        *("_sid", "_span", "_started", "_token", "_transport", "_trust", "auth"),
    )

    def __init__(self, observer: Observer, eio_sid: str, namespace: str | None, auth: Any) -> None:
        super().__init__(observer)
        self._eio_sid = eio_sid
        self._namespace = namespace or "/"
        self._outcome = ""
        self._refusal: Any = None
        self._error: BaseException | None = None
        self._sid: str | None = None
        self._span: Span | None = None
        self.auth = auth

    def _begin(self) -> None:
        observer = self._observer
        self._started = perf_counter()
        self._label = observer.names.namespace(self._namespace)
        self._transport = observer.transport(self._eio_sid)
        environ = observer.server.environ.get(self._eio_sid) or {}
        self._trust = observer.trust_of(environ)
        self.auth, carried = split_auth(self.auth)
        if observer.spans.of_connections():
            self._start(environ, None if self._trust == "never" else carried)
        self._token: Token[Connecting | None] = connecting.set(self)
        if self._span is not None:
            self._enter(trace.set_span_in_context(self._span, EMPTY))

    def _start(self, environ: Any, carried: SpanContext | None) -> None:
        observer = self._observer
        parent, links = EMPTY, []
        header = observer.header_of(environ)
        if carried is not None and self._trust is True:
            parent = inside(carried)
        elif header is not None and header[1] == "parent":
            parent = inside(header[0])
        if carried is not None and self._trust is not True:
            links.append(Link(carried))
        if header is not None and header[1] == "link":
            links.append(Link(header[0]))
        # The transport's own span: that of the WebSocket, or of an HTTP request.
        transport = current_identity()
        if transport is not None:
            links.append(Link(transport))
        self._span = observer.spans.start(
            f"connect {self._label}",
            SpanKind.SERVER,
            parent,
            attributes_of(self._label) | {"socketio.transport": self._transport},
            tuple(links),
        )

    def asked(self, sid: str) -> None:
        """Take in that the connect handler is called, perhaps for the second time."""
        self._sid, self._error, self._outcome = sid, None, "cancelled"

    def answered(self, result: Any) -> Any:
        """Take in what the connect handler returned, and return it."""
        self._outcome = "refused" if result is False else "accepted"
        return result

    def raised(self, error: BaseException) -> None:
        """Take in what the connect handler raised."""
        self._error = error
        self._outcome = "error"
        if isinstance(error, _REFUSALS):
            self._outcome = "refused"
            said = getattr(error, "error_args", None)
            self._refusal = said.get("message") if isinstance(said, dict) else said
        elif not isinstance(error, Exception):
            self._outcome = "cancelled"

    def _end(self, error: BaseException | None) -> None:
        connecting.reset(self._token)
        observer = self._observer
        numbers = observer.numbers.namespace(self._label)
        if self._sid is None:
            # No handler was called: the namespace is none, or the client is in it already.
            known = observer.names.is_known(self._namespace)
            self._outcome = "duplicate" if known else "unknown_namespace"
        elif error is not None and self._outcome == "accepted":
            # Accepted by the handler, but it could not be told so.
            self._outcome = "error" if isinstance(error, Exception) else "cancelled"
            self._error = error
        numbers.connects[self._transport, self._outcome] += 1
        now = perf_counter()
        numbers.connect_duration.observe(now - self._started)
        identity = None if self._span is None else self._span.get_span_context()
        if self._outcome == "accepted" and self._sid is not None:
            observer.connections[self._sid] = ClientConnection(numbers, identity, self._trust, now)
        self._finish()
        self._tell(identity)

    def _finish(self) -> None:
        span = self._span
        if span is None:
            return
        span.set_attribute("socketio.connect.outcome", self._outcome)
        if self._sid is not None:
            span.set_attribute("messaging.client.id", self._sid)
        if self._refusal is not None:
            span.set_attribute("socketio.connect.refusal", safe_text(self._refusal))
        if self._outcome == "error" and self._error is not None:
            fail(span, self._error)
        elif self._outcome != "accepted":
            span.set_attribute("error.type", self._outcome)
            span.set_status(Status(StatusCode.ERROR, self._outcome))
        span.end()

    def _tell(self, identity: SpanContext | None) -> None:
        observer, lines = self._observer, self._observer.lines
        fields: dict[str, Any] = {
            "sid": self._sid,
            "namespace": self._label,
            "transport": self._transport,
            "connection_id": connection_id_of(observer, self._eio_sid),
            "identity": identity,
        }
        took = round(perf_counter() - self._started, 6)
        if self._outcome == "accepted":
            lines.opened(**fields, connect_duration=took)
            return
        if self._outcome == "error" and self._error is not None:
            lines.errored(self._error, **fields, operation="connect")
        lines.closed(**fields, outcome=self._outcome, connect_duration=took)


class Disconnecting(Step):
    """A client that leaves a namespace, while the disconnect handler runs."""

    __slots__ = (
        *("_client", "_eio_sid", "_identity", "_label", "_reason", "_sid", "_span", "_told"),
    )

    def __init__(self, observer: Observer, namespace: str, args: tuple[Any, ...]) -> None:
        super().__init__(observer)
        self._sid = args[0] if args else None
        self._told = args[1] if len(args) > 1 else None
        self._label = namespace
        self._span: Span | None = None

    def _begin(self) -> None:
        observer = self._observer
        self._label = observer.names.namespace(self._label)
        self._client = observer.connections.pop(self._sid, None)  # type: ignore[arg-type]
        self._eio_sid = eio_sid_of(observer.server, self._sid)
        self._reason = reason_of(observer, self._eio_sid, self._told)
        self._identity = None if self._client is None else self._client.identity
        if observer.spans.of_connections() and self._client is not None:
            self._span = observer.spans.start(
                f"disconnect {self._label}",
                SpanKind.INTERNAL,
                inside(self._identity),
                self._attributes(),
            )
            self._enter(trace.set_span_in_context(self._span, EMPTY))

    def _attributes(self) -> dict[str, Any]:
        reason, code = self._reason
        attributes = attributes_of(self._label) | {
            "messaging.client.id": safe_text(self._sid),
            "socketio.disconnect.reason": reason,
        }
        return attributes if code is None else attributes | {"socketio.close_code": code}

    def _end(self, error: BaseException | None) -> None:
        observer, client, (reason, code) = self._observer, self._client, self._reason
        if client is not None:
            client.numbers.disconnects[reason] += 1
        settle_lost(observer.manager, self._sid)
        fields: dict[str, Any] = {
            "sid": self._sid,
            "namespace": self._label,
            "identity": self._identity,
        }
        if isinstance(error, Exception):
            observer.lines.errored(error, **fields, operation="disconnect")
        if self._span is not None:
            if isinstance(error, Exception):
                fail(self._span, error)
            self._span.end()
        if client is None:
            return
        duration = perf_counter() - client.opened
        if self._span is not None:
            observer.spans.late(
                f"connection {self._label}",
                SpanKind.INTERNAL,
                inside(self._identity),
                self._attributes() | {"socketio.events.in": client.events},
                started=client.opened,
            )
        observer.lines.closed(
            **fields,
            connection_id=connection_id_of(observer, self._eio_sid),
            transport=observer.transport(self._eio_sid),
            outcome="accepted",
            reason=reason,
            code=code,
            duration=round(duration, 6),
            events_in=client.events,
        )
