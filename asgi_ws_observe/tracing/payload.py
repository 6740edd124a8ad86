"""What a message says about itself: its type, and the trace context of who sent it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from opentelemetry.trace import SpanContext

from ..hooks import OwnErrors
from ..settings import Settings
from .carriers import remote_context

__all__ = ["PayloadReader", "context_in"]

# Keys under which tutorials nest a carrier.
_NESTED: Final = ("_otel", "_traceContext")
_NOTHING: Final[Mapping[str, Any]] = {}


class PayloadReader:
    """Reads the type and the carrier out of messages that are JSON objects.

    Attributes:
        asks: Whether every message is to be read, since the application has a function for it.

    Args:
        settings: `message_type`, `message_type_keys` and `message_json_bytes` count.
    """

    def __init__(self, settings: Settings) -> None:
        self._callback = settings.message_type
        self.asks = self._callback is not None
        self._keys: Sequence[str] = settings.message_type_keys or ()
        self._most = settings.message_json_bytes

    def read(
        self, message: Mapping[str, Any], size: int, *, carrier: bool, errors: OwnErrors
    ) -> tuple[str | None, SpanContext | None]:
        """Return a message's type and its sender's span context, `None` for what it has not.

        Args:
            message: The ASGI message.
            size: Bytes of its payload.
            carrier: Whether to look for a span context.
            errors: Where a failure of the application's own function goes; it is called no more.
        """
        kind = None if self._callback is None else self._ask(message, errors)
        if not carrier and (kind is not None or not self._keys):
            return kind, None
        envelope = self._object(message, size)
        if not envelope:
            return kind, None
        if kind is None:
            kind = self._type_in(envelope)
        return kind, context_in(envelope) if carrier else None

    def _ask(self, message: Mapping[str, Any], errors: OwnErrors) -> str | None:
        callback = self._callback
        try:
            kind = callback(message)  # type: ignore[misc]
            return None if kind is None else str(kind)
        except Exception as error:  # noqa: BLE001
            self._callback = None
            errors.report("message_type", error, callback, "types are read as usual from now on")
            return None

    def _object(self, message: Mapping[str, Any], size: int) -> Mapping[str, Any]:
        if size > self._most:
            return _NOTHING
        data = message.get("text")
        if data is None:
            data = message.get("bytes") or b""
        try:
            value = orjson.loads(data)
        except ValueError:
            return _NOTHING
        return value if isinstance(value, dict) else _NOTHING

    def _type_in(self, envelope: Mapping[str, Any]) -> str | None:
        for key in self._keys:
            value = envelope.get(key)
            if isinstance(value, str) and value:
                return value
            # Some protocols number their operations.
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
        return None


def context_in(envelope: Mapping[str, Any]) -> SpanContext | None:
    """Return the span context that a JSON object carries, `None` where it carries none.

    Args:
        envelope: Has the carrier at the top level, as in CloudEvents' extension for distributed
            tracing, or under ``_otel`` or ``_traceContext``.
    """
    if "traceparent" in envelope:
        return remote_context(envelope)
    for key in _NESTED:
        nested = envelope.get(key)
        if isinstance(nested, dict):
            return remote_context(nested)
    return None
