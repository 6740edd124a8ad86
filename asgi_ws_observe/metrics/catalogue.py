"""THE table of metrics: what the collector exposes, the reference documents and the tests check."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from .. import __version__
from ..buckets import Buckets
from ..close_codes import MAX_CODE_LABELS, REASONS
from ..fanout_numbers import (
    DELIVERY_BOUNDS,
    DROP_REASONS,
    LAG_ORIGINS,
    MAX_CHANNELS,
    OUTCOMES,
    RECIPIENT_BOUNDS,
    FanoutNumbers,
)
from ..labels import MAX_ROUTES
from ..sockets import COUNTED_STATES
from ..states import EVENT_NAMES, State
from ..store import (
    BUFFER_BOUNDS,
    CONNECTION_BOUNDS,
    DURATION_BOUNDS,
    ERROR_PARTS,
    HANDSHAKE_BOUNDS,
    HANDSHAKE_FAILURES,
    LAG_BOUNDS,
    MAX_ERROR_TYPES,
    RTT_BOUNDS,
    SEND_BOUNDS,
    SIZE_BOUNDS,
    TRANSPORTS,
    Look,
    RouteNumbers,
    Store,
)

__all__ = ["CATALOGUE", "LABELS", "Instrument", "Label", "Point"]

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


def _by_route(
    value: Callable[[RouteNumbers], float | Buckets],
) -> Callable[[Store], Iterator[Point]]:
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


def _closes(store: Store) -> Iterator[Point]:
    for label, numbers in list(store.routes.items()):
        for key, count in list(numbers.closes.items()):
            yield (label, *key), count


def _failures(store: Store) -> Iterator[Point]:
    for label, numbers in list(store.routes.items()):
        for reason, count in list(numbers.failures.items()):
            yield (label, reason), count


def _errors(store: Store) -> Iterator[Point]:
    for label, numbers in list(store.routes.items()):
        for kind, count in list(numbers.errors.items()):
            yield (label, kind), count


def _limit(store: Store) -> Iterator[Point]:
    if store.limit is not None:
        yield (), store.limit


def _lag(store: Store) -> Iterator[Point]:
    yield (), store.lag


def _lag_max(store: Store) -> Iterator[Point]:
    yield (), store.lag_max()


def _unexpected(store: Store) -> Iterator[Point]:
    yield from list(store.unexpected.items())


def _own_errors(store: Store) -> Iterator[Point]:
    for part, count in store.own_errors.items():
        yield (part,), count


def _dropped(store: Store) -> Iterator[Point]:
    for label, count in store.dropped_labels.items():
        yield (label,), count


def _scrape(store: Store) -> Iterator[Point]:
    yield (), store.scrape_seconds


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


def _up(store: Store) -> Iterator[Point]:
    if store.worker is not None:
        yield (), int(store.answers)


def _info(store: Store) -> Iterator[Point]:
    for transport in list(store.transports) or ["none"]:
        yield (__version__, transport), 1


CATALOGUE: Final[tuple[Instrument, ...]] = (
    Instrument(
        "ws_connections_active",
        "gauge",
        "{connection}",
        ("route",),
        "Open WebSocket connections.",
        "Is anybody connected?",
        _by_route(lambda numbers: numbers.active),
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
        _by_route(lambda numbers: numbers.connects),
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
        _by_route(lambda numbers: numbers.handshake),
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
        _by_route(lambda numbers: numbers.duration),
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
        _by_route(lambda numbers: numbers.handler),
        DURATION_BOUNDS,
    ),
    Instrument(
        "ws_send_duration_seconds",
        "histogram",
        "s",
        ("route",),
        "Time that sending a message waited in send().",
        "Is there backpressure?",
        _by_route(lambda numbers: numbers.send),
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
        _by_route(lambda numbers: numbers.buffer),
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
        _by_route(lambda numbers: numbers.rtt),
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
        _by_route(lambda numbers: numbers.rtt_paused),
        RTT_BOUNDS,
    ),
    Instrument(
        "ws_tcp_rtt_seconds",
        "histogram",
        "s",
        ("route",),
        "The kernel's smoothed round trip of each connection, at each look and at its end.",
        "Is it the network, or clients that are slow to answer pings?",
        _by_route(lambda numbers: numbers.tcp_rtt),
        RTT_BOUNDS,
    ),
    Instrument(
        "ws_heartbeat_timeouts",
        "counter",
        "{ping}",
        ("route",),
        "Pings that were not answered in time.",
        "Are there half-open connections?",
        _by_route(lambda numbers: numbers.heartbeat_timeouts),
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
    Instrument(
        "ws_errors",
        "counter",
        "{error}",
        ("route", "type"),
        "Exceptions that left the application. A client's leaving is none.",
        "Which exception?",
        _errors,
    ),
    Instrument(
        "ws_unexpected_events",
        "counter",
        "{event}",
        ("state", "event"),
        "Events that the connection's state does not expect, such as a send after the close.",
        "Does the application send into closed connections?",
        _unexpected,
    ),
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
    Instrument(
        "event_loop_lag_seconds",
        "histogram",
        "s",
        (),
        "How late the event loop called a timer.",
        "Is the loop blocked?",
        _lag,
        LAG_BOUNDS,
    ),
    Instrument(
        "event_loop_lag_max_seconds",
        "gauge",
        "s",
        (),
        "The largest lag of the last 30 to 60 seconds.",
        "Was the loop blocked just now?",
        _lag_max,
    ),
    Instrument(
        "ws_observe_errors",
        "counter",
        "{error}",
        ("part",),
        "Failures inside the monitoring itself, hooks and callbacks included.",
        "Is the monitoring lying?",
        _own_errors,
    ),
    Instrument(
        "ws_observe_labels_dropped",
        "counter",
        "{value}",
        ("label",),
        "Label values that became `other`.",
        "Is a bound too small, or somebody probing?",
        _dropped,
    ),
    Instrument(
        "ws_observe_scrape_seconds",
        "gauge",
        "s",
        (),
        "How long the previous exposition took.",
        "Is the monitoring slow?",
        _scrape,
    ),
    Instrument(
        "ws_observe_worker_up",
        "gauge",
        "{worker}",
        (),
        "Whether this worker process answered; 0 for one that lives and did not. Absent where "
        "there are no siblings.",
        "Does one worker hang?",
        _up,
    ),
    Instrument(
        "ws_observe",
        "info",
        "",
        ("version", "transport"),
        "The version of this library, and the kind of server that WebSockets came from.",
        "What runs here, and can it be seen below ASGI?",
        _info,
    ),
)
