"""What the application sends to clients."""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from ..tracing.contexts import get_current
from ..tracing.messages import fail
from .acks import Ack
from .carrier import carrier_of, with_carrier
from .spans import EMPTY, attributes_of
from .steps import Step

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["Arguments", "Emitting", "Sending", "emitting"]

#: What is emitted, where the manager looks for those whom it is for.
emitting: Final[ContextVar[Sending | None]] = ContextVar("emitting", default=None)
# The manager's parameters after the event; their order is that of every version.
_PARAMETERS: Final = ("data", "namespace", "room", "skip_sid", "callback", "to")
_PLACES: Final = {name: place for place, name in enumerate(_PARAMETERS)}


class Arguments:
    """The arguments of a manager's ``emit``, however they were given.

    Attributes:
        args: Those after the event that were given by position.
        kwargs: Those that were given by name.
    """

    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs

    def get(self, name: str) -> Any:
        """Return one; `None` where it was not given."""
        place = _PLACES[name]
        return self.args[place] if place < len(self.args) else self.kwargs.get(name)

    def put(self, name: str, value: Any) -> None:
        """Give another one, by the way that it was given."""
        place = _PLACES[name]
        if place < len(self.args):
            self.args = (*self.args[:place], value, *self.args[place + 1 :])
        else:
            self.kwargs = self.kwargs | {name: value}


class Sending(Step):
    """An event on its way to clients of this node, emitted here or on another node."""

    __slots__ = (
        *("_around", "_category", "_label", "_numbers", "_origin"),
        *("_skipped", "_span", "_started", "_target", "_token", "recipients", "size"),
    )

    def __init__(self, observer: Observer, origin: str) -> None:
        super().__init__(observer)
        self._origin = origin
        self._span: Span | None = None
        # The context that the span is part of.
        self._around = EMPTY
        self._skipped: Any = ()
        #: Clients of this node that it goes to, `None` before the manager has looked.
        self.recipients: int | None = None
        #: Bytes of the packet that all of them get.
        self.size = 0

    def _address(self, event: Any, namespace: Any, room: Any, skipped: Any) -> None:
        observer = self._observer
        self._started = perf_counter()
        self._numbers = observer.namespace(namespace)
        self._label = observer.names.emitted(event)
        rooms = observer.manager.rooms.get(namespace, {})
        self._target, self._category = observer.names.target(rooms, room)
        if skipped is not None:
            self._skipped = skipped if isinstance(skipped, (list, tuple)) else (skipped,)

    def _stand(self) -> None:
        """Be what is emitted; and be current, where there is a span. Nothing can fail here."""
        self._token: Token[Sending | None] = emitting.set(self)
        if self._span is not None:
            self._enter(trace.set_span_in_context(self._span, self._around))

    def found(self, participants: list[tuple[Any, Any]]) -> None:
        """Take in whom the manager found."""
        skipped = self._skipped
        number = len(participants)
        if skipped:
            number -= sum(sid in skipped for sid, _ in participants)
        self.recipients = number

    def _count(self) -> None:
        numbers = self._observer.numbers.emit(
            self._numbers, self._label, self._target, self._category, self._origin
        )
        numbers.count += 1
        recipients = self.recipients or 0
        numbers.recipients.observe(recipients)
        numbers.duration.observe(perf_counter() - self._started)
        self._numbers.bytes_out += self.size * recipients

    def _attributes(self) -> dict[str, Any]:
        return attributes_of(self._numbers.label, self._label, "send") | {
            "messaging.destination.template": self._category,
            "socketio.target": self._target,
        }


class Emitting(Sending):
    """An event that this process emits.

    Attributes:
        arguments: What the manager is called with.
        is_traced: Whether it has a span.
    """

    __slots__ = ("_ack", "_event", "_ignored", "arguments", "bus_outcome", "is_traced")

    def __init__(self, observer: Observer, event: Any, arguments: Arguments) -> None:
        super().__init__(observer, "own")
        self._event = event
        self._ack: Ack | None = None
        self._ignored = False
        self.arguments = arguments
        self.is_traced = False
        self.bus_outcome: Any = None

    def _begin(self) -> None:
        observer, given = self._observer, self.arguments
        self._ignored = str(self._event) in observer.ignored
        room = given.get("to") or given.get("room")
        namespace = given.get("namespace") or "/"
        self._address(self._event, namespace, room, given.get("skip_sid"))
        callback = given.get("callback")
        if callback is not None and not self._ignored:
            self._ack = Ack(observer, self._numbers.label, self._label, callback)
        if not self._ignored and observer.spans.of_events():
            self._start()
        if self._event in observer.injected and self._is_plain():
            span = self._span
            context = None if span is None else trace.set_span_in_context(span, EMPTY)
            given.put("data", with_carrier(given.get("data"), carrier_of(context)))
        self._stand()

    def awaited(self, callback: Any) -> Any:
        """Return what the manager is to keep for a callback: the acknowledgement, if it is ours."""
        ack = self._ack
        return ack if ack is not None and ack.callback is callback else callback

    def _is_plain(self) -> bool:
        """Return whether it is delivered here at once: what comes over a bus has its own way."""
        given = self.arguments.kwargs
        return not hasattr(self._observer.manager, "_publish") or bool(given.get("ignore_queue"))

    def _start(self) -> None:
        """Make the span, if what is current has one or one is due."""
        spans, current = self._observer.spans, get_current()
        around = trace.get_current_span(current)
        if not around.is_recording():
            if around.get_span_context().is_valid:
                # Part of what was sampled out, or has no span since there were too many.
                return
            if not spans.is_due(self._started):
                return
        self._span = spans.start(
            f"send {self._label}", SpanKind.PRODUCER, current, self._attributes()
        )
        self.is_traced = True
        self._around = current
        if self._ack is not None:
            self._ack.identity = self._span.get_span_context()

    def _end(self, error: BaseException | None) -> None:
        emitting.reset(self._token)
        if self._ignored:
            return
        self._count()
        failed = error if isinstance(error, Exception) else None
        span, spans = self._span, self._observer.spans
        if span is None:
            slow = perf_counter() - self._started >= spans.slow
            if (failed is not None or slow) and spans.of_events():
                spans.late(
                    f"send {self._label}",
                    SpanKind.PRODUCER,
                    get_current(),
                    self._attributes() | self._facts(),
                    started=self._started,
                    error=failed,
                )
            return
        span.set_attributes(self._facts())
        if failed is not None:
            fail(span, failed)
        span.end()

    def _facts(self) -> dict[str, Any]:
        """Return the attributes that are known at the end."""
        facts: dict[str, Any] = {"socketio.recipients": self.recipients or 0}
        if isinstance(self.bus_outcome, int):
            facts["socketio.bus.subscribers"] = self.bus_outcome
        elif self.bus_outcome is not None:
            facts["socketio.bus.outcome"] = self.bus_outcome
        return facts
