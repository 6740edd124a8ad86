"""Plain numbers per channel: what publishing, delivering and the hub write, what readers read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .buckets import Buckets

__all__ = [
    "DELIVERY_BOUNDS",
    "DROP_REASONS",
    "LAG_ORIGINS",
    "MAX_CHANNELS",
    "OUTCOMES",
    "RECIPIENT_BOUNDS",
    "FanoutNumbers",
]

#: Publish to delivery, publishing itself, and the time to the last delivery; seconds.
DELIVERY_BOUNDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
#: Connections that one message went to.
RECIPIENT_BOUNDS: Final = (
    *(0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0),
    *(1000.0, 2000.0, 5000.0, 10000.0),
)
#: Every value of the label ``outcome`` of what was published.
OUTCOMES: Final = ("ok", "failed")
#: Every value of the label ``origin`` of a lag: this process's own message, by its own clock that
#: only goes forward; another process's, by both machines' clocks; the probe, like an own one.
LAG_ORIGINS: Final = ("own", "other", "probe")
#: Every value of the label ``reason`` of a message that was dropped.
DROP_REASONS: Final = (
    # By a hub: a slow client's queue was full, it was closed for that, it left, its send() failed.
    *("queue_full", "closed", "left", "send_failed"),
    # By a channel: the application reads too slowly, the broker was away for too long, or the
    # message had come before.
    *("subscription_full", "outbox_full", "duplicate"),
)
#: How many channels get a label of their own.
MAX_CHANNELS: Final = 50


class FanoutNumbers:
    """The numbers of one channel.

    Attributes:
        label: The value of the label ``channel``.
        published: Messages by outcome.
        publish: How long publishing took, seconds.
        delivered: Deliveries that the application took.
        lag: Publish to delivery by origin, seconds.
        recipients: Local connections that a delivery went to.
        delivery: From a hub taking a message until its last send() returned, seconds.
        dropped: Messages that nobody got, by reason.
        lost: Messages that never arrived, by the gaps in their sequence.
        outbox: Messages that wait for a broker to come back; `None` where none would.
        listener_up: 1 while the listener has its subscriptions, else 0; `None` where there is no
            listener.
        reconnects: How often the listener came back.
        probe_age: Returns how long ago the last probe arrived, or probing began, seconds; `None`
            where there is no probe.
    """

    __slots__ = (
        *("delivered", "delivery", "dropped", "label", "lag", "listener_up", "lost", "outbox"),
        *("probe_age", "publish", "published", "recipients", "reconnects"),
    )

    def __init__(self, label: str) -> None:
        self.label = label
        self.published = dict.fromkeys(OUTCOMES, 0)
        self.publish = Buckets(DELIVERY_BOUNDS)
        self.delivered = self.lost = self.reconnects = 0
        self.lag = {origin: Buckets(DELIVERY_BOUNDS) for origin in LAG_ORIGINS}
        self.recipients = Buckets(RECIPIENT_BOUNDS)
        self.delivery = Buckets(DELIVERY_BOUNDS)
        self.dropped = dict.fromkeys(DROP_REASONS, 0)
        self.outbox: int | None = None
        self.listener_up: int | None = None
        self.probe_age: Callable[[], float | None] = _no_age


def _no_age() -> None:
    return None
