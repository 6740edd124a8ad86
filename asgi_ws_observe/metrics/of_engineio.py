"""Metrics of Engine.IO, on which Socket.IO runs, and of the bus between its servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ..buckets import Buckets
from ..fanout_numbers import DELIVERY_BOUNDS
from ..socketio_numbers import PING_BOUNDS, SocketIONumbers
from ..store import Store
from .instruments import Instrument, Point
from .of_socketio import looked

__all__ = ["INSTRUMENTS"]


def _by(
    values: Callable[[SocketIONumbers], Mapping[Any, float | Buckets]], *, bus: bool = False
) -> Callable[[Store], Iterator[Point]]:
    def read(store: Store) -> Iterator[Point]:
        numbers = store.socketio
        if numbers is not None and (numbers.has_bus or not bus):
            for key, value in values(numbers).items():
                yield (key,) if isinstance(key, str) else key, value

    return read


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    Instrument(
        "socketio_bus_published",
        "counter",
        "{message}",
        ("method", "outcome"),
        "What managers published for other nodes. `dropped`: Redis did not take it twice, which "
        "the application is not told.",
        "Can this node publish?",
        _by(lambda numbers: numbers.published, bus=True),
        optional=True,
    ),
    Instrument(
        "socketio_bus_received",
        "counter",
        "{message}",
        ("method", "origin"),
        "What came over the bus; every node gets its own messages back.",
        "Does the bus still deliver?",
        _by(lambda numbers: numbers.arrived, bus=True),
        optional=True,
    ),
    Instrument(
        "socketio_bus_lag_seconds",
        "histogram",
        "s",
        ("origin",),
        "From publishing to arrival on this node. What another node published is measured by the "
        "clocks of both machines, the node's own by one.",
        "How far behind is the bus?",
        _by(lambda numbers: numbers.bus_lag, bus=True),
        DELIVERY_BOUNDS,
        optional=True,
    ),
    Instrument(
        "socketio_bus_lost_messages",
        "counter",
        "{message}",
        (),
        "Messages that were published and never arrived here, by the gaps in their sequence.",
        "Did users miss events?",
        _by(lambda numbers: {(): numbers.lost}, bus=True),
        optional=True,
    ),
    Instrument(
        "socketio_bus_listener_up",
        "gauge",
        "{listener}",
        (),
        "Whether every server of this process listens to its bus; the listener starts with the "
        "first client.",
        "Is this node deaf?",
        looked(lambda look: [((), int(all(look.listeners)))] if look.listeners else []),
        optional=True,
    ),
    Instrument(
        "engineio_ping_rtt_seconds",
        "histogram",
        "s",
        ("transport",),
        "From a ping's leaving the client's queue until its pong.",
        "The network, or us?",
        _by(lambda numbers: numbers.ping_rtt),
        PING_BOUNDS,
        optional=True,
    ),
    Instrument(
        "engineio_ping_queue_delay_seconds",
        "histogram",
        "s",
        ("transport",),
        "How long a ping waited in the client's queue, behind everything that was emitted.",
        "Are there slow consumers?",
        _by(lambda numbers: numbers.ping_delay),
        PING_BOUNDS,
        optional=True,
    ),
    Instrument(
        "engineio_queue_depth",
        "gauge",
        "{packet}",
        (),
        "Packets that wait for clients in Engine.IO's queues, which have no bound.",
        "Are we falling behind?",
        looked(lambda look: [((), look.queue)]),
        additive=True,
        optional=True,
    ),
    Instrument(
        "engineio_queue_depth_max",
        "gauge",
        "{packet}",
        (),
        "The same of the client with the most.",
        "One slow client, or all?",
        looked(lambda look: [((), look.queue_max)]),
        optional=True,
    ),
    Instrument(
        "engineio_upgrades",
        "counter",
        "{upgrade}",
        ("outcome",),
        "Upgrades from polling to WebSocket.",
        "Does a proxy keep clients on polling?",
        _by(lambda numbers: numbers.upgrades),
        optional=True,
    ),
    Instrument(
        "engineio_rejections",
        "counter",
        "{request}",
        ("reason",),
        "Requests that Engine.IO did not accept. `bad-sid` on several nodes: the load balancer has "
        "no sticky sessions.",
        "Do clients reach the wrong node?",
        _by(lambda numbers: numbers.rejections),
        optional=True,
    ),
)
