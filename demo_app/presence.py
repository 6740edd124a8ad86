"""Who is in which room on the other nodes, as far as they have said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["EVERY", "FORGET_AFTER", "Presence"]

#: How often a node says who is there, seconds.
EVERY: Final = 2.0
#: Who has not been heard of for so many seconds is gone.
FORGET_AFTER: Final = 6.0


@dataclass(slots=True)
class _Node:
    name: str
    heard: float
    rooms: dict[str, list[str]] = field(default_factory=dict)


class Presence:
    """The other nodes and their members; a node is known by its id, since names may repeat.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nodes: dict[str, _Node] = {}

    def heard(self, node: str, name: str, rooms: Mapping[str, Iterable[str]]) -> set[str]:
        """Take in all that a node says of itself; return the rooms in which that changed something.

        Args:
            node: Its id.
            name: Its name.
            rooms: The members of each of its rooms.
        """
        known = self._nodes.setdefault(node, _Node(name, 0.0))
        before, known.rooms = known.rooms, {room: list(names) for room, names in rooms.items()}
        known.heard = self._clock()
        return {
            room
            for room in before.keys() | known.rooms.keys()
            if set(before.get(room, ())) != set(known.rooms.get(room, ()))
        }

    def knows(self, node: str) -> bool:
        """Return whether a node has been heard of."""
        return node in self._nodes

    def came(self, node: str, room: str, name: str) -> None:
        """Take in that somebody joined on another node, which says the same again if it is new."""
        if node in self._nodes:
            names = self._nodes[node].rooms.setdefault(room, [])
            if name not in names:
                names.append(name)

    def went(self, node: str, room: str, name: str) -> None:
        """Take in that somebody left on another node."""
        if node in self._nodes:
            rooms = self._nodes[node].rooms
            rooms[room] = [each for each in rooms.get(room, ()) if each != name]
            if not rooms[room]:
                del rooms[room]

    def gone(self, node: str) -> set[str]:
        """Forget a node; return the rooms that it had members in."""
        known = self._nodes.pop(node, None)
        return set(known.rooms) if known else set()

    def expire(self) -> set[str]:
        """Forget the nodes that have been silent for too long; return their rooms."""
        now = self._clock()
        silent = [node for node, known in self._nodes.items() if now - known.heard > FORGET_AFTER]
        return set().union(*(self.gone(node) for node in silent))

    def names(self, room: str) -> list[str]:
        """Return who is in a room on any of these nodes."""
        return [name for known in self._nodes.values() for name in known.rooms.get(room, ())]

    def rooms(self) -> list[str]:
        """Return every room that has members on these nodes."""
        return list(dict.fromkeys(room for known in self._nodes.values() for room in known.rooms))

    def nodes(self) -> list[str]:
        """Return the names of these nodes."""
        return [known.name for known in self._nodes.values()]
