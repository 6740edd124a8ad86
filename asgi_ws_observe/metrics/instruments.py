"""What a metric is, and how many values its labels can have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from ..buckets import Buckets
from ..close_codes import MAX_CODE_LABELS, REASONS
from ..fanout_numbers import DROP_REASONS, LAG_ORIGINS, MAX_CHANNELS, OUTCOMES
from ..labels import MAX_ROUTES
from ..sockets import COUNTED_STATES
from ..states import EVENT_NAMES, State
from ..store import ERROR_PARTS, HANDSHAKE_FAILURES, MAX_ERROR_TYPES, TRANSPORTS, Store

__all__ = ["LABELS", "Instrument", "Label", "Point"]

#: Unit, in OpenTelemetry's notation -> how a Prometheus name ends.
_ENDINGS: Final = {"s": "_seconds", "By": "_bytes"}
# `event_loop` is one word; and a histogram `x` beside a gauge `x.max` would be one metric twice for
# backends that make `x.max` of a histogram themselves, so that is `x_max`.
_DOTS: Final = re.compile("_(?!loop|max)")

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
    ("label", ""): Label(3, "`route`, `type`, `channel`", "ws.observe.label"),
    ("channel", ""): Label(
        MAX_CHANNELS + 1,
        f"the channel's name, or what its `label` makes of a topic; {MAX_CHANNELS}, then `other`",
        "ws.fanout.channel",
    ),
    ("outcome", ""): Label(
        len(OUTCOMES), ", ".join(f"`{each}`" for each in OUTCOMES), "ws.fanout.outcome"
    ),
    ("origin", ""): Label(
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
    ("event", ""): Label(len(EVENT_NAMES), ", ".join(f"`{each}`" for each in EVENT_NAMES)),
    ("version", ""): Label(1, "of this library", "ws.observe.version"),
    ("transport", ""): Label(
        len(TRANSPORTS) + 1,
        ", ".join(f"`{each}`" for each in (*TRANSPORTS, "none")),
    ),
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
        return most

    def bound(self, label: str) -> Label:
        """Return what is known of one of the labels."""
        return LABELS.get((label, self.name)) or LABELS[label, ""]
