"""Who is on this node, and how the pages on all nodes get to know that."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from .protocol import PRESENT, WATCHERS

__all__ = ["People", "Person"]

#: How often a node says who is there, seconds: pages forget the people of a node that is silent.
EVERY: Final = 2.0
#: Between two words about it, seconds, however many come and go.
_REST: Final = 0.1
#: So many are told by name; the rest only counts.
_MOST: Final = 40


@dataclass(slots=True)
class Person:
    """One client; ``room`` is empty where it is in none."""

    sid: str
    name: str
    room: str = ""


class People:
    """The clients of this node.

    Args:
        facts: What a node says about itself with them: its name and its port.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        self._known: dict[str, Person] = {}
        self._changed = asyncio.Event()

    def came(self, sid: str, name: str) -> None:
        """Take in that somebody connected."""
        self._known[sid] = Person(sid, name)
        self._changed.set()

    def went(self, sid: str) -> None:
        """Take in that somebody left."""
        if self._known.pop(sid, None):
            self._changed.set()

    def moved(self, sid: str, room: str) -> None:
        """Take in that somebody is in another room."""
        self._known[sid].room = room
        self._changed.set()

    def get(self, sid: str) -> Person:
        """Return a client of this node."""
        return self._known[sid]

    def here(self) -> dict[str, Any]:
        """Return what this node tells."""
        everybody = list(self._known.values())
        return self._facts | {
            "rooms": Counter(each.room for each in everybody if each.room),
            "people": [[each.sid, each.name, each.room] for each in everybody[:_MOST]],
        }

    async def tell(self, server: Any, *, often: bool) -> None:
        """Tell the watchers whenever somebody came or went.

        Args:
            server: The Socket.IO server.
            often: Whether there may be watchers on other nodes, who came after that.
        """
        while True:
            self._changed.clear()
            await server.emit(PRESENT, self.here(), room=WATCHERS)
            await asyncio.sleep(_REST)
            try:
                await asyncio.wait_for(self._changed.wait(), EVERY if often else None)
            except asyncio.TimeoutError:
                continue
