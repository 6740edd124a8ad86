"""Rooms that clients enter and leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from ..tracing.contexts import get_current
from .spans import attributes_of

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["is_member", "moved"]


def is_member(observer: Observer, sid: Any, namespace: str, room: Any) -> bool:
    """Return whether a client is in a room that is not its own, nor all clients'."""
    if room is None or room == sid:
        return False
    return sid in observer.manager.rooms.get(namespace, {}).get(room, ())


def moved(observer: Observer, way: str, sid: Any, namespace: str, room: Any) -> None:
    """Count a client that has entered or left a room.

    Its span is part of what is being done: a room that is left at the end of a connection has none.

    Args:
        observer: Whose.
        way: ``join`` or ``leave``.
        sid: The client.
        namespace: Where.
        room: Which.
    """
    numbers, category = observer.namespace(namespace), observer.names.category(room)
    counts = numbers.joins if way == "join" else numbers.leaves
    counts[category] = counts.get(category, 0) + 1
    if way == "leave" and sid not in observer.connections:
        return
    current = get_current()
    if trace.get_current_span(current).is_recording() and observer.spans.of_events():
        observer.spans.start(
            f"{way} {category}",
            SpanKind.INTERNAL,
            current,
            attributes_of(numbers.label) | {"messaging.destination.template": category},
        ).end()
