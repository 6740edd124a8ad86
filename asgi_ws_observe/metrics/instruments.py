"""What a metric is, and how many values its labels can have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..buckets import Buckets
from ..close_codes import MAX_CODE_LABELS, REASONS
from ..fanout_numbers import DROP_REASONS, LAG_ORIGINS, MAX_CHANNELS, OUTCOMES
from ..labels import MAX_ROUTES
from ..socketio_numbers import (
    ACK_OUTCOMES,
    BUS_METHODS,
    BUS_ORIGINS,
    BUS_OUTCOMES,
    CONNECT_OUTCOMES,
    DISCONNECT_REASONS,
    ENGINE_TRANSPORTS,
    EVENT_OUTCOMES,
    MAX_CATEGORIES,
    MAX_EMITS,
    MAX_EVENTS,
    MAX_NAMESPACES,
    REJECTIONS,
    TARGETS,
    UPGRADE_OUTCOMES,
)
from ..sockets import COUNTED_STATES
from ..states import EVENT_NAMES, State
from ..store import (
    BOUNDED_LABELS,
    ERROR_PARTS,
    HANDSHAKE_FAILURES,
    MAX_ERROR_TYPES,
    TRANSPORTS,
    Store,
)

__all__ = ["LABELS", "Instrument", "Label", "Point"]

#: Unit, in OpenTelemetry's notation -> how a Prometheus name ends.
_ENDINGS: Final = {"s": "_seconds", "By": "_bytes"}
# `event_loop` is one word; and a histogram `x` beside a gauge `x.max` would be one metric twice for
# backends that make `x.max` of a histogram themselves, so that is `x_max`.
_DOTS: Final = re.compile("_(?!loop|max)")

# Where combinations are bounded as such: those that count apart, and for each namespace and target
# what stands for the rest.
_COMBINATIONS: Final = {
    "socketio_emits": MAX_EMITS + (MAX_NAMESPACES + 1) * len(TARGETS) * len(BUS_ORIGINS),
}

#: Label values and the value: a number, or a histogram.
Point = tuple[tuple[str, ...], "float | Buckets"]


@dataclass(frozen=True, slots=True)
class Label:
    """A label.

    Attributes:
        most: How many values it can have at most.
        values: Which.
        attribute: OpenTelemetry's name. Default: ``ws.`` and the label.
    """

    most: int
    values: str
    attribute: str = ""


def _words(words: Sequence[str], attribute: str) -> Label:
    return Label(len(words), ", ".join(f"`{each}`" for each in words), attribute)


#: (Label, metric or "" for all) -> its bound.
LABELS: Final[dict[tuple[str, str], Label]] = {
    ("route", ""): Label(
        MAX_ROUTES + 2,
        f"path templates, {MAX_ROUTES} by default (`Settings.max_routes`), `unmatched`, `other`",
        "http.route",
    ),
    ("code", ""): Label(
        MAX_CODE_LABELS,
        "registered close codes, those of `Settings.close_codes`, `3xxx`, `4xxx`, `other`",
        "ws.close_code",
    ),
    ("closed_by", ""): Label(4, "`client`, `server`, `network`, `unknown`"),
    ("reason", "ws_closes"): Label(
        len(REASONS), ", ".join(f"`{each}`" for each in REASONS), "ws.close_reason"
    ),
    ("reason", "ws_handshake_failures"): Label(
        len(HANDSHAKE_FAILURES),
        ", ".join(f"`{each}`" for each in HANDSHAKE_FAILURES),
        "ws.close_reason",
    ),
    ("direction", ""): Label(2, "`in`, `out`"),
    ("type", ""): Label(MAX_ERROR_TYPES + 1, "exception classes, 20, then `other`", "error.type"),
    ("part", ""): Label(
        len(ERROR_PARTS), ", ".join(f"`{each}`" for each in ERROR_PARTS), "ws.observe.part"
    ),
    ("label", ""): Label(
        len(BOUNDED_LABELS), ", ".join(f"`{each}`" for each in BOUNDED_LABELS), "ws.observe.label"
    ),
    ("channel", ""): Label(
        MAX_CHANNELS + 1,
        f"the channel's name, or what its `label` makes of a topic; {MAX_CHANNELS}, then `other`",
        "ws.fanout.channel",
    ),
    ("outcome", "ws_fanout_published"): Label(
        len(OUTCOMES), ", ".join(f"`{each}`" for each in OUTCOMES), "ws.fanout.outcome"
    ),
    ("origin", "ws_fanout_lag_seconds"): Label(
        len(LAG_ORIGINS),
        "`own` and `probe` (this process's own, free of clock skew), `other`",
        "ws.fanout.origin",
    ),
    ("reason", "ws_messages_dropped"): Label(
        len(DROP_REASONS), ", ".join(f"`{each}`" for each in DROP_REASONS), "ws.fanout.reason"
    ),
    ("state", "ws_tcp_connections"): Label(
        len(COUNTED_STATES),
        ", ".join(f"`{each}`" for each in COUNTED_STATES),
        "network.connection.state",
    ),
    ("state", ""): Label(len(State), ", ".join(f"`{each.value}`" for each in State)),
    ("event", "ws_unexpected_events"): Label(
        len(EVENT_NAMES), ", ".join(f"`{each}`" for each in EVENT_NAMES)
    ),
    ("version", ""): Label(1, "of this library", "ws.observe.version"),
    ("transport", "ws_observe"): Label(
        len(TRANSPORTS) + 1,
        ", ".join(f"`{each}`" for each in (*TRANSPORTS, "none")),
    ),
    ("namespace", ""): Label(
        MAX_NAMESPACES + 1,
        f"namespaces that the application knows, {MAX_NAMESPACES}, then `_other`",
        "messaging.socket.io.namespace",
    ),
    ("event", ""): Label(
        MAX_EVENTS + 1,
        f"received: those with a handler; emitted: the first {MAX_EVENTS}; the rest is `_other`",
        "messaging.socket.io.event_name",
    ),
    ("category", ""): Label(
        MAX_CATEGORIES + 4,
        f"of rooms, {MAX_CATEGORIES}, then `_other`; `_all`, `_sid`, `_none`",
        "messaging.destination.template",
    ),
    ("target", ""): _words(TARGETS, "socketio.target"),
    ("transport", ""): _words(ENGINE_TRANSPORTS, "socketio.transport"),
    ("outcome", "socketio_connects"): _words(CONNECT_OUTCOMES, "socketio.connect.outcome"),
    ("reason", "socketio_disconnects"): _words(DISCONNECT_REASONS, "socketio.disconnect.reason"),
    ("outcome", "socketio_events"): _words(EVENT_OUTCOMES, "socketio.event.outcome"),
    ("outcome", "socketio_acks"): _words(ACK_OUTCOMES, "socketio.ack.outcome"),
    ("origin", ""): _words(BUS_ORIGINS, "socketio.bus.origin"),
    ("method", ""): _words(BUS_METHODS, "socketio.bus.method"),
    ("outcome", "socketio_bus_published"): _words(BUS_OUTCOMES, "socketio.bus.outcome"),
    ("outcome", "engineio_upgrades"): _words(UPGRADE_OUTCOMES, "socketio.upgrade.outcome"),
    ("reason", "engineio_rejections"): _words(REJECTIONS, "socketio.rejection.reason"),
}


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric.

    Attributes:
        name: The family's name, without a counter's ``_total``.
        kind: Its type.
        unit: In OpenTelemetry's notation.
        labels: Label names, in the order of the values that `read` yields.
        text: What it counts or measures.
        question: What it answers at 2 a.m.
        read: Yields its points from a store.
        bounds: A histogram's upper bounds.
        additive: Whether a gauge's values over all processes add up to something that makes sense.
        optional: Whether it is left out of the exposition while it has no series: for metrics of a
            part that many applications do not use.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    unit: str
    labels: tuple[str, ...]
    text: str
    question: str
    read: Callable[[Store], Iterable[Point]]
    bounds: tuple[float, ...] = ()
    additive: bool = False
    optional: bool = False

    @property
    def exposed_name(self) -> str:
        """The name that a query uses (a histogram's without ``_bucket``)."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")

    @property
    def otel_name(self) -> str:
        """OpenTelemetry's name: its own translation for Prometheus makes `exposed_name` of it.

        The unit at the end is left to `unit`, unless it is what a counter counts.
        """
        ending = "" if self.kind == "counter" else _ENDINGS.get(self.unit, "")
        name = self.name + "_info" if self.kind == "info" else self.name.removesuffix(ending)
        return _DOTS.sub(".", name)

    @property
    def attributes(self) -> tuple[str, ...]:
        """OpenTelemetry's names of the labels."""
        return tuple(self.bound(name).attribute or f"ws.{name}" for name in self.labels)

    @property
    def max_series(self) -> int:
        """The largest number of label combinations, whatever clients do."""
        most = 1
        for name in self.labels:
            most *= self.bound(name).most
        return min(most, _COMBINATIONS.get(self.name, most))

    def bound(self, label: str) -> Label:
        """Return what is known of one of the labels."""
        return LABELS.get((label, self.name)) or LABELS[label, ""]
