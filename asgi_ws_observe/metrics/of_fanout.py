"""Metrics of the fan-out: channels, their brokers, and hubs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from ..buckets import Buckets
from ..fanout_numbers import DELIVERY_BOUNDS, RECIPIENT_BOUNDS, FanoutNumbers
from ..store import Store
from .instruments import Instrument, Point

__all__ = ["INSTRUMENTS"]


def _by_channel(
    value: Callable[[FanoutNumbers], float | Buckets | None],
) -> Callable[[Store], Iterator[Point]]:
    def read(store: Store) -> Iterator[Point]:
        for label, numbers in list(store.channels.items()):
            found = value(numbers)
            if found is not None:
                yield (label,), found

    return read


def _by_channel_and(
    value: Callable[[FanoutNumbers], Mapping[str, float | Buckets]],
) -> Callable[[Store], Iterator[Point]]:
    def read(store: Store) -> Iterator[Point]:
        for label, numbers in list(store.channels.items()):
            for key, found in value(numbers).items():
                yield (label, key), found

    return read


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    Instrument(
        "ws_fanout_published",
        "counter",
        "{message}",
        ("channel", "outcome"),
        "Messages given to the broker, and those that it did not take.",
        "Can this node publish?",
        _by_channel_and(lambda numbers: numbers.published),
    ),
    Instrument(
        "ws_fanout_publish_duration_seconds",
        "histogram",
        "s",
        ("channel",),
        "How long publishing took, failures included.",
        "Is the broker slow to take messages?",
        _by_channel(lambda numbers: numbers.publish),
        DELIVERY_BOUNDS,
    ),
    Instrument(
        "ws_fanout_outbox_messages",
        "gauge",
        "{message}",
        ("channel",),
        "Messages that wait here for the broker to come back; absent where none would.",
        "How much is held back?",
        _by_channel(lambda numbers: numbers.outbox),
        additive=True,
    ),
    Instrument(
        "ws_fanout_delivered",
        "counter",
        "{message}",
        ("channel",),
        "Messages of the broker that the application took on this node.",
        "Does the bus still deliver?",
        _by_channel(lambda numbers: numbers.delivered),
    ),
    Instrument(
        "ws_fanout_lag_seconds",
        "histogram",
        "s",
        ("channel", "origin"),
        "From publishing to the delivery on this node. What another node published is measured by "
        "the clocks of both machines, the rest by one.",
        "How far behind is the bus?",
        _by_channel_and(lambda numbers: numbers.lag),
        DELIVERY_BOUNDS,
    ),
    Instrument(
        "ws_fanout_recipients",
        "histogram",
        "{connection}",
        ("channel",),
        "Connections of this node that a message went to.",
        "How wide does one message fan out?",
        _by_channel(lambda numbers: numbers.recipients),
        RECIPIENT_BOUNDS,
    ),
    Instrument(
        "ws_fanout_delivery_duration_seconds",
        "histogram",
        "s",
        ("channel",),
        "From a hub taking a message until the last of its connections had sent or dropped it.",
        "How long do the last of a room wait?",
        _by_channel(lambda numbers: numbers.delivery),
        DELIVERY_BOUNDS,
    ),
    Instrument(
        "ws_fanout_lost",
        "counter",
        "{message}",
        ("channel",),
        "Messages that were published and never arrived here, by the gaps in their sequence.",
        "Did users miss messages?",
        _by_channel(lambda numbers: numbers.lost),
    ),
    Instrument(
        "ws_fanout_listener_up",
        "gauge",
        "{listener}",
        ("channel",),
        "Whether the listener has all its subscriptions; absent where there is no listener.",
        "Is this node deaf?",
        _by_channel(lambda numbers: numbers.listener_up),
    ),
    Instrument(
        "ws_fanout_reconnects",
        "counter",
        "{connection}",
        ("channel",),
        "How often the listener lost the broker and came back.",
        "Is the connection to the broker stable?",
        _by_channel(lambda numbers: numbers.reconnects),
    ),
    Instrument(
        "ws_fanout_probe_age_seconds",
        "gauge",
        "s",
        ("channel",),
        "How long ago this node's last probe came back through the broker; absent without probes.",
        "Does the bus deliver when nobody talks?",
        _by_channel(lambda numbers: numbers.probe_age()),
    ),
    Instrument(
        "ws_messages_dropped",
        "counter",
        "{message}",
        ("channel", "reason"),
        "Messages that one connection, or this node, did not get although they were there.",
        "Whose queue overflows?",
        _by_channel_and(lambda numbers: numbers.dropped),
    ),
)
