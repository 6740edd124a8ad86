"""Plain numbers of Socket.IO: what its observation writes, what every reader reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .buckets import Buckets
from .fanout_numbers import DELIVERY_BOUNDS, RECIPIENT_BOUNDS
from .labels import LabelLimiter

__all__ = [
    "ACK_OUTCOMES",
    "BUS_METHODS",
    "BUS_ORIGINS",
    "BUS_OUTCOMES",
    "CONNECT_BOUNDS",
    "CONNECT_OUTCOMES",
    "DISCONNECT_REASONS",
    "ENGINE_TRANSPORTS",
    "EVENT_BOUNDS",
    "EVENT_OUTCOMES",
    "MAX_CATEGORIES",
    "MAX_EMITS",
    "MAX_EVENTS",
    "MAX_NAMESPACES",
    "OTHER_NAME",
    "PING_BOUNDS",
    "REJECTIONS",
    "TARGETS",
    "UPGRADE_OUTCOMES",
    "EmitNumbers",
    "EventNumbers",
    "NamespaceNumbers",
    "SocketIOLook",
    "SocketIONumbers",
]

#: What stands for every name above a bound, and for every name that a client made up. No event,
#: namespace or category is likely to be called so.
OTHER_NAME: Final = "_other"

#: Every value of the label ``transport``.
ENGINE_TRANSPORTS: Final = ("polling", "websocket")
#: Every value of the label ``outcome`` of connecting to a namespace.
CONNECT_OUTCOMES: Final = (
    *("accepted", "refused", "error", "unknown_namespace", "duplicate", "cancelled"),
)
#: Every value of the label ``reason`` of a disconnect: python-socketio's own five, what is known
#: better, and none.
DISCONNECT_REASONS: Final = (
    *("client_disconnect", "server_disconnect", "ping_timeout", "transport_close"),
    *("transport_error", "transport_lost", "server_shutdown", "unknown"),
)
#: Every value of the label ``outcome`` of an event that a client sent.
EVENT_OUTCOMES: Final = ("ok", "error", "unhandled", "cancelled")
#: Every value of the label ``outcome`` of an acknowledgement that was asked for.
ACK_OUTCOMES: Final = ("ok", "timeout", "lost")
#: Every value of the label ``target`` of what is emitted.
TARGETS: Final = ("broadcast", "room", "rooms", "sid")
#: Every value of the label ``method`` of what managers publish.
BUS_METHODS: Final = (
    *("emit", "callback", "disconnect", "enter_room", "leave_room", "close_room", "other"),
)
#: Every value of the label ``outcome`` of what managers publish: ``dropped`` is what Redis did not
#: take twice, which the manager tells nobody.
BUS_OUTCOMES: Final = ("ok", "dropped", "failed")
#: Every value of the label ``origin``: this process, or another one over the bus.
BUS_ORIGINS: Final = ("own", "other")
#: Every value of the label ``outcome`` of an upgrade from polling to WebSocket.
UPGRADE_OUTCOMES: Final = ("ok", "failed")
#: Every value of the label ``reason`` of an HTTP request that Engine.IO did not accept.
REJECTIONS: Final = (
    *("bad-origin", "bad-transport", "bad-version", "bad-sid", "bad-upgrade", "bad-jsonp-index"),
    *("not-connected", "unexpected-http", "no-websocket", "other"),
)

#: Distinct values of labels, ``_other`` not counted.
MAX_NAMESPACES: Final = 50
MAX_EVENTS: Final = 100
MAX_CATEGORIES: Final = 20
#: How many combinations of namespace, event, target and category of emits are counted apart.
MAX_EMITS: Final = 500

#: Handler time, acknowledgement, scheduling delay; seconds.
EVENT_BOUNDS: Final = DELIVERY_BOUNDS[:14]
#: Connecting to a namespace, with its handler; seconds.
CONNECT_BOUNDS: Final = DELIVERY_BOUNDS[1:14]
#: Engine.IO's pings, which wait in the same queue as everything else; 60 s is beyond its timeouts.
PING_BOUNDS: Final = DELIVERY_BOUNDS[1:]


class EventNumbers:
    """The numbers of one event of one namespace.

    Attributes:
        received: Events of clients by outcome.
        duration: Handler time, seconds.
        acks: Acknowledgements that were asked for by outcome.
        ack_latency: From the emit to the acknowledgement, seconds.
    """

    __slots__ = ("ack_latency", "acks", "duration", "received")

    def __init__(self) -> None:
        self.received = dict.fromkeys(EVENT_OUTCOMES, 0)
        self.duration = Buckets(EVENT_BOUNDS)
        self.acks = dict.fromkeys(ACK_OUTCOMES, 0)
        self.ack_latency = Buckets(EVENT_BOUNDS)


class EmitNumbers:
    """The numbers of what is emitted, for one combination of labels.

    Attributes:
        count: How many.
        recipients: Local connections that each went to; shared by the events of a category.
        duration: How long each took, seconds; shared likewise.
    """

    __slots__ = ("count", "duration", "recipients")

    def __init__(self, recipients: Buckets, duration: Buckets) -> None:
        self.count = 0
        self.recipients = recipients
        self.duration = duration


class NamespaceNumbers:
    """The numbers of one namespace.

    Attributes:
        label: The value of the label ``namespace``.
        connects: By transport and outcome.
        connect_duration: Seconds.
        disconnects: By reason.
        schedule_delay: From an event's arrival until its handler is called, seconds.
        bytes_in: Of Socket.IO's packets.
        bytes_out: Likewise, once for each recipient.
        joins: By category.
        leaves: By category.
        received: The received events by label.
        asked: The emitted events that asked for an acknowledgement, by label.
        emits: By event, target, category and origin.
        widths: Recipients and duration by target and category.
    """

    __slots__ = (
        *("asked", "bytes_in", "bytes_out", "connect_duration", "connects", "disconnects"),
        *("emits", "joins", "label", "leaves", "received", "schedule_delay", "widths"),
    )

    def __init__(self, label: str) -> None:
        self.label = label
        self.connects = {
            (transport, outcome): 0
            for transport in ENGINE_TRANSPORTS
            for outcome in CONNECT_OUTCOMES
        }
        self.connect_duration = Buckets(CONNECT_BOUNDS)
        self.disconnects = dict.fromkeys(DISCONNECT_REASONS, 0)
        self.schedule_delay = Buckets(EVENT_BOUNDS)
        self.bytes_in = self.bytes_out = 0
        self.joins: dict[str, int] = {}
        self.leaves: dict[str, int] = {}
        self.received: dict[str, EventNumbers] = {}
        self.asked: dict[str, EventNumbers] = {}
        self.emits: dict[tuple[str, str, str, str], EmitNumbers] = {}
        self.widths: dict[tuple[str, str], tuple[Buckets, Buckets]] = {}

    def event(self, label: str) -> EventNumbers:
        """Return the numbers of an event that clients send, by its bounded label."""
        return self.received.get(label) or self.received.setdefault(label, EventNumbers())

    def ack(self, label: str) -> EventNumbers:
        """Return the numbers of an emitted event's acknowledgements, by its bounded label."""
        return self.asked.get(label) or self.asked.setdefault(label, EventNumbers())


@dataclass(slots=True)
class SocketIOLook:
    """What live tables say at one moment.

    Attributes:
        connections: Open ones by namespace and transport.
        orphans: Sids whose transport is gone, by namespace.
        rooms: Rooms by namespace and category, those of single clients left out.
        members: Their members together.
        largest: The members of the largest.
        acks_pending: Acknowledgements that are waited for.
        queue: Packets that wait for clients.
        queue_max: The same of the client with the most.
        listeners: Whether the bus is listened to, of each server that has one.
    """

    connections: dict[tuple[str, str], int] = field(default_factory=dict)
    orphans: dict[str, int] = field(default_factory=dict)
    rooms: dict[tuple[str, str], int] = field(default_factory=dict)
    members: dict[tuple[str, str], int] = field(default_factory=dict)
    largest: dict[tuple[str, str], int] = field(default_factory=dict)
    acks_pending: int = 0
    queue: int = 0
    queue_max: int = 0
    listeners: list[bool] = field(default_factory=list)


class SocketIONumbers:
    """The numbers of all Socket.IO servers of one registry.

    Args:
        count_drop: Called with a label's name for each value that became ``_other``.

    Attributes:
        namespaces: By label.
        lookers: Each adds what it sees to a look.
        last: The last look.
        ping_rtt: Engine.IO's ping, from when it left the queue to its pong, by transport; seconds.
        ping_delay: How long pings waited in the queue, by transport; seconds.
        upgrades: From polling to WebSocket, by outcome.
        rejections: HTTP requests that Engine.IO did not accept, by reason.
        reserved: Events of clients with a name that is the library's own.
        published: What managers published, by method and outcome.
        arrived: What came over the bus, by method and origin.
        bus_lag: From publishing to arrival by origin, seconds.
        lost: What was published and never came.
        has_bus: Whether there is one.
    """

    def __init__(self, count_drop: Callable[[str], None]) -> None:
        self.namespaces: dict[str, NamespaceNumbers] = {}
        self.lookers: list[Callable[[SocketIOLook], None]] = []
        self.last = SocketIOLook()
        self.ping_rtt = {each: Buckets(PING_BOUNDS) for each in ENGINE_TRANSPORTS}
        self.ping_delay = {each: Buckets(PING_BOUNDS) for each in ENGINE_TRANSPORTS}
        self.upgrades = dict.fromkeys(UPGRADE_OUTCOMES, 0)
        self.rejections = dict.fromkeys(REJECTIONS, 0)
        self.reserved = self.lost = 0
        self.published = {
            (method, outcome): 0 for method in BUS_METHODS for outcome in BUS_OUTCOMES
        }
        self.arrived = {(method, origin): 0 for method in BUS_METHODS for origin in BUS_ORIGINS}
        self.bus_lag = {origin: Buckets(DELIVERY_BOUNDS) for origin in BUS_ORIGINS}
        self.has_bus = False
        self._emits = 0
        # What is received is bounded by what is registered; this bounds that.
        self.namespace_label = _limiter(MAX_NAMESPACES, "namespace", count_drop)
        self.received_label = _limiter(MAX_EVENTS, "event", count_drop)
        self.emitted_label = _limiter(MAX_EVENTS, "event", count_drop)
        self.category_label = _limiter(MAX_CATEGORIES, "category", count_drop)

    def namespace(self, label: str) -> NamespaceNumbers:
        """Return the numbers of a namespace by its bounded label; zeros from the first call."""
        found = self.namespaces.get(label)
        return found or self.namespaces.setdefault(label, NamespaceNumbers(label))

    def emit(
        self, namespace: NamespaceNumbers, event: str, target: str, category: str, origin: str
    ) -> EmitNumbers:
        """Return the numbers of what is emitted; the first `MAX_EMITS` combinations count apart.

        Args:
            namespace: Where.
            event: Its bounded label.
            target: One of `TARGETS`.
            category: The bounded category of the rooms.
            origin: One of `BUS_ORIGINS`.
        """
        key = (event, target, category, origin)
        found = namespace.emits.get(key)
        if found is not None:
            return found
        if self._emits >= MAX_EMITS:
            key = (OTHER_NAME, target, OTHER_NAME, origin)
        width = namespace.widths.setdefault(
            (target, key[2]), (Buckets(RECIPIENT_BOUNDS), Buckets(DELIVERY_BOUNDS))
        )
        self._emits += key not in namespace.emits
        return namespace.emits.setdefault(key, EmitNumbers(*width))

    def look(self) -> None:
        """Ask the live tables."""
        look = SocketIOLook()
        for each in list(self.lookers):
            each(look)
        self.last = look


def _limiter(most: int, label: str, count_drop: Callable[[str], None]) -> LabelLimiter:
    return LabelLimiter(most, lambda: count_drop(label), OTHER_NAME)
