"""Trace context in the payloads of Socket.IO, which has no place of its own for it.

An event carries it as one more argument, the last: ``{"traceparent": "00-..."}``, perhaps with
``tracestate`` and ``baggage``. A connection carries it as keys of ``auth``. The form is that of the
W3C's Trace Context.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..tracing.carriers import remote_context

__all__ = ["carrier_of", "split_auth", "split_event", "with_carrier"]

_W3C: Final = TraceContextTextMapPropagator()
_KEYS: Final = frozenset({"traceparent", "tracestate", "baggage"})
# Under which an older form nests its carrier.
_OLDER: Final = "_traceContext"
# The W3C asks for 8192 bytes of baggage to be passed on; of the others it asks for less.
_MAX_VALUE: Final = 8192


def split_event(data: list[Any]) -> tuple[list[Any], SpanContext | None]:
    """Take the trace context off an event's arguments.

    Only what cannot be meant for the application is taken: a last argument that has a valid
    ``traceparent`` and no key besides those of a carrier.

    Args:
        data: The event's name and its arguments, as received; it is not modified.

    Returns:
        The name and the arguments without the carrier, and the sender's span context. The very
        same object and `None` where there is no carrier.
    """
    # Nearly every argument is something else, and nearly every object has another key.
    if type(data) is not list or len(data) < 2 or type(last := data[-1]) is not dict:
        return data, None
    if "traceparent" not in last:
        nested = last.get(_OLDER) if len(last) == 1 else None
        if nested is None:
            return data, None
        last = nested
    if not _is_carrier(last) or (found := remote_context(last)) is None:
        return data, None
    return data[:-1], found


def _is_carrier(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() <= _KEYS
        and all(type(each) is str and len(each) <= _MAX_VALUE for each in value.values())
    )


def split_auth(auth: Any) -> tuple[Any, SpanContext | None]:
    """Take the trace context out of what a client connects with.

    Args:
        auth: The payload of the ``CONNECT`` packet; it is not modified.

    Returns:
        The payload without the carrier's keys and the client's span context. `None` stands for a
        payload of which nothing is left, as for a client that sends none. The very same object
        and `None` where there is no valid ``traceparent``.
    """
    if not isinstance(auth, dict) or (found := remote_context(auth)) is None:
        return auth, None
    return {key: value for key, value in auth.items() if key not in _KEYS} or None, found


def carrier_of(context: Context | None = None) -> dict[str, str]:
    """Return ``traceparent`` and, where there is one, ``tracestate``; empty without a span.

    Args:
        context: Whose span to carry; `None` for the current one.
    """
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context)
    return carrier


def with_carrier(data: Any, carrier: dict[str, str]) -> Any:
    """Return the arguments of an event with the carrier as the last; as they are were it empty.

    Args:
        data: As python-socketio's ``emit`` takes it: a tuple is several arguments, `None` is
            none, anything else is one.
        carrier: What `carrier_of` returned.
    """
    if not carrier:
        return data
    if data is None:
        return (carrier,)
    return (*data, carrier) if isinstance(data, tuple) else (data, carrier)
