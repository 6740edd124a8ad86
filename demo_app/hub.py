"""Who is in which room, and how a message reaches them.

This hub is in memory: every worker process has its own rooms, and two people in two workers never
meet. THIS IS WHERE REDIS WILL GO: another class with the methods of `Hub`, whose `publish` sends to
a Redis channel and whose subscription calls `MemoryHub.publish` in every worker. Nothing else in
this application knows how a message travels.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Event", "Hub", "Member", "MemoryHub"]

Event = dict[str, Any]


@dataclass(eq=False, slots=True)
class Member:
    """Somebody in a room.

    Attributes:
        room: The room.
        name: Unique in the room.
        send: Delivers a text; may raise, may wait for a slow client.
    """

    room: str
    name: str
    send: Callable[[str], Awaitable[None]]


class Hub(Protocol):
    """What the chat needs; see the module for where Redis comes in."""

    def join(self, member: Member) -> bool:
        """Add a member; return whether the name was free."""

    def leave(self, member: Member) -> None:
        """Remove a member; one who is not there is no error."""

    def has(self, member: Member) -> bool:
        """Return whether this very member is in its room."""

    def names(self, room: str) -> list[str]:
        """Return who is in a room, in the order of their coming."""

    def history(self, room: str) -> list[Event]:
        """Return the last chat messages of a room."""

    def rooms(self) -> dict[str, int]:
        """Return every room that has members, and how many."""

    async def publish(self, room: str, event: Event, besides: Member | None = None) -> None:
        """Deliver an event to everybody in a room."""


@dataclass(slots=True)
class _Room:
    members: dict[str, Member] = field(default_factory=dict)
    history: deque[Event] = field(default_factory=lambda: deque(maxlen=30))


class MemoryHub:
    """The rooms of one process.

    Args:
        patience: Seconds that one delivery may take; who needs longer is dropped from the room, or
            one slow reader would hold up everybody who writes to it.
    """

    def __init__(self, patience: float = 5.0) -> None:
        self._patience = patience
        self._rooms: dict[str, _Room] = {}

    def join(self, member: Member) -> bool:
        members = self._rooms.setdefault(member.room, _Room()).members
        return members.setdefault(member.name, member) is member

    def leave(self, member: Member) -> None:
        if self.has(member):
            del self._rooms[member.room].members[member.name]
            if not self._rooms[member.room].members:
                del self._rooms[member.room]

    def has(self, member: Member) -> bool:
        room = self._rooms.get(member.room)
        return room is not None and room.members.get(member.name) is member

    def names(self, room: str) -> list[str]:
        return list(self._rooms[room].members) if room in self._rooms else []

    def history(self, room: str) -> list[Event]:
        return list(self._rooms[room].history) if room in self._rooms else []

    def rooms(self) -> dict[str, int]:
        return {name: len(room.members) for name, room in self._rooms.items()}

    async def publish(self, room: str, event: Event, besides: Member | None = None) -> None:
        found = self._rooms.get(room)
        if found is None:
            return
        event = {**event, "at": round(time.time(), 3)}
        if event["type"] == "chat":
            found.history.append(event)
        text = json.dumps(event, ensure_ascii=False)
        members = [member for member in found.members.values() if member is not besides]
        await asyncio.gather(*(self._deliver(member, text) for member in members))

    async def _deliver(self, member: Member, text: str) -> None:
        try:
            await asyncio.wait_for(member.send(text), self._patience)
        except asyncio.TimeoutError:
            self.leave(member)
        except Exception:  # noqa: BLE001, S110
            # Somebody on the way out: their own handler hears of it and leaves.
            pass
