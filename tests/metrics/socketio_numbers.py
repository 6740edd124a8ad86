"""Stores with numbers of Socket.IO: one of each, and what hostile clients and applications do."""

from __future__ import annotations

from asgi_ws_observe.socketio_numbers import (
    ACK_OUTCOMES,
    BUS_METHODS,
    BUS_ORIGINS,
    BUS_OUTCOMES,
    TARGETS,
    SocketIOLook,
)
from asgi_ws_observe.store import Store

__all__ = ["fill", "flood"]


def _found(look: SocketIOLook) -> None:
    key = ("/", "room:{id}")
    look.connections["/", "websocket"], look.orphans["/"] = 3, 1
    look.rooms[key], look.members[key], look.largest[key] = 2, 5, 4
    look.acks_pending, look.queue, look.queue_max = 2, 7, 6
    look.listeners.append(True)


def fill(store: Store) -> None:
    """Give every metric of Socket.IO a number other than zero."""
    numbers = store.for_socketio()
    namespace = numbers.namespace("/")
    namespace.connects["websocket", "accepted"] = namespace.disconnects["ping_timeout"] = 4
    namespace.bytes_in, namespace.bytes_out = 300, 400
    namespace.joins["room:{id}"] = namespace.leaves["room:{id}"] = 2
    event = namespace.event("chat")
    event.received["ok"] = 3
    ack = namespace.ack("question")
    ack.acks["timeout"] = 2
    emitted = numbers.emit(namespace, "news", "room", "room:{id}", "own")
    emitted.count = 5
    for buckets in (
        *(namespace.connect_duration, namespace.schedule_delay, event.duration, ack.ack_latency),
        *(emitted.duration, emitted.recipients, *numbers.bus_lag.values()),
        *(*numbers.ping_rtt.values(), *numbers.ping_delay.values()),
    ):
        buckets.observe(0.004)
    numbers.upgrades["ok"] = numbers.rejections["bad-sid"] = numbers.reserved = numbers.lost = 2
    numbers.published["emit", "dropped"] = numbers.arrived["emit", "other"] = 3
    numbers.has_bus = True
    numbers.lookers.append(_found)
    store.look()


def flood(store: Store) -> None:
    """Use 300 namespaces, 500 names of events and 1,000 categories of rooms, in all ways."""
    numbers = store.for_socketio()
    numbers.has_bus = True
    for number in range(1000):
        label = numbers.namespace_label(f"/{number % 300}")
        namespace = numbers.namespace(label)
        namespace.event(numbers.received_label(f"event {number % 500}")).received["ok"] += 1
        category = numbers.category_label(f"category {number}")
        namespace.joins[category] = namespace.leaves[category] = number
        emitted = numbers.emitted_label(f"event {number % 500}")
        namespace.ack(emitted).acks[ACK_OUTCOMES[number % 3]] += 1
        for target in TARGETS:
            for origin in BUS_ORIGINS:
                numbers.emit(namespace, emitted, target, category, origin).count += 1
    for method in BUS_METHODS:
        for outcome in BUS_OUTCOMES:
            numbers.published[method, outcome] += 1
    numbers.lookers.append(_found)
    store.look()
