"""What another node asked for over the bus, while this one does it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanContext, SpanKind

from ..tracing.carriers import remote_context
from ..tracing.messages import fail
from .emits import Sending, emitting
from .spans import EMPTY, inside

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["BUS_KEY", "Delivering", "lag_of"]

#: The one key that is added to what managers publish. Nodes without this library ignore it.
BUS_KEY: Final = "asgi_ws_observe"


def lag_of(mark: Mapping[str, Any], own: bool) -> float | None:
    """Return how old a message is by its mark, seconds; `None` where that does not say when.

    Args:
        mark: What the publisher added.
        own: Whether it was this process.
    """
    began = mark.get("clock" if own else "time")
    if not isinstance(began, (int, float)):
        return None
    # One clock that only goes forward, or two of different machines.
    return max(0.0, (perf_counter() if own else time.time()) - began)


class Delivering(Sending):
    """What another node asked for, while this one does it.

    Attributes:
        message: What the manager is to work on.
    """

    __slots__ = ("_ignored", "_lag", "_method", "_remote", "message")

    def __init__(self, observer: Observer, method: str, message: dict[str, Any]) -> None:
        super().__init__(observer, "other")
        self._method = method
        self.message = message
        self._ignored = False
        self._remote: SpanContext | None = None
        self._lag: float | None = None

    def _begin(self) -> None:
        observer, message = self._observer, self.message
        mark = message.get(BUS_KEY)
        event = message.get("event") if self._method == "emit" else self._method
        self._ignored = self._method == "emit" and str(event) in observer.ignored
        if isinstance(mark, dict) and not self._ignored and observer.spans.of_events():
            self._remote = remote_context(mark)
            self._lag = lag_of(mark, False)
        # One who is disconnected is named by the sid alone.
        room = message.get("room") or message.get("sid")
        namespace = message.get("namespace") or "/"
        self._address(event, namespace, room, message.get("skip_sid"))
        if self._remote is not None and self._concerns():
            self._span = observer.spans.start(
                f"deliver {self._label if self._method == 'emit' else self._method}",
                SpanKind.CONSUMER,
                inside(self._remote),
                self._described(),
            )
            self._around = EMPTY
        else:
            self._enter(EMPTY)
        self._stand()

    def _concerns(self) -> bool:
        """Return whether anybody here is meant: the other nodes have no part in the trace."""
        rooms = self._observer.manager.rooms.get(self.message.get("namespace") or "/", {})
        # Every client is in a room of its own name.
        room = self.message.get("sid") or self.message.get("room")
        if isinstance(room, (list, tuple)):
            return any(each in rooms for each in room)
        return room in rooms

    def _described(self) -> dict[str, Any]:
        attributes = self._attributes() | {
            "messaging.operation.type": "process",
            "socketio.bus": str(self._observer.manager.name),
            "socketio.bus.method": self._method,
        }
        if self._method != "emit":
            del attributes["messaging.socket.io.event_name"], attributes["socketio.target"]
        return attributes if self._lag is None else attributes | {"socketio.bus.lag": self._lag}

    def _end(self, error: BaseException | None) -> None:
        emitting.reset(self._token)
        if self._method == "emit" and not self._ignored:
            self._count()
        span = self._span
        if span is None:
            return
        if self._method == "emit":
            span.set_attribute("socketio.recipients", self.recipients or 0)
        if isinstance(error, Exception):
            fail(span, error)
        span.end()
