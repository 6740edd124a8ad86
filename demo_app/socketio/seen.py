"""The last spans and log lines of this process, for the page; a real one goes to a collector."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode

from asgi_ws_observe import JSONFormatter

__all__ = ["Seen"]

_SPANS: Final = 600
_LINES: Final = 60
#: Attributes that the page shows.
_SHOWN: Final = (
    *("socketio.recipients", "socketio.event.outcome", "socketio.connect.outcome"),
    *("socketio.connect.refusal", "socketio.bus.lag", "socketio.bus.outcome", "error.type"),
    *("messaging.destination.template", "socketio.ack.latency", "db.system.name"),
)


class Seen:
    """Keeps them, numbered, so that a page can ask for what it has not got yet.

    Args:
        node: This node's name.

    Attributes:
        spans: What gets the spans.
        lines: What gets the log lines.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._numbers = itertools.count(1)
        self._last = 0
        self._kept: dict[str, deque[dict[str, Any]]] = {
            "spans": deque(maxlen=_SPANS),
            "lines": deque(maxlen=_LINES),
        }
        self.spans = _Spans(self)
        self.lines = _Lines(self)

    def since(self, number: int) -> dict[str, Any]:
        """Return what is newer than a number, and the number to ask with next time."""
        newer = {
            kind: [each for each in tuple(kept) if each["number"] > number]
            for kind, kept in self._kept.items()
        }
        return {"node": self._node, "last": self._last, **newer}

    def keep(self, kind: str, found: dict[str, Any]) -> None:
        """Keep one of ``spans`` or ``lines``."""
        self._last = next(self._numbers)
        self._kept[kind].append(found | {"number": self._last, "node": self._node})


class _Spans(SpanProcessor):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span of Socket.IO, or of the application's own."""
        attributes, scope = span.attributes or {}, span.instrumentation_scope
        own = scope is not None and scope.name == "demo_app"
        identity, parent = span.get_span_context(), span.parent
        if identity is None or not (own or attributes.get("messaging.system") == "socket.io"):
            return
        started, ended = span.start_time or 0, span.end_time or 0
        self._seen.keep(
            "spans",
            {
                "trace": f"{identity.trace_id:032x}",
                "span": f"{identity.span_id:016x}",
                "parent": f"{parent.span_id:016x}" if parent else None,
                "name": span.name,
                "kind": span.kind.name.lower(),
                "start": started / 1e6,
                "ms": (ended - started) / 1e6,
                "failed": span.status.status_code is StatusCode.ERROR,
                "facts": {name: attributes[name] for name in _SHOWN if name in attributes},
            },
        )


class _Lines(logging.Handler):
    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen
        self.setFormatter(JSONFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a log line."""
        try:
            self._seen.keep("lines", {"text": self.format(record)})
        except Exception:  # noqa: BLE001
            self.handleError(record)
