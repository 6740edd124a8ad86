"""Spans of what the application sends, for those who ask for them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from ..traffic import size_of
from .messages import Detail, fail
from .upgrade import ConnectionTrace

if TYPE_CHECKING:
    from ..connection import Connection

__all__ = ["SendSpans"]


class SendSpans:
    """Makes spans ``ws.send {type}`` of one connection, afterwards, with their true times.

    They are bounded as those of received messages are. Their parent is what is current where the
    application sends: the message that it works on, or, for a broadcast, that of another
    connection; this connection is linked then.
    """

    __slots__ = ("_bucket", "_connection", "_detail", "_trace")

    def __init__(self, connection: Connection, detail: Detail, upgrade: ConnectionTrace) -> None:
        self._connection = connection
        self._detail = detail
        self._bucket = detail.bucket_of(connection)
        self._trace = upgrade

    def sent(
        self,
        message: Mapping[str, Any],
        started: float,
        now: float,
        error: BaseException | None = None,
    ) -> None:
        """Make the span of one message, if it is due, was slow or failed."""
        if started >= self._bucket.opens_at:
            self._bucket.take(started)
        elif now - started < self._detail.slow and error is None:
            return
        ended = time.time_ns()
        upgrade, current = self._trace, otel_context.get_current()
        trace_id = trace.get_current_span(current).get_span_context().trace_id
        links = None
        if trace_id == 0:
            current = trace.set_span_in_context(upgrade.span, current)
        elif trace_id != upgrade.identity.trace_id:
            links = (Link(upgrade.identity),)
        began = ended - round((now - started) * 1e9)
        span = self._detail.start_span(
            "ws.send", current, SpanKind.PRODUCER, None, links, start_time=began
        )
        self._describe(span, message)
        if error is not None:
            fail(span, error)
        span.end(ended)

    def _describe(self, span: trace.Span, message: Mapping[str, Any]) -> None:
        connection, detail, size = self._connection, self._detail, size_of(message)
        kind, _ = detail.reader.read(
            message, size, carrier=False, errors=connection.observation.errors
        )
        span.set_attribute("ws.connection.id", connection.id)
        detail.describe(span, "ws.send", kind, message, size)
