"""Rooms: joined and left once, by category, and never by name."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.socketio.conftest import Make
from tests.socketio.peers import Peer
from tests.support import Spans, sample, total


def moves(registry: CollectorRegistry) -> tuple[float, float]:
    """Return how many clients joined and left rooms."""
    return (
        total(registry, "socketio_room_joins_total"),
        total(registry, "socketio_room_leaves_total"),
    )


async def test_room_is_joined_and_left_once(make: Make, registry: CollectorRegistry) -> None:
    """Entering a room twice is one join, and leaving what one is not in is none."""
    sio = make()
    sid = (await Peer.join(sio)).sids["/"]

    for room in ("room:1", "room:1", "room:2"):
        await sio.enter_room(sid, room)
    assert (2, 0) == moves(registry)
    await sio.leave_room(sid, "room:1")
    await sio.leave_room(sid, "room:1")
    await sio.leave_room(sid, "elsewhere")
    assert (2, 1) == moves(registry)
    assert 2 == sample(registry, "socketio_room_joins_total", namespace="/", category="room:{id}")


async def test_client_that_leaves_leaves_its_rooms_without_spans(
    make: Make, registry: CollectorRegistry, spans: Spans
) -> None:
    """They count; a span for each would be noise in the trace of whatever ended the connection."""
    sio = make()
    peer = await Peer.join(sio)
    for number in range(3):
        await sio.enter_room(peer.sids["/"], f"room:{number}")
    with spans.provider.get_tracer("server").start_as_current_span("transport"):
        await peer.leave()
    assert (3, 3) == moves(registry)
    assert [] == spans.named("leave")


async def test_closed_room_is_left_by_all(make: Make, registry: CollectorRegistry) -> None:
    """`close_room` is a leave of each member."""
    sio = make()
    for _ in range(3):
        peer = await Peer.join(sio)
        await sio.enter_room(peer.sids["/"], "room:1")
    await sio.close_room("room:1")
    assert (3, 3) == moves(registry)
    assert None is sample(registry, "socketio_rooms", namespace="/", category="room:{id}")


async def test_room_that_cannot_be_entered_is_no_join(
    make: Make, registry: CollectorRegistry
) -> None:
    """The library says so, and nothing is counted."""
    sio = make()
    first, second = await Peer.join(sio), await Peer.join(sio)
    with pytest.raises(ValueError, match="not connected"):
        await sio.enter_room(first.sids["/"], "room:1", namespace="/other")
    moved = moves(registry)
    assert (0, 0) == moved
    assert second.sids != first.sids


async def test_join_outside_of_a_trace_has_no_span(make: Make, spans: Spans) -> None:
    """A span of its own would be a trace of nothing."""
    sio = make()
    peer = await Peer.join(sio)
    await sio.enter_room(peer.sids["/"], "room:1")
    assert [] == spans.named("join")


def category(room: Any) -> str | None:
    """Return the category of a room; some have none, and one is a bug."""
    if room == "bug":
        raise LookupError(room)
    return None if room == "none" else f"is {type(room).__name__}"


@pytest.mark.parametrize(
    ("given", "room", "expected"),
    [
        (None, "room:1", "room:{id}"),
        (None, "user:a:b", "user:{id}"),
        (None, "lobby", "_other"),
        (None, "room:", "_other"),
        (None, ":1", "_other"),
        (None, "ünï:1", "_other"),
        (None, 17, "_other"),
        (("room:{id}:typing", "room:{id}", "lobby"), "room:1:typing", "room:{id}:typing"),
        (("room:{id}", "lobby"), "room:1", "room:{id}"),
        (("room:{id}", "lobby"), "lobby", "lobby"),
        (("room:{id}", "lobby"), "lobby2", "_other"),
        (("a.b{x}",), "aXb1", "_other"),
        (category, "room:1", "is str"),
        (category, 17, "is int"),
        (category, "none", "_other"),
    ],
)
async def test_category_of_a_room(
    make: Make, registry: CollectorRegistry, given: Any, room: Any, expected: str
) -> None:
    """By templates, by a function, or by what stands before the first colon."""
    sio = make(options={"room_category": given})
    peer = await Peer.join(sio)
    await sio.enter_room(peer.sids["/"], room)
    assert 1 == sample(registry, "socketio_room_joins_total", namespace="/", category=expected)
    assert 1 == sample(registry, "socketio_rooms", namespace="/", category=expected)


async def test_category_that_fails_changes_nothing(make: Make, registry: CollectorRegistry) -> None:
    """The room is entered, and the failure is counted."""
    sio = make(options={"room_category": category})
    peer = await Peer.join(sio)
    await sio.enter_room(peer.sids["/"], "bug")
    assert {"bug", peer.sids["/"]} == set(sio.rooms(peer.sids["/"]))
    assert 1 == sample(registry, "socketio_room_joins_total", namespace="/", category="_other")
    assert 1 == sample(registry, "ws_observe_errors_total", part="socketio")


async def test_ten_thousand_rooms_are_a_constant_number_of_series(
    make: Make, registry: CollectorRegistry
) -> None:
    """A client chooses rooms; 20 prefixes are the most that it can make labels of."""
    sio = make()
    peer = await Peer.join(sio)
    seen = []
    for number in range(30_000):
        await sio.enter_room(peer.sids["/"], f"p{number}:{number}")
        if number in (3_000, 29_999):
            seen.append(
                sum(
                    "category" in each.labels
                    for family in registry.collect()
                    for each in family.samples
                )
            )
    assert seen[0] == seen[1] <= 21 * 5
    assert 30_000 == total(registry, "socketio_rooms")


async def test_long_names_are_not_kept(make: Make, registry: CollectorRegistry) -> None:
    """A client may choose one of a megabyte, and another one each time."""
    sio = make()
    peer = await Peer.join(sio)
    for room in ("room:1", "room:" + "x" * 10_000, ("a", "tuple")):
        await sio.enter_room(peer.sids["/"], room)
    assert 2 == sample(registry, "socketio_rooms", namespace="/", category="room:{id}")
    assert 1 == sample(registry, "socketio_rooms", namespace="/", category="_other")
