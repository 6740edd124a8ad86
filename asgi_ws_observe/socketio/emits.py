"""What the application sends to clients, and what they acknowledge."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind

from ..socketio_numbers import EventNumbers
from ..tracing.contexts import get_current
from ..tracing.messages import fail
from .carrier import carrier_of, with_carrier
from .spans import EMPTY, attributes_of, inside
from .steps import Step

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["Ack", "Calling", "Emitting", "emitting", "settle_lost"]

#: What is emitted, where the manager looks for those whom it is for.
emitting: Final[ContextVar[Sending | None]] = ContextVar("emitting", default=None)
_calling: Final[ContextVar[Calling | None]] = ContextVar("calling", default=None)
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


class Ack:
    """The application's callback of an emit, called when a client acknowledges.

    Attributes:
        callback: The application's.
        identity: The span context of the emit, `None` without a span.
        is_settled: Whether its outcome is counted.
    """

    __slots__ = (
        "_is_too_late",
        "_label",
        "_namespace",
        "_observer",
        "_started",
        "_tells",
        "callback",
        "identity",
        "is_settled",
    )

    def __init__(
        self, observer: Observer, namespace: str, label: str, callback: Callable[..., Any]
    ) -> None:
        self._observer = observer
        self._namespace = namespace
        self._label = label
        self.callback = callback
        self._started = perf_counter()
        self.identity: SpanContext | None = None
        self.is_settled = self._is_too_late = False
        calling = _calling.get()
        # A call has a span of its own.
        self._tells = calling is None
        if calling is not None:
            calling.ack = self

    def __call__(self, *args: Any) -> Any:
        try:
            self._answered()
        except Exception as error:  # noqa: BLE001
            self._observer.failed(error, self)
        return self.callback(*args)

    @property
    def numbers(self) -> EventNumbers:
        return self._observer.numbers.namespace(self._namespace).ack(self._label)

    def settle(self, outcome: str) -> None:
        """Count how it ended, once."""
        if not self.is_settled and self._observer.active:
            self.is_settled = True
            self._is_too_late = outcome == "timeout"
            self.numbers.acks[outcome] += 1

    def _answered(self) -> None:
        # A call that timed out has its outcome: what still comes is thrown away.
        if self._is_too_late or not self._observer.active:
            return
        latency = perf_counter() - self._started
        # One emit to a room is acknowledged by each of its members.
        self.is_settled = True
        numbers = self.numbers
        numbers.acks["ok"] += 1
        numbers.ack_latency.observe(latency)
        if self._tells and self.identity is not None and self._observer.spans.of_events():
            self._observer.spans.late(
                f"ack {self._label}",
                SpanKind.CLIENT,
                inside(self.identity),
                attributes_of(self._namespace, self._label, "settle")
                | {"socketio.ack.latency": latency},
                started=self._started,
            )


def settle_lost(manager: Any, sid: Any) -> None:
    """Count the acknowledgements that a client who leaves never sent."""
    for callback in list(manager.callbacks.get(sid, {}).values()):
        if isinstance(callback, Ack):
            callback.settle("lost")


class Calling(Step):
    """A call: an emit, and the wait for its acknowledgement.

    Attributes:
        ack: The acknowledgement that it waits for.
    """

    __slots__ = ("_event", "_namespace", "_span", "_token", "ack")

    def __init__(
        self, observer: Observer, event: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__(observer)
        self._event = event
        # After the data, `to` and `sid`.
        self._namespace = (args[3] if len(args) > 3 else kwargs.get("namespace")) or "/"
        self._span: Span | None = None
        self.ack: Ack | None = None

    def _begin(self) -> None:
        observer, current = self._observer, get_current()
        if str(self._event) not in observer.ignored and observer.spans.of_events():
            self._start(current)
        self._token: Token[Calling | None] = _calling.set(self)
        if self._span is not None:
            self._enter(trace.set_span_in_context(self._span, current))

    def _start(self, current: Context) -> None:
        observer = self._observer
        around = trace.get_current_span(current)
        valid = around.get_span_context().is_valid
        if not around.is_recording() and (valid or not observer.spans.is_due(perf_counter())):
            return
        label = observer.names.emitted(self._event)
        namespace = observer.names.namespace(self._namespace)
        self._span = observer.spans.start(
            f"call {label}",
            SpanKind.CLIENT,
            current,
            attributes_of(namespace, label, "send"),
        )

    def _end(self, error: BaseException | None) -> None:
        _calling.reset(self._token)
        if self.ack is not None and error is not None:
            # Whatever ended the wait: nobody waits any more.
            self.ack.settle("timeout")
        if self._span is not None:
            if isinstance(error, Exception):
                fail(self._span, error)
            self._span.end()
