"""Who is in which room, and how a message reaches them.

Without a bus the rooms are this process's own. With one (`demo_app.bus`) every node publishes what
its people say, and delivers what all nodes published, itself included, to its people. Nothing else
in this application knows how a message travels.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Protocol

from asgi_ws_observe.fanout import Hub, Member

from .presence import Presence

__all__ = ["Event", "Guest", "Publisher", "Rooms"]

Event = dict[str, Any]

#: Chat messages of a room that are kept.
_KEPT: Final = 30
#: What its author does not hear of: they know.
_FOR_OTHERS: Final = frozenset({"join", "leave", "typing"})


@dataclass(eq=False, slots=True)
class Guest:
    """Somebody in a room on this node.

    Attributes:
        room: The room.
        name: Unique in the room, as far as this node knows.
        place: Their place in the library's hub.
    """

    room: str
    name: str
    place: Member


class Publisher(Protocol):
    """What carries events to all nodes."""

    async def publish(self, room: str, event: Event) -> bool:
        """Publish an event; return whether it will come back to this node, and so to the others."""


class Rooms:
    """The rooms as this node sees them.

    A name is taken if it is taken on any node that this one knows of. That is the best effort: two
    who join at the same moment on two nodes can have one name. The history of a room is what this
    node delivered while somebody was there, so a node that has just started has none.

    Args:
        node: This node's name.
        hub: What sends to the clients. Default: one that closes with 4008 where a client reads too
            slowly.

    Attributes:
        id: This process among all nodes, another one after every start.
        node: This node's name.
        hub: What sends to the clients.
        others: Who is there on other nodes.
        publisher: Carries events to all nodes; `None` while there is this one only.
        changed: Set when somebody came or went here.
    """

    def __init__(self, node: str, hub: Hub | None = None) -> None:
        self.id = secrets.token_hex(8)
        self.node = node
        self.hub = hub or Hub(policy="close", close_code=4008)
        self.others = Presence()
        self.publisher: Publisher | None = None
        self.changed = asyncio.Event()
        self._guests: dict[str, dict[str, Guest]] = {}
        self._history: dict[str, deque[Event]] = {}
        # What only this node heard of, since the bus was down.
        self._late: deque[tuple[str, float]] = deque(maxlen=200)

    def join(self, room: str, name: str, websocket: Any) -> Guest | None:
        """Let somebody in, in their own handler; return `None` where the name is taken."""
        if name in self.names(room):
            return None
        guest = Guest(room, name, self.hub.join(room, websocket))
        self._guests.setdefault(room, {})[name] = guest
        self.changed.set()
        return guest

    async def leave(self, guest: Guest) -> None:
        """Let somebody go; what still waits for them is dropped."""
        here = self._guests.get(guest.room, {})
        if here.get(guest.name) is guest:
            del here[guest.name]
            if not here:
                del self._guests[guest.room]
            self._forget([guest.room])
            self.changed.set()
        await guest.place.leave()

    def names(self, room: str) -> list[str]:
        """Return who is in a room: those of this node in the order of their coming, the others."""
        return list(dict.fromkeys([*self._guests.get(room, ()), *self.others.names(room)]))

    def counts(self) -> dict[str, int]:
        """Return every room that has members, and how many."""
        return {room: len(self.names(room)) for room in [*self._guests, *self.others.rooms()]}

    def history(self, room: str) -> list[Event]:
        """Return the last chat messages of a room, as far as this node delivered them."""
        return list(self._history.get(room, ()))

    def here(self) -> dict[str, list[str]]:
        """Return the members of every room on this node."""
        return {room: list(guests) for room, guests in self._guests.items()}

    async def publish(self, room: str, event: Event) -> bool:
        """Send an event to everybody in a room, on all nodes.

        Returns:
            Whether all nodes hear it; where the bus is down only this one does.
        """
        event = {**event, "node": self.node, "at": round(time.time(), 3)}
        if self.publisher is not None and await self.publisher.publish(room, event):
            return True
        self.deliver(room, event, self.id)
        if self.publisher is None:
            return True
        self._late.append((event["name"], event["at"]))
        return False

    def deliver(self, room: str, event: Event, node: str) -> int:
        """Send an event to those who are in a room on this node; return how many they are.

        Args:
            room: The room.
            event: What happened.
            node: The id of the node that published it.
        """
        kind, name, author = event["type"], event["name"], None
        if node == self.id and (name, event.get("at")) in self._late:
            # A broker that hung has taken it after all; here it is no news.
            return 0
        if kind == "chat":
            self._history.setdefault(room, deque(maxlen=_KEPT)).append(event)
        if node != self.id:
            if kind == "join":
                self.others.came(node, room, name)
            elif kind == "leave":
                self.others.went(node, room, name)
        elif kind in _FOR_OTHERS:
            author = self._guests.get(room, {}).get(name)
        if kind in ("join", "leave"):
            event = {**event, "members": self.names(room)}
        self._forget([room])
        place = author.place if author else None
        return self.hub.send(room, event, besides=place).recipients

    def heard(self, node: str, name: str, rooms: dict[str, list[str]] | None) -> None:
        """Take in who is there on another node; `None` where it says goodbye."""
        if node == self.id:
            return
        if rooms is None:
            self._tell(self.others.gone(node))
            return
        if not self.others.knows(node):
            # It has just started, and knows nobody.
            self.changed.set()
        self._tell(self.others.heard(node, name, rooms))

    def expire(self) -> None:
        """Forget who has not been heard of for too long."""
        self._tell(self.others.expire())

    def _tell(self, rooms: set[str]) -> None:
        """Show those who are here that others came or went without a word of their own."""
        self._forget(rooms)
        for room in rooms & self._guests.keys():
            self.hub.send(room, {"type": "members", "members": self.names(room)})

    def _forget(self, rooms: Any) -> None:
        """Forget what was said where nobody is any more."""
        for room in rooms:
            if not self.names(room):
                self._history.pop(room, None)
