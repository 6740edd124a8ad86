"""Plain numbers per route: what the hot path writes and what every reader reads.

One event loop writes, any thread reads. An increment of a slot or of a list's item is one
interpreter operation here, so a reader sees every number whole; two numbers read one after the
other may be one message apart. A histogram is consistent in itself: see `Buckets`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .buckets import Buckets
from .fanout_numbers import MAX_CHANNELS, FanoutNumbers
from .labels import MAX_ROUTES, OTHER, UNMATCHED, LabelLimiter, safe_text
from .socketio_numbers import SocketIONumbers

__all__ = [
    "BOUNDED_LABELS",
    "BUFFER_BOUNDS",
    "CONNECTION_BOUNDS",
    "DURATION_BOUNDS",
    "ERROR_PARTS",
    "HANDSHAKE_BOUNDS",
    "HANDSHAKE_FAILURES",
    "LAG_BOUNDS",
    "MAX_ERROR_TYPES",
    "MAX_WORKERS",
    "RTT_BOUNDS",
    "SEND_BOUNDS",
    "SIZE_BOUNDS",
    "TRANSPORTS",
    "Look",
    "RouteNumbers",
    "Store",
]

#: Handler time, seconds.
DURATION_BOUNDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
#: Time in ``send()``, seconds: backpressure can last longer than a handler should.
SEND_BOUNDS: Final = (*DURATION_BOUNDS, 30.0)
#: Handshake until accepted, rejected or denied, seconds.
HANDSHAKE_BOUNDS: Final = DURATION_BOUNDS[1:]
#: Lifetime, seconds: narrow around the idle limits of proxies (60 s, 240 s).
CONNECTION_BOUNDS: Final = (
    *(1.0, 5.0, 15.0, 30.0, 55.0, 65.0, 120.0, 235.0, 300.0, 600.0),
    *(1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0),
)
#: Message size, bytes: powers of 4 up to 16 MiB, uvicorn's default ``ws_max_size``.
SIZE_BOUNDS: Final = tuple(4**power for power in range(3, 13))
#: Round trips, seconds: 20 s is uvicorn's ping timeout.
RTT_BOUNDS: Final = (*DURATION_BOUNDS[1:2], *DURATION_BOUNDS[3:], 20.0)
#: Write buffer, bytes: 64 KiB is where asyncio's transports make `send()` wait.
BUFFER_BOUNDS: Final = (0.0, 2.0**14, 2.0**18, 2.0**20, 2.0**23)
#: Event loop lag, seconds.
LAG_BOUNDS: Final = DURATION_BOUNDS[1:]

#: Every value of the label ``reason`` of a handshake that was not accepted.
HANDSHAKE_FAILURES: Final = (
    *("rejected", "denied", "not_found", "limit", "error", "abandoned", "cancelled"),
    # Seen only by the opt-in class of `asgi_ws_observe.transports.uvicorn`.
    "bad_request",
)
#: Every value of the label ``part`` of the library's own errors.
ERROR_PARTS: Final = (
    *("record", "tracing", "logs", "hook", "connection_id", "route"),
    *("metrics_auth", "collector", "runtime", "probe", "message_type", "trust", "workers"),
    *("otlp", "fanout", "socketio"),
)
#: Every kind of server that `asgi_ws_observe.transports` knows.
TRANSPORTS: Final = (
    *("uvicorn-websockets-sansio", "uvicorn-wsproto", "uvicorn-websockets"),
    *("hypercorn", "daphne", "granian", "unknown"),
)
#: Labels of which values become ``other``, or ``_other``.
BOUNDED_LABELS: Final = ("route", "type", "channel", "namespace", "event", "category")
#: Distinct values of the label ``type`` of errors, ``other`` not counted.
MAX_ERROR_TYPES: Final = 20

#: Sibling worker processes that answer for each other.
MAX_WORKERS: Final = 256
# Series that exist from a route's first event, so that rate() and absent() work before the first
# close of that kind.
_ZERO_CLOSES: Final = (
    ("1000", "client", "normal"),
    ("1001", "client", "going_away"),
    ("1001", "server", "going_away"),
    ("1005", "client", "normal"),
    ("1006", "network", "unknown"),
    ("1006", "network", "tcp_reset"),
    ("1006", "network", "eof"),
    ("1006", "network", "ping_timeout"),
    ("1006", "server", "handler_error"),
    ("1006", "server", "no_close"),
    ("1006", "unknown", "unknown"),
    ("1011", "server", "handler_error"),
    # As hypercorn says it.
    ("1011", "server", "server_shutdown"),
    ("1012", "server", "server_shutdown"),
)


class Look(NamedTuple):
    """What the last look at all open connections of a route found.

    A number is `None` where no server gave it.

    Attributes:
        buffer: Bytes in all write buffers.
        buffer_max: Bytes in the fullest one.
        slow: Connections whose write buffer is above `Settings.slow_buffer_bytes`.
        queue_in: Messages that servers have and the application has not.
        queue_in_max: The same of the connection with the most.
        queue_out: ``send()`` calls that have not returned, and messages that wait in hubs.
        queue_out_max: The same of the connection with the most.
        waiting_max: How long the longest of those calls has waited, seconds.
    """

    buffer: int | None = None
    buffer_max: int | None = None
    slow: int | None = None
    queue_in: int | None = None
    queue_in_max: int | None = None
    queue_out: int = 0
    queue_out_max: int = 0
    waiting_max: float = 0.0


class RouteNumbers:
    """The numbers of one route."""

    __slots__ = (
        *("active", "buffer", "closes", "connects", "duration", "errors", "failures", "handler"),
        *("handshake", "heartbeat_timeouts", "label", "look", "rtt", "rtt_paused", "send"),
        *("size_in", "size_out", "tcp_rtt", "wire_in", "wire_out"),
    )

    def __init__(self, label: str) -> None:
        self.label = label
        self.active = 0
        self.connects = 0
        self.closes = dict.fromkeys(_ZERO_CLOSES, 0)
        self.failures = dict.fromkeys(HANDSHAKE_FAILURES, 0)
        self.errors: dict[str, int] = {}
        self.handshake = Buckets(HANDSHAKE_BOUNDS)
        self.duration = Buckets(CONNECTION_BOUNDS)
        self.handler = Buckets(DURATION_BOUNDS)
        self.send = Buckets(SEND_BOUNDS)
        # The number of messages and of bytes are the counts and the sum of their sizes.
        self.size_in = Buckets(SIZE_BOUNDS)
        self.size_out = Buckets(SIZE_BOUNDS)
        # What probes see, and the last look at all open connections.
        self.rtt = Buckets(RTT_BOUNDS)
        self.rtt_paused = Buckets(RTT_BOUNDS)
        self.tcp_rtt = Buckets(RTT_BOUNDS)
        self.buffer = Buckets(BUFFER_BOUNDS)
        self.heartbeat_timeouts = self.wire_in = self.wire_out = 0
        self.look = Look()

    def settle(self) -> None:
        """Count what messages left pending."""
        for buckets in (self.size_in, self.size_out, self.handler, self.send):
            buckets.settle()


class Store:
    """All numbers of one process (of one registry).

    Attributes:
        routes: Route label -> its numbers.
        channels: Channel label -> its numbers.
        socketio: The numbers of Socket.IO, `None` where no server of it is observed.
        started: When counting began, nanoseconds since the epoch.
        live: Connections in their handshake or open.
        limit: The configured capacity, `None` where there is none.
        node: The constant label ``node``, `None` where there is none.
        worker: The constant label ``worker`` of `/metrics`, which tells sibling processes apart;
            `None` where there are none.
        answers: Whether this worker does; no for what stands for one that does not.
        transports: The kinds of servers that connections came from.
        tcp_connections: This process's own TCP connections by state; `None` until they were
            counted, and where they cannot be.
        lag: The event loop's lag.
        lag_max: Returns the largest lag of the last minute, seconds.
        runtime: The periodic look of this store, of `asgi_ws_observe.runtime`.
        push: What exports this store, of `asgi_ws_observe.metrics.otlp`.
        span_bucket: How many message spans are made a second, of `asgi_ws_observe.tracing`.
        own_errors: Errors of the library's own parts, by part.
        dropped_labels: How often a label value became ``other``, by label.
        unexpected: Events in a state that does not expect them, by (state, event).
        scrape_seconds: How long the last exposition took.
    """

    def __init__(self) -> None:
        self.routes: dict[str, RouteNumbers] = {}
        self.channels: dict[str, FanoutNumbers] = {}
        self.socketio: SocketIONumbers | None = None
        self.started = time.time_ns()
        self.live = 0
        self.limit: int | None = None
        self.node: str | None = None
        self.worker: int | None = None
        self.answers = True
        self.transports: dict[str, None] = {}
        self.tcp_connections: dict[str, int] | None = None
        self.lag = Buckets(LAG_BOUNDS)
        self.lag_max: Callable[[], float] = float
        self.runtime: Any = None
        self.push: Any = None
        self.span_bucket: Any = None
        self.own_errors = dict.fromkeys(ERROR_PARTS, 0)
        self.dropped_labels = dict.fromkeys(BOUNDED_LABELS, 0)
        self.unexpected: dict[tuple[str, str], int] = {}
        self.scrape_seconds = 0.0
        self._error_type = LabelLimiter(MAX_ERROR_TYPES, lambda: self.count_drop("type"))
        self._channel = LabelLimiter(MAX_CHANNELS, lambda: self.count_drop("channel"))
        self._lock = threading.Lock()

    def route(self, template: str, most: int = MAX_ROUTES) -> RouteNumbers:
        """Return the numbers of a route, which exist as zeros from the first call.

        Args:
            template: Its path template, or ``unmatched``.
            most: How many templates get a label of their own, whoever asked for them; the rest
                is ``other``.
        """
        numbers = self.routes.get(template)
        if numbers is not None:
            return numbers
        label = safe_text(template)
        with self._lock:
            # `unmatched` and `other` are no templates and use up no place.
            taken = len(self.routes.keys() - {UNMATCHED, OTHER})
            if taken >= most and label != UNMATCHED and label not in self.routes:
                self.count_drop("route")
                label = OTHER
            numbers = self.routes.get(label)
            if numbers is None:
                numbers = self.routes[label] = RouteNumbers(label)
        return numbers

    def channel(self, name: str) -> FanoutNumbers:
        """Return the numbers of a channel, which exist as zeros from the first call.

        Args:
            name: What the application calls it; the first `MAX_CHANNELS` get a label of their own.
        """
        with self._lock:
            label = self._channel(name)
            numbers = self.channels.get(label)
            if numbers is None:
                numbers = self.channels[label] = FanoutNumbers(label)
        return numbers

    def for_socketio(self) -> SocketIONumbers:
        """Return the numbers of Socket.IO, which exist from the first call."""
        with self._lock:
            if self.socketio is None:
                self.socketio = SocketIONumbers(self.count_drop)
        return self.socketio

    def look(self) -> None:
        """Take a look at what is not counted but read off live tables; before numbers are read."""
        if self.socketio is not None:
            self.socketio.look()

    def count_drop(self, label: str) -> None:
        """Count a label value that became ``other``."""
        self.dropped_labels[label] += 1

    def count_error(self, numbers: RouteNumbers, error: BaseException) -> str:
        """Count an exception of the application and return its bounded type."""
        kind = self._error_type(type(error).__name__)
        numbers.errors[kind] = numbers.errors.get(kind, 0) + 1
        return kind
