"""Metrics of connections: their lives, and the messages of the application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..buckets import Buckets
from ..store import (
    CONNECTION_BOUNDS,
    DURATION_BOUNDS,
    HANDSHAKE_BOUNDS,
    SIZE_BOUNDS,
    RouteNumbers,
    Store,
)
from .instruments import Instrument, Point

__all__ = ["INSTRUMENTS", "by_route"]


def by_route(
    value: Callable[[RouteNumbers], float | Buckets],
) -> Callable[[Store], Iterator[Point]]:
    """Return a reader of one value of each route."""

    def read(store: Store) -> Iterator[Point]:
        for label, numbers in list(store.routes.items()):
            yield (label,), value(numbers)

    return read


def _by_direction(
    value: Callable[[Buckets], float | Buckets],
) -> Callable[[Store], Iterator[Point]]:
    def read(store: Store) -> Iterator[Point]:
        for label, numbers in list(store.routes.items()):
            yield (label, "in"), value(numbers.size_in)
            yield (label, "out"), value(numbers.size_out)

    return read


def _closes(store: Store) -> Iterator[Point]:
    for label, numbers in list(store.routes.items()):
        for key, count in list(numbers.closes.items()):
            yield (label, *key), count


def _failures(store: Store) -> Iterator[Point]:
    for label, numbers in list(store.routes.items()):
        for reason, count in list(numbers.failures.items()):
            yield (label, reason), count


def _limit(store: Store) -> Iterator[Point]:
    if store.limit is not None:
        yield (), store.limit


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    Instrument(
        "ws_connections_active",
        "gauge",
        "{connection}",
        ("route",),
        "Open WebSocket connections.",
        "Is anybody connected?",
        by_route(lambda numbers: numbers.active),
        additive=True,
    ),
    Instrument(
        "ws_connections_limit",
        "gauge",
        "{connection}",
        (),
        "The configured capacity of this process; absent where none is set.",
        "How close are we to the tested ceiling?",
        _limit,
        additive=True,
    ),
    Instrument(
        "ws_connects",
        "counter",
        "{connection}",
        ("route",),
        "Accepted handshakes. Minus all closes this is ws_connections_active.",
        "Is this a reconnect storm?",
        by_route(lambda numbers: numbers.connects),
    ),
    Instrument(
        "ws_handshake_failures",
        "counter",
        "{handshake}",
        ("route", "reason"),
        "Handshakes that were not accepted.",
        "Can users get in?",
        _failures,
    ),
    Instrument(
        "ws_handshake_duration_seconds",
        "histogram",
        "s",
        ("route",),
        "From the request until the handshake was accepted, refused or given up.",
        "Is authentication slowing connects?",
        by_route(lambda numbers: numbers.handshake),
        HANDSHAKE_BOUNDS,
    ),
    Instrument(
        "ws_closes",
        "counter",
        "{connection}",
        ("route", "code", "closed_by", "reason"),
        "Ends of accepted connections. 1006: no close frame came.",
        "Who hangs up, and why?",
        _closes,
    ),
    Instrument(
        "ws_connection_duration_seconds",
        "histogram",
        "s",
        ("route",),
        "Accept to close. Buckets are narrow around the idle limits of proxies (60 s, 240 s).",
        "Is a proxy cutting us at 60 s?",
        by_route(lambda numbers: numbers.duration),
        CONNECTION_BOUNDS,
    ),
    Instrument(
        "ws_messages",
        "counter",
        "{message}",
        ("route", "direction"),
        "Messages that the application received (in) and that the server took from it (out).",
        "Is traffic flowing?",
        _by_direction(lambda sizes: sum(sizes.counts)),
    ),
    Instrument(
        "ws_message_bytes",
        "counter",
        "By",
        ("route", "direction"),
        "Payload bytes of messages; text as UTF-8.",
        "How much traffic is it?",
        _by_direction(lambda sizes: sizes.sum),
    ),
    Instrument(
        "ws_message_size_bytes",
        "histogram",
        "By",
        ("route", "direction"),
        "Payload size of messages.",
        "Who sends 10 MB messages?",
        _by_direction(lambda sizes: sizes),
        SIZE_BOUNDS,
    ),
    Instrument(
        "ws_handler_duration_seconds",
        "histogram",
        "s",
        ("route",),
        "From a message handed to the application until it asks for the next one, or ends. "
        "Waiting for the client is not in it.",
        "Is my code slow?",
        by_route(lambda numbers: numbers.handler),
        DURATION_BOUNDS,
    ),
)
