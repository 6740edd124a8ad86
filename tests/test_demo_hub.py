"""`demo_app.hub`: who is in a room, and what reaches them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from demo_app.hub import Member, MemoryHub


class Inbox:
    """A client's end."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    async def send(self, text: str) -> None:
        """Take a text."""
        self.heard.append(json.loads(text))


class Gone(Inbox):
    """The end of a client that left."""

    async def send(self, text: str) -> None:
        """Fail, as a server does."""
        raise OSError("gone")


class Stuck(Inbox):
    """The end of a client that no longer reads."""

    async def send(self, text: str) -> None:
        """Wait forever."""
        await asyncio.Event().wait()


def member(name: str, inbox: Inbox | None = None, room: str = "lobby") -> Member:
    """Return a member of a room."""
    return Member(room, name, (inbox or Inbox()).send)


def test_join_takes_a_name_once() -> None:
    """A name is taken in its room, and free in another."""
    hub = MemoryHub()
    assert hub.join(member("Ada"))
    assert not hub.join(member("Ada"))
    assert hub.join(member("Ada", room="tea"))
    assert hub.rooms() == {"lobby": 1, "tea": 1}


def test_leave_frees_the_name_and_the_room() -> None:
    """Who leaves is gone, the empty room with them; a namesake that never got in removes nobody."""
    hub, ada = MemoryHub(), member("Ada")
    hub.join(ada)
    hub.leave(member("Ada"))
    assert hub.has(ada)
    hub.leave(ada)
    hub.leave(ada)
    assert not hub.has(ada)
    assert hub.rooms() == {}
    assert hub.names("lobby") == []


async def test_publish_reaches_the_room_only() -> None:
    """Everybody in the room hears it, but for the one left out, and nobody elsewhere."""
    hub, ada, grace, other = MemoryHub(), Inbox(), Inbox(), Inbox()
    sender = member("Ada", ada)
    for each in (sender, member("Grace", grace), member("Ada", other, "tea")):
        hub.join(each)
    await hub.publish("lobby", {"type": "typing", "name": "Ada"}, besides=sender)
    assert [event["name"] for event in grace.heard] == ["Ada"]
    assert ada.heard == other.heard == []
    await hub.publish("nowhere", {"type": "typing"})


async def test_publish_keeps_chat_as_history() -> None:
    """The last chat messages of a room are kept, other events are not."""
    hub = MemoryHub()
    hub.join(member("Ada"))
    for number in range(40):
        await hub.publish("lobby", {"type": "chat", "text": str(number)})
        await hub.publish("lobby", {"type": "typing"})
    assert [event["text"] for event in hub.history("lobby")] == [
        str(each) for each in range(10, 40)
    ]
    assert hub.history("tea") == []


async def test_dead_member_breaks_nobody() -> None:
    """A member whose connection is gone costs the others nothing."""
    hub, ada = MemoryHub(), Inbox()
    hub.join(member("Gone", Gone()))
    hub.join(member("Ada", ada))
    await hub.publish("lobby", {"type": "chat", "text": "hello"})
    assert [event["text"] for event in ada.heard] == ["hello"]


async def test_slow_member_is_dropped() -> None:
    """A member who does not read in time leaves the room, and the others hear everything."""
    hub, ada, stuck = MemoryHub(patience=0.01), Inbox(), member("Stuck", Stuck())
    hub.join(stuck)
    hub.join(member("Ada", ada))
    await hub.publish("lobby", {"type": "chat", "text": "hello"})
    assert not hub.has(stuck)
    assert hub.names("lobby") == ["Ada"]
    assert [event["text"] for event in ada.heard] == ["hello"]
