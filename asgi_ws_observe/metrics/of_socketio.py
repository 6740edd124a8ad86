"""Metrics of Socket.IO: namespaces, events, rooms and acknowledgements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from ..buckets import Buckets
from ..fanout_numbers import DELIVERY_BOUNDS, RECIPIENT_BOUNDS
from ..socketio_numbers import (
    CONNECT_BOUNDS,
    EVENT_BOUNDS,
    NamespaceNumbers,
    SocketIOLook,
)
from ..store import Store
from .instruments import Instrument, Point

__all__ = ["INSTRUMENTS", "looked"]


def _namespaces(store: Store) -> Iterator[NamespaceNumbers]:
    if store.socketio is not None:
        yield from list(store.socketio.namespaces.values())


def _of(
    value: Callable[[NamespaceNumbers], float | Buckets],
) -> Callable[[Store], Iterator[Point]]:
    def read(store: Store) -> Iterator[Point]:
        for numbers in _namespaces(store):
            yield (numbers.label,), value(numbers)

    return read


def _by(
    values: Callable[[NamespaceNumbers], Mapping[Any, float | Buckets]],
) -> Callable[[Store], Iterator[Point]]:
    """Return a reader of a mapping whose keys are the values of the further labels."""

    def read(store: Store) -> Iterator[Point]:
        for numbers in _namespaces(store):
            for key, value in list(values(numbers).items()):
                yield (numbers.label, *((key,) if isinstance(key, str) else key)), value

    return read


def looked(
    values: Callable[[SocketIOLook], Iterable[Point]],
) -> Callable[[Store], Iterator[Point]]:
    """Return a reader of the last look."""

    def read(store: Store) -> Iterator[Point]:
        if store.socketio is not None:
            yield from values(store.socketio.last)

    return read


def _labelled(numbers: Mapping[str, float]) -> Iterator[Point]:
    for label, value in numbers.items():
        yield (label,), value


def _outcomes(store: Store) -> Iterator[Point]:
    for numbers in _namespaces(store):
        for event, found in list(numbers.received.items()):
            for outcome, count in found.received.items():
                yield (numbers.label, event, outcome), count


def _acks(store: Store) -> Iterator[Point]:
    for numbers in _namespaces(store):
        for event, found in list(numbers.asked.items()):
            for outcome, count in found.acks.items():
                yield (numbers.label, event, outcome), count


def _bytes(store: Store) -> Iterator[Point]:
    for numbers in _namespaces(store):
        yield (numbers.label, "in"), numbers.bytes_in
        yield (numbers.label, "out"), numbers.bytes_out


def _reserved(store: Store) -> Iterator[Point]:
    if store.socketio is not None:
        yield (), store.socketio.reserved


def _instrument(
    name: str,
    kind: Literal["counter", "gauge", "histogram"],
    unit: str,
    labels: tuple[str, ...],
    text: str,
    question: str,
    read: Callable[[Store], Iterable[Point]],
    bounds: tuple[float, ...] = (),
) -> Instrument:
    """Return an instrument of a part that many applications do not use."""
    additive = kind == "gauge" and name not in ("socketio_rooms", "socketio_room_size")
    return Instrument(
        name, kind, unit, labels, text, question, read, bounds, additive=additive, optional=True
    )


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    _instrument(
        "socketio_connections_active",
        "gauge",
        "{connection}",
        ("namespace", "transport"),
        "Connected clients of Socket.IO namespaces whose transport is open.",
        "Is anybody connected, and how?",
        looked(lambda look: look.connections.items()),
    ),
    _instrument(
        "socketio_connects",
        "counter",
        "{connection}",
        ("namespace", "transport", "outcome"),
        "Clients that asked for a namespace. `refused`: the connect handler said no; `error`: it "
        "raised, and the client got no answer.",
        "Can users get in?",
        _by(lambda numbers: numbers.connects),
    ),
    _instrument(
        "socketio_connect_duration_seconds",
        "histogram",
        "s",
        ("namespace",),
        "From a client asking for a namespace until it was answered, with the connect handler.",
        "Is authentication slowing connects?",
        _of(lambda numbers: numbers.connect_duration),
        CONNECT_BOUNDS,
    ),
    _instrument(
        "socketio_disconnects",
        "counter",
        "{connection}",
        ("namespace", "reason"),
        "Ends of accepted connections to namespaces.",
        "Who hangs up, and why?",
        _by(lambda numbers: numbers.disconnects),
    ),
    _instrument(
        "socketio_events",
        "counter",
        "{event}",
        ("namespace", "event", "outcome"),
        "Events that clients sent. `unhandled`: no handler is registered.",
        "Is traffic flowing, and which event fails?",
        _outcomes,
    ),
    _instrument(
        "socketio_event_duration_seconds",
        "histogram",
        "s",
        ("namespace", "event"),
        "How long an event's handler took.",
        "Is my code slow?",
        _by(lambda numbers: {each: got.duration for each, got in list(numbers.received.items())}),
        EVENT_BOUNDS,
    ),
    _instrument(
        "socketio_event_schedule_delay_seconds",
        "histogram",
        "s",
        ("namespace",),
        "From an event's arrival until its handler was called.",
        "Is the event loop behind?",
        _of(lambda numbers: numbers.schedule_delay),
        EVENT_BOUNDS,
    ),
    _instrument(
        "socketio_emits",
        "counter",
        "{event}",
        ("namespace", "event", "target", "category", "origin"),
        "Events that were emitted here; `other` came over the bus.",
        "What do we send, and to whom?",
        _by(lambda numbers: {each: got.count for each, got in list(numbers.emits.items())}),
    ),
    _instrument(
        "socketio_emit_recipients",
        "histogram",
        "{connection}",
        ("namespace", "target", "category"),
        "Clients of this node that one emit went to.",
        "How wide does one emit fan out?",
        _by(lambda numbers: {each: got[0] for each, got in list(numbers.widths.items())}),
        RECIPIENT_BOUNDS,
    ),
    _instrument(
        "socketio_emit_duration_seconds",
        "histogram",
        "s",
        ("namespace", "target", "category"),
        "How long emitting took: into the queue of each client, and to the bus.",
        "Do broadcasts hold handlers up?",
        _by(lambda numbers: {each: got[1] for each, got in list(numbers.widths.items())}),
        DELIVERY_BOUNDS,
    ),
    _instrument(
        "socketio_acks",
        "counter",
        "{acknowledgement}",
        ("namespace", "event", "outcome"),
        "Acknowledgements that this server asked for. `lost`: the client left before.",
        "Do clients answer?",
        _acks,
    ),
    _instrument(
        "socketio_ack_latency_seconds",
        "histogram",
        "s",
        ("namespace", "event"),
        "From an emit to its acknowledgement.",
        "How slow are clients to answer?",
        _by(lambda numbers: {each: got.ack_latency for each, got in list(numbers.asked.items())}),
        EVENT_BOUNDS,
    ),
    _instrument(
        "socketio_acks_pending",
        "gauge",
        "{acknowledgement}",
        (),
        "Acknowledgements that are waited for. One that grows is a leak: a call that timed out "
        "across nodes leaves its callback behind.",
        "Do unanswered calls pile up?",
        looked(lambda look: [((), look.acks_pending)]),
    ),
    _instrument(
        "socketio_rooms",
        "gauge",
        "{room}",
        ("namespace", "category"),
        "Rooms with members on this node.",
        "Do rooms leak?",
        looked(lambda look: look.rooms.items()),
    ),
    _instrument(
        "socketio_room_members",
        "gauge",
        "{connection}",
        ("namespace", "category"),
        "Members of all these rooms together.",
        "How full are rooms on average?",
        looked(lambda look: look.members.items()),
    ),
    _instrument(
        "socketio_room_size",
        "gauge",
        "{connection}",
        ("namespace", "category"),
        "Members of the largest of these rooms.",
        "Is one room far too large?",
        looked(lambda look: look.largest.items()),
    ),
    _instrument(
        "socketio_room_joins",
        "counter",
        "{room}",
        ("namespace", "category"),
        "Clients that entered a room.",
        "Do clients hop between rooms?",
        _by(lambda numbers: numbers.joins),
    ),
    _instrument(
        "socketio_room_leaves",
        "counter",
        "{room}",
        ("namespace", "category"),
        "Clients that left a room, by disconnecting as well.",
        "Do clients hop between rooms?",
        _by(lambda numbers: numbers.leaves),
    ),
    _instrument(
        "socketio_bytes",
        "counter",
        "By",
        ("namespace", "direction"),
        "Bytes of Socket.IO's packets, once for each recipient.",
        "How much traffic is it?",
        _bytes,
    ),
    _instrument(
        "socketio_orphan_sids",
        "gauge",
        "{connection}",
        ("namespace",),
        "Clients in the server's tables whose transport is gone: a connect handler that raised, "
        "or a polling client that gave up during it, leaves one for ever.",
        "Does the library leak clients?",
        looked(lambda look: _labelled(look.orphans)),
    ),
    _instrument(
        "socketio_reserved_events",
        "counter",
        "{event}",
        (),
        "Events of clients called `connect` or `disconnect`, which call the application's handlers "
        "of that name although nobody connects or leaves.",
        "Does a client forge events?",
        _reserved,
    ),
)
