"""`demo_app.rooms`: who is in a room, and what reaches them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from asgi_ws_observe.fanout import Hub
from demo_app.rooms import Event, Guest, Rooms
from tests.support import until


class Inbox:
    """A client's end.

    Attributes:
        heard: What came.
        codes: What it was closed with.
    """

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.codes: list[int] = []

    async def send_text(self, data: str) -> None:
        """Take a text."""
        self.heard.append(json.loads(data))

    async def send_bytes(self, data: bytes) -> None:
        """Take nothing of the kind."""
        raise AssertionError(data)

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Be closed."""
        self.codes.append(code)


class Stuck(Inbox):
    """The end of a client that no longer reads."""

    async def send_text(self, data: str) -> None:
        """Wait forever."""
        await asyncio.Event().wait()


class Bus:
    """Carries events, or not.

    Attributes:
        is_up: Which of the two.
        said: What was published.
    """

    def __init__(self) -> None:
        self.is_up = True
        self.said: list[tuple[str, Event]] = []

    async def publish(self, room: str, event: Event) -> bool:
        """Take an event."""
        if self.is_up:
            self.said.append((room, event))
        return self.is_up


def enter(rooms: Rooms, name: str, inbox: Inbox | None = None, room: str = "lobby") -> Guest:
    """Let somebody in."""
    guest = rooms.join(room, name, inbox or Inbox())
    assert guest is not None
    return guest


def texts(events: list[Event]) -> list[Any]:
    """Return what was said."""
    return [event["text"] for event in events if event["type"] == "chat"]


async def test_join_takes_a_name_once() -> None:
    """A name is taken in its room, here or on another node, and free in another room."""
    rooms = Rooms("a")
    enter(rooms, "Ada")
    assert rooms.join("lobby", "Ada", Inbox()) is None
    enter(rooms, "Ada", room="tea")
    rooms.heard("other", "b", {"tea": ["Bo"]})
    assert rooms.join("tea", "Bo", Inbox()) is None
    assert {"lobby": 1, "tea": 2} == rooms.counts()
    assert {"lobby": ["Ada"], "tea": ["Ada"]} == rooms.here()


async def test_leave_frees_the_name_and_the_room() -> None:
    """Who leaves is gone, the empty room and its history with them."""
    rooms = Rooms("a")
    ada = enter(rooms, "Ada")
    await rooms.publish("lobby", {"type": "chat", "name": "Ada", "text": "hello"})
    assert ["hello"] == texts(rooms.history("lobby"))
    await rooms.leave(ada)
    await rooms.leave(ada)
    assert {} == rooms.counts()
    assert not rooms.names("lobby")
    assert not rooms.history("lobby")


async def test_publish_reaches_the_room_only() -> None:
    """Everybody in the room hears it, its author not of their own typing, and nobody elsewhere."""
    rooms, ada, grace, other = Rooms("a"), Inbox(), Inbox(), Inbox()
    enter(rooms, "Ada", ada)
    enter(rooms, "Grace", grace)
    enter(rooms, "Ada", other, "tea")
    assert await rooms.publish("lobby", {"type": "typing", "name": "Ada"})
    assert await rooms.publish("lobby", {"type": "join", "name": "Grace"})
    await until(lambda: ada.heard and grace.heard)
    assert [("typing", "a")] == [(each["type"], each["node"]) for each in grace.heard]
    assert [["Ada", "Grace"]] == [each["members"] for each in ada.heard]
    assert [] == other.heard
    await rooms.publish("nowhere", {"type": "typing", "name": "Ada"})


async def test_publish_keeps_the_last_chat_as_history() -> None:
    """The last chat messages of a room are kept, other events are not."""
    rooms = Rooms("a")
    enter(rooms, "Ada")
    for number in range(40):
        await rooms.publish("lobby", {"type": "chat", "name": "Ada", "text": str(number)})
        await rooms.publish("lobby", {"type": "typing", "name": "Ada"})
    assert [str(each) for each in range(10, 40)] == texts(rooms.history("lobby"))
    assert [] == rooms.history("tea")


async def test_slow_client_is_closed() -> None:
    """A client that does not read is closed, and the others hear everything."""
    rooms, ada, stuck = Rooms("a", Hub(queue=2, policy="close", close_code=4008)), Inbox(), Stuck()
    slow = enter(rooms, "Slow", stuck)
    enter(rooms, "Ada", ada)
    for number in range(4):
        await rooms.publish("lobby", {"type": "chat", "name": "Ada", "text": str(number)})
        await asyncio.sleep(0)
    await until(lambda: stuck.codes and len(ada.heard) == 4)
    assert [4008] == stuck.codes
    assert not slow.place.is_in
    assert ["0", "1", "2", "3"] == texts(ada.heard)


async def test_what_the_bus_carries_is_delivered_when_it_comes_back() -> None:
    """With a bus nothing is delivered directly, unless the bus is down."""
    rooms, bus, ada = Rooms("a"), Bus(), Inbox()
    rooms.publisher = bus
    enter(rooms, "Ada", ada)
    event = {"type": "chat", "name": "Ada", "text": "hello"}
    assert await rooms.publish("lobby", event)
    (room, said), *_ = bus.said
    assert ("lobby", []) == (room, rooms.history("lobby"))
    assert 1 == rooms.deliver(room, said, rooms.id)
    bus.is_up = False
    assert not await rooms.publish("lobby", event)
    await until(lambda: len(ada.heard) == 2)
    assert ["a", "a"] == [each["node"] for each in ada.heard]


async def test_what_a_hanging_bus_brings_late_is_no_news() -> None:
    """What was delivered here alone is not delivered again when the bus has taken it after all."""
    rooms, bus, ada = Rooms("a"), Bus(), Inbox()
    rooms.publisher, bus.is_up = bus, False
    enter(rooms, "Ada", ada)
    await rooms.publish("lobby", {"type": "chat", "name": "Ada", "text": "hello"})
    await until(lambda: ada.heard)
    (said,) = ada.heard
    assert 0 == rooms.deliver("lobby", said, rooms.id)
    assert 1 == rooms.deliver("lobby", said, "other")
    assert ["hello", "hello"] == texts(rooms.history("lobby"))


async def test_people_of_other_nodes_come_and_go() -> None:
    """Who joins elsewhere is a member here at once; a change without a word is shown as well."""
    rooms, ada = Rooms("a"), Inbox()
    enter(rooms, "Ada", ada)
    rooms.changed.clear()
    rooms.heard("other", "b", {})
    # It has to be told who is here.
    assert rooms.changed.is_set()
    rooms.deliver("lobby", {"type": "join", "name": "Bo", "node": "b"}, "other")
    rooms.heard("other", "b", {"lobby": ["Bo"]})
    rooms.heard("other", "b", {"lobby": ["Bo", "Cy"]})
    rooms.deliver("lobby", {"type": "leave", "name": "Cy", "node": "b"}, "other")
    rooms.heard("other", "b", None)
    rooms.heard(rooms.id, "a", {"lobby": ["Ghost"]})
    rooms.expire()
    await until(lambda: len(ada.heard) == 4)
    assert [
        ("join", ["Ada", "Bo"]),
        ("members", ["Ada", "Bo", "Cy"]),
        ("leave", ["Ada", "Bo"]),
        ("members", ["Ada"]),
    ] == [(each["type"], each["members"]) for each in ada.heard]
