"""What clients acknowledge: an emit's callback, and a call that waits for it."""

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
from .spans import attributes_of, inside
from .steps import Step

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["Ack", "Calling", "settle_lost"]

_calling: Final[ContextVar[Calling | None]] = ContextVar("calling", default=None)


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
