"""Events that clients send, from their arrival until their handler is done."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from ..tracing.messages import fail
from .carrier import split_event
from .spans import EMPTY, attributes_of, inside
from .steps import Step

if TYPE_CHECKING:
    from .observer import ClientConnection, Observer

__all__ = ["Handling", "ReceivedEvent", "received"]

_RESERVED = frozenset({"connect", "disconnect"})


class ReceivedEvent(str):
    """The name of an event that came from a client, and what is known of that.

    The library passes the name on until it looks for a handler, through a task or a thread and
    whatever else was put in between; so what is noted at the arrival travels with it.

    Attributes:
        name: The same as plain text, which is looked up faster.
        at: When it arrived, of `time.perf_counter()`.
        wants_ack: Whether the client waits for an acknowledgement.
        sender: The client's span context, `None` for none.
    """

    __slots__ = ("at", "name", "sender", "wants_ack")

    name: str
    at: float
    sender: SpanContext | None
    wants_ack: bool

    def __reduce__(self) -> Any:
        # What stands between may publish it: managers before 5.14 pickle, and a node without this
        # library could not load the class.
        return str, (str(self),)


def received(identity: int | None, data: Any) -> Any:
    """Return an event's name and arguments with the name marked and the carrier taken off.

    Args:
        identity: The acknowledgement's number, `None` where none is asked for.
        data: As it came; not even a list where a client sends nonsense.
    """
    data, sender = split_event(data)
    if type(data) is not list or not data or type(data[0]) is not str:
        return data
    event = ReceivedEvent(data[0])
    event.name = data[0]
    event.at = perf_counter()
    event.wants_ack = identity is not None
    event.sender = sender
    return [event, *data[1:]]


class Handling(Step):
    """One event while its handler works on it."""

    __slots__ = (
        *("_client", "_event", "_handled", "_ignored", "_label", "_namespace", "_numbers"),
        *("_result", "_sid", "_span", "_started"),
    )

    def __init__(
        self, observer: Observer, event: ReceivedEvent, namespace: str, args: tuple[Any, ...]
    ) -> None:
        super().__init__(observer)
        self._event = event
        self._namespace = namespace
        self._sid = args[0] if args else None
        self._span: Span | None = None
        self._result: Any = None

    def _begin(self) -> None:
        observer, event = self._observer, self._event
        name = event.name
        self._started = now = perf_counter()
        self._client: ClientConnection | None = observer.connections.get(self._sid)  # type: ignore[arg-type]
        self._label, self._handled = observer.names.received(self._namespace, name)
        self._ignored = name in observer.ignored
        if self._client is None:
            self._numbers = observer.namespace(self._namespace)
        else:
            self._client.events += 1
            self._numbers = self._client.numbers
        if name in _RESERVED:
            observer.numbers.reserved += 1
        if self._ignored:
            return
        self._numbers.schedule_delay.observe(now - event.at)
        if not observer.spans.of_events():
            return
        # What the handler does is part of the event's span, or else of its connection.
        if observer.spans.is_due(now):
            parent, links = self._origin()
            self._span = observer.spans.start(
                f"process {self._label}", SpanKind.CONSUMER, parent, self._attributes(), links
            )
            self._enter(trace.set_span_in_context(self._span, EMPTY))
        else:
            self._enter(inside(None if self._client is None else self._client.identity))

    def _origin(self) -> tuple[Context, tuple[Link, ...]]:
        client, sender = self._client, self._event.sender
        parent, links = EMPTY, []
        if client is not None and client.identity is not None:
            links.append(Link(client.identity))
        trust = False if client is None else client.trust
        if sender is not None and trust != "never":
            if trust:
                parent = inside(sender)
            else:
                links.append(Link(sender))
        return parent, tuple(links)

    def _attributes(self) -> dict[str, Any]:
        return attributes_of(self._numbers.label, self._label, "process") | {
            "messaging.client.id": str(self._sid),
            "socketio.ack.requested": self._event.wants_ack,
        }

    def returned(self, result: Any) -> Any:
        """Take in what the handler returned, and return it."""
        self._result = result
        return result

    def _end(self, error: BaseException | None) -> None:
        observer, now = self._observer, perf_counter()
        outcome = self._outcome(error)
        if not self._ignored:
            numbers = self._numbers.event(self._label)
            numbers.received[outcome] += 1
            numbers.duration.observe(now - self._started)
        identity = self._finish(error, outcome, now)
        if isinstance(error, Exception):
            observer.lines.errored(
                error,
                operation="event",
                sid=self._sid,
                namespace=self._numbers.label,
                event_name=self._label,
                identity=identity or (None if self._client is None else self._client.identity),
            )

    def _outcome(self, error: BaseException | None) -> str:
        if error is not None:
            return "error" if isinstance(error, Exception) else "cancelled"
        if self._result is None and _is_cancelled():
            # The library takes it for a handler that returned nothing.
            return "cancelled"
        unhandled = self._result is self._observer.server.not_handled or not self._handled
        return "unhandled" if unhandled else "ok"

    def _finish(self, error: BaseException | None, outcome: str, now: float) -> SpanContext | None:
        """End the span, or make that of an event that was slow or failed."""
        span, spans = self._span, self._observer.spans
        if span is not None:
            span.set_attribute("socketio.event.outcome", outcome)
            if isinstance(error, Exception):
                fail(span, error)
            span.end()
            return span.get_span_context()
        failed = isinstance(error, Exception)
        slow = now - self._started >= spans.slow
        if self._ignored or not (failed or slow) or not spans.of_events():
            return None
        parent, links = self._origin()
        span = spans.late(
            f"process {self._label}",
            SpanKind.CONSUMER,
            parent,
            self._attributes() | {"socketio.event.outcome": outcome},
            started=self._started,
            links=links,
            error=error if failed else None,
        )
        return span.get_span_context()


def _is_cancelled() -> bool:
    """Return whether the current task was asked to end, which Python says from 3.11 on."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # a thread
        return False
    asked = getattr(task, "cancelling", None)
    return asked is not None and asked() > 0
