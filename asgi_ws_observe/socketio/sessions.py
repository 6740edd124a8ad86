"""Sessions that could not be saved: python-socketio's ``save_session``."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from ..tracing.contexts import get_current
from .spans import attributes_of, current_identity
from .steps import Step

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["Saving"]


class Saving(Step):
    """A session that is saved; only a failure leaves something behind."""

    __slots__ = ("_namespace", "_sid", "_started")

    def __init__(
        self, observer: Observer, sid: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__(observer)
        self._sid = sid
        self._namespace = (args[1] if len(args) > 1 else kwargs.get("namespace")) or "/"

    def _begin(self) -> None:
        self._started = perf_counter()

    def _end(self, error: BaseException | None) -> None:
        if not isinstance(error, Exception):
            return
        observer = self._observer
        namespace = observer.names.namespace(self._namespace)
        identity = current_identity()
        observer.lines.errored(
            error, operation="save_session", sid=self._sid, namespace=namespace, identity=identity
        )
        if observer.spans.of_events():
            observer.spans.late(
                f"save_session {namespace}",
                SpanKind.INTERNAL,
                get_current(),
                attributes_of(namespace) | {"messaging.client.id": str(self._sid)},
                started=self._started,
                error=error,
            )
