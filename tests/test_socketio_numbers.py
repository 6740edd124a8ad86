"""Numbers of Socket.IO: every one of them shows, none without a server, and all are bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from asgi_ws_observe.metrics.prometheus import StoreCollector
from asgi_ws_observe.socketio_numbers import (
    MAX_CATEGORIES,
    MAX_EMITS,
    OTHER_NAME,
    EmitNumbers,
    EventNumbers,
    NamespaceNumbers,
    SocketIOLook,
    SocketIONumbers,
)
from asgi_ws_observe.store import Store
from tests.metrics.socketio_numbers import fill


def exposition(store: Store) -> str:
    """Return what a scrape of a store shows."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    return generate_latest(registry).decode()


def emitted(numbers: NamespaceNumbers) -> EmitNumbers:
    """Return the numbers of one kind of emit."""
    return Store().for_socketio().emit(numbers, "news", "room", "room:{id}", "own")


def received(numbers: NamespaceNumbers) -> EventNumbers:
    """Return the numbers of one event."""
    return numbers.event("chat")


#: Attribute of a namespace -> a change of it that has to show.
NAMESPACE_CHANGES: dict[str, Callable[[NamespaceNumbers], object]] = {
    "connects": lambda each: each.connects.update({("polling", "refused"): 7}),
    "connect_duration": lambda each: each.connect_duration.observe(0.5),
    "disconnects": lambda each: each.disconnects.update(ping_timeout=7),
    "schedule_delay": lambda each: each.schedule_delay.observe(0.5),
    "bytes_in": lambda each: setattr(each, "bytes_in", 7),
    "bytes_out": lambda each: setattr(each, "bytes_out", 7),
    "joins": lambda each: each.joins.update({"room:{id}": 7}),
    "leaves": lambda each: each.leaves.update({"room:{id}": 7}),
    "received": received,
    "asked": lambda each: each.ack("question"),
    "emits": emitted,
    "widths": emitted,
}
EVENT_CHANGES: dict[str, Callable[[NamespaceNumbers], object]] = {
    "received": lambda each: received(each).received.update(error=7),
    "duration": lambda each: received(each).duration.observe(0.5),
    "acks": lambda each: each.ack("question").acks.update(lost=7),
    "ack_latency": lambda each: each.ack("question").ack_latency.observe(0.5),
    "count": lambda each: setattr(emitted(each), "count", 7),
    "recipients": lambda each: emitted(each).recipients.observe(7),
    "width": lambda each: emitted(each).duration.observe(0.5),
}
NUMBERS_CHANGES: dict[str, Callable[[SocketIONumbers], object]] = {
    "namespaces": lambda each: each.namespace("/"),
    "ping_rtt": lambda each: each.ping_rtt["polling"].observe(0.5),
    "ping_delay": lambda each: each.ping_delay["polling"].observe(0.5),
    "upgrades": lambda each: each.upgrades.update(failed=7),
    "rejections": lambda each: each.rejections.update({"bad-sid": 7}),
    "reserved": lambda each: setattr(each, "reserved", 7),
    "lost": lambda each: setattr(each, "lost", 7),
    "published": lambda each: each.published.update({("emit", "dropped"): 7}),
    "arrived": lambda each: each.arrived.update({("emit", "own"): 7}),
    "bus_lag": lambda each: each.bus_lag["other"].observe(0.5),
    "has_bus": lambda each: setattr(each, "has_bus", False),
}
#: What bounds the labels, and what is shown by other tests.
UNEXPOSED = {
    *("namespace_label", "received_label", "emitted_label", "category_label"),
    *("lookers", "last"),
}


def test_every_attribute_is_tested() -> None:
    """A new number is exposed, and has a line here that shows it."""
    numbers = Store().for_socketio()
    attributes = {name for name in vars(numbers) if not name.startswith("_")}
    assert attributes == set(NUMBERS_CHANGES) | UNEXPOSED
    assert set(NamespaceNumbers.__slots__) == set(NAMESPACE_CHANGES) | {"label"}
    slots = {*EventNumbers.__slots__, *EmitNumbers.__slots__}
    assert slots | {"width"} == set(EVENT_CHANGES)


@pytest.mark.parametrize("name", NUMBERS_CHANGES)
def test_change_of_the_numbers_shows(name: str) -> None:
    """Every number is read by some instrument."""
    store = Store()
    store.for_socketio().has_bus = True
    before = exposition(store)
    NUMBERS_CHANGES[name](store.for_socketio())
    assert before != exposition(store)


@pytest.mark.parametrize("name", NAMESPACE_CHANGES | EVENT_CHANGES)
def test_change_of_a_namespace_shows(name: str) -> None:
    """Every number of a namespace is read by some instrument, with the namespace's label."""
    store = Store()
    namespace = store.for_socketio().namespace("/chat")
    before = exposition(store).splitlines()
    (NAMESPACE_CHANGES | EVENT_CHANGES)[name](namespace)
    changed = set(exposition(store).splitlines()) - set(before)
    named = {line for line in changed if not line.startswith("#")}
    assert named
    assert all('namespace="/chat"' in line for line in named)


def test_nothing_shows_without_a_server() -> None:
    """An application without Socket.IO has none of its metrics, not even their names."""
    page = exposition(Store())
    assert [] == [line for line in page.splitlines() if "socketio_" in line or "engineio_" in line]


def test_bus_shows_only_where_there_is_one() -> None:
    """A zero would say that a bus delivers nothing."""
    store = Store()
    numbers = store.for_socketio()
    before = exposition(store)
    numbers.has_bus = True
    assert ("socketio_bus_" in before, "socketio_bus_" in exposition(store)) == (False, True)


def test_look_is_taken_whenever_somebody_reads() -> None:
    """Gauges come from live tables: what nobody asks for costs nothing."""
    store = Store()
    taken: list[SocketIOLook] = []
    store.for_socketio().lookers.append(taken.append)

    exposition(store)
    exposition(store)

    # Registering asks for names only.
    assert 2 == len(taken)


def test_every_number_of_a_look_shows() -> None:
    """What the tables say is what the gauges say."""
    store = Store()
    fill(store)
    page = exposition(store)

    expected = {
        "connections": 'socketio_connections_active{namespace="/",transport="websocket"} 3.0',
        "orphans": 'socketio_orphan_sids{namespace="/"} 1.0',
        "rooms": 'socketio_rooms{category="room:{id}",namespace="/"} 2.0',
        "members": 'socketio_room_members{category="room:{id}",namespace="/"} 5.0',
        "largest": 'socketio_room_size{category="room:{id}",namespace="/"} 4.0',
        "acks_pending": "socketio_acks_pending 2.0",
        "queue": "engineio_queue_depth 7.0",
        "queue_max": "engineio_queue_depth_max 6.0",
        "listeners": "socketio_bus_listener_up 1.0",
    }
    assert {each.name for each in fields(SocketIOLook)} == set(expected)
    assert [] == [line for line in expected.values() if line not in page]


def test_names_beyond_the_bound_become_other_and_are_counted() -> None:
    """Who raises a limit, or is probed, wants to know."""
    store = Store()
    numbers = store.for_socketio()

    labels = {numbers.category_label(f"category {number}") for number in range(100)}

    assert MAX_CATEGORIES + 1 == len(labels)
    assert OTHER_NAME in labels
    assert 100 - MAX_CATEGORIES == store.dropped_labels["category"]


def test_combinations_of_emits_beyond_the_bound_are_counted_together() -> None:
    """Known ones go on counting apart."""
    numbers = Store().for_socketio()
    namespace = numbers.namespace("/")
    first = numbers.emit(namespace, "first", "room", "a", "own")
    for number in range(MAX_EMITS - 1):
        numbers.emit(namespace, f"event {number}", "room", "a", "own")

    rest = numbers.emit(namespace, "one more", "room", "a", "own")

    assert rest is numbers.emit(namespace, "another", "room", "b", "own")
    assert rest is namespace.emits[OTHER_NAME, "room", OTHER_NAME, "own"]
    assert first is numbers.emit(namespace, "first", "room", "a", "own")
