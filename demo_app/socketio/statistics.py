"""A small service of the application, with spans of its own inside those of the events."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opentelemetry import trace

from .store import Message, Store

__all__ = ["Statistics"]

tracer = trace.get_tracer("demo_app")


class Statistics:
    """What can be said about a room.

    Args:
        store: Where its messages are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of_room(self, room: str) -> dict[str, Any]:
        """Return how much was said in a room, who says most, and the word that is said most."""
        with tracer.start_as_current_span("statistics.of_room"):
            messages = await self._store.last(room)
            with tracer.start_as_current_span("statistics.count") as span:
                span.set_attribute("statistics.messages", len(messages))
                return _counted(messages)


def _counted(messages: list[Message]) -> dict[str, Any]:
    speakers = Counter(str(each["name"]) for each in messages)
    words = Counter(
        word
        for each in messages
        for word in str(each["text"]).casefold().split()
        if len(word) > 3 and word.isalpha()
    )
    return {
        "messages": len(messages),
        "speakers": len(speakers),
        "nodes": len({each["node"] for each in messages}),
        "most": speakers.most_common(1),
        "word": words.most_common(1),
    }
