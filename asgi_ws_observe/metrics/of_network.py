"""Metrics of the way to the client: sends, buffers, queues, heartbeats, TCP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..store import BUFFER_BOUNDS, RTT_BOUNDS, SEND_BOUNDS, Look, Store
from .instruments import Instrument, Point
from .of_connections import by_route

__all__ = ["INSTRUMENTS"]


def _by_look(value: Callable[[Look], float | None]) -> Callable[[Store], Iterator[Point]]:
    def read(store: Store) -> Iterator[Point]:
        for label, numbers in list(store.routes.items()):
            found = value(numbers.look)
            if found is not None:
                yield (label,), found

    return read


def _by_look_and_direction(
    received: Callable[[Look], float | None], sent: Callable[[Look], float | None]
) -> Callable[[Store], Iterator[Point]]:
    def read(store: Store) -> Iterator[Point]:
        for label, numbers in list(store.routes.items()):
            for direction, value in (("in", received), ("out", sent)):
                found = value(numbers.look)
                if found is not None:
                    yield (label, direction), found

    return read


def _wire(store: Store) -> Iterator[Point]:
    for label, numbers in list(store.routes.items()):
        yield (label, "in"), numbers.wire_in
        yield (label, "out"), numbers.wire_out


def _sockets(store: Store) -> Iterator[Point]:
    for state, number in (store.tcp_connections or {}).items():
        yield (state,), number


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    Instrument(
        "ws_send_duration_seconds",
        "histogram",
        "s",
        ("route",),
        "Time that sending a message waited in send().",
        "Is there backpressure?",
        by_route(lambda numbers: numbers.send),
        SEND_BOUNDS,
    ),
    Instrument(
        "ws_send_waiting_max_seconds",
        "gauge",
        "s",
        ("route",),
        "How long the longest send() waits now, at the last look.",
        "Does a handler hang behind a client that reads no more?",
        _by_look(lambda look: look.waiting_max),
    ),
    Instrument(
        "ws_send_buffer_bytes",
        "histogram",
        "By",
        ("route",),
        "Bytes sent and not yet with the peer, in the server and in the kernel, of each "
        "connection at each look and at its end.",
        "Are there slow consumers?",
        by_route(lambda numbers: numbers.buffer),
        BUFFER_BOUNDS,
    ),
    Instrument(
        "ws_send_buffer_current_bytes",
        "gauge",
        "By",
        ("route",),
        "The same of all open connections together, at the last look.",
        "How much memory do slow consumers hold?",
        _by_look(lambda look: look.buffer),
        additive=True,
    ),
    Instrument(
        "ws_send_buffer_max_bytes",
        "gauge",
        "By",
        ("route",),
        "The same of the connection with the most.",
        "One slow client, or all?",
        _by_look(lambda look: look.buffer_max),
    ),
    Instrument(
        "ws_slow_connections",
        "gauge",
        "{connection}",
        ("route",),
        "Connections with more unsent bytes than `Settings.slow_buffer_bytes`, at the last look.",
        "How many clients are slow?",
        _by_look(lambda look: look.slow),
        additive=True,
    ),
    Instrument(
        "ws_queue_depth",
        "gauge",
        "{message}",
        ("route", "direction"),
        "Messages that the server has and the application has not (in), and send() calls that "
        "have not returned and messages that wait in a hub's queue (out), at the last look.",
        "Are we falling behind?",
        _by_look_and_direction(lambda look: look.queue_in, lambda look: look.queue_out),
        additive=True,
    ),
    Instrument(
        "ws_queue_depth_max",
        "gauge",
        "{message}",
        ("route", "direction"),
        "The same of the connection with the most.",
        "One connection, or all?",
        _by_look_and_direction(lambda look: look.queue_in_max, lambda look: look.queue_out_max),
    ),
    Instrument(
        "ws_wire_bytes",
        "counter",
        "By",
        ("route", "direction"),
        "Bytes over TCP, by the kernel: frames, handshake and encryption included. Counted at "
        "each look and at the end.",
        "What does compression save, what do frames cost?",
        _wire,
    ),
    Instrument(
        "ws_heartbeat_rtt_seconds",
        "histogram",
        "s",
        ("route",),
        "From a ping written to its pong read.",
        "The network, or us?",
        by_route(lambda numbers: numbers.rtt),
        RTT_BOUNDS,
    ),
    Instrument(
        "ws_heartbeat_rtt_paused_seconds",
        "histogram",
        "s",
        ("route",),
        "The same of pings during which the server stopped reading, since the application had "
        "not taken a message: such a time says nothing of the network.",
        "Do slow handlers delay heartbeats?",
        by_route(lambda numbers: numbers.rtt_paused),
        RTT_BOUNDS,
    ),
    Instrument(
        "ws_tcp_rtt_seconds",
        "histogram",
        "s",
        ("route",),
        "The kernel's smoothed round trip of each connection, at each look and at its end.",
        "Is it the network, or clients that are slow to answer pings?",
        by_route(lambda numbers: numbers.tcp_rtt),
        RTT_BOUNDS,
    ),
    Instrument(
        "ws_heartbeat_timeouts",
        "counter",
        "{ping}",
        ("route",),
        "Pings that were not answered in time.",
        "Are there half-open connections?",
        by_route(lambda numbers: numbers.heartbeat_timeouts),
    ),
    Instrument(
        "ws_tcp_connections",
        "gauge",
        "{connection}",
        ("state",),
        "This process's own TCP connections on the ports that WebSockets came to, by state; "
        "absent where the system does not tell.",
        "Do we leak sockets (close_wait)?",
        _sockets,
        additive=True,
    ),
)
