"""Cases of the alerts about a node's event loop, handlers and handshakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.operations.rule_case import Case, Fired
from tests.operations.rule_series import (
    NODE,
    ROUTE,
    Line,
    Series,
    counter,
    histogram,
    key,
    level,
    node,
    ramp,
)

__all__ = ["NODE_CASES"]

_HERE: Final = {"instance": NODE}


def _workers(count: int) -> Series:
    made: Series = {}
    for worker in range(count):
        made |= node(labels={"worker": str(worker)})
    return made


def _lag(late: float, pace: float, others: float = 1.9, **labels: str) -> Series:
    lines = {0.0005: counter(others), late: counter(0, (600, pace))}
    return histogram("event_loop_lag_seconds", lines, instance=NODE, **labels)


def _closed(pace: float, code: str = "1011", reason: str = "handler_error") -> Series:
    told = {"code": code, "closed_by": "server", "reason": reason}
    return node() | {key("ws_closes_total", route=ROUTE, **told): counter(0, (600, pace))}


def _handshakes(lines: Mapping[float, Line], **refused: float) -> Series:
    series = node() | histogram("ws_handshake_duration_seconds", lines, instance=NODE, route=ROUTE)
    for reason, pace in refused.items():
        name = key("ws_handshake_failures_total", route=ROUTE, reason=reason)
        series[name] = counter(0, (600, pace))
    return series


def _queued(line: Line) -> Series:
    return node() | {key("ws_queue_depth", route=ROUTE, direction="in"): line}


_LOOP: Final = (
    Case(
        alert="WebSocketEventLoopBlocked",
        what="a handler blocks for 0.4 s, a few times a minute",
        series=node() | _lag(0.4, 0.1),
        lasts="16m",
        quiet="10m",
        fires=[Fired(f"{NODE}: the event loop's lag has a p99 of 450ms", _HERE)],
        records={"round(sum(instance:event_loop_lag_seconds:p99) * 1000)": 450},
    ),
    Case(
        alert="WebSocketEventLoopBlocked",
        what="one of sixteen workers is blocked for seconds, and calls few timers",
        series=_workers(16) | _lag(4, 0.1, worker="7", others=0.5),
        lasts="16m",
        quiet="10m",
        fires=[Fired(f"{NODE}: the event loop's lag has a p99 of 4.85s", _HERE)],
    ),
    Case(
        alert="WebSocketEventLoopBlocked",
        what="late by a fifth of a second",
        series=node() | _lag(0.2, 0.1),
    ),
    Case(
        alert="WebSocketEventLoopBlocked",
        what="a process that has just started imports for two minutes",
        series=node(started=level(600))
        | histogram(
            "event_loop_lag_seconds",
            {0.0005: counter(0, (600, 2)), 0.6: counter(0, (600, 0.3), (720, 0))},
            instance=NODE,
        ),
    ),
    Case(
        alert="WebSocketSlowHandlers",
        what="four messages in a hundred wait for a database",
        series=node(handlers={0.004: counter(4.8), 2: counter(0, (600, 0.2))}),
        lasts="18m",
        quiet="15m",
        fires=[
            Fired(f"{NODE}: the handler time of /ws has a p99 of 2.125s", _HERE | {"route": ROUTE})
        ],
    ),
    Case(
        alert="WebSocketSlowHandlers",
        what="four in a hundred take seven tenths of a second",
        series=node(handlers={0.004: counter(4.8), 0.7: counter(0, (600, 0.2))}),
    ),
    Case(
        alert="WebSocketSlowHandlers",
        what="one in two hundred is slow",
        series=node(handlers={0.004: counter(9.95), 2: counter(0, (600, 0.05))}),
    ),
    Case(
        alert="WebSocketSlowHandlers",
        what="at night one message comes, and is slow",
        series=node(handlers={2: counter(0, (600, 1 / 15), (615, 0))}),
    ),
    Case(
        alert="WebSocketSlowHandlers",
        what="nobody says anything",
        series=node(handlers={2: counter(0)}),
    ),
    Case(
        alert="WebSocketQueueGrowing",
        what="messages come faster than they are handled",
        series=_queued(ramp(0, (600, 0.5))),
        lasts="20m",
        quiet="15m",
        fires=[
            Fired(
                f"{NODE}: 300 messages wait (in), and they do not become fewer",
                _HERE | {"direction": "in"},
            )
        ],
    ),
    Case(
        alert="WebSocketQueueGrowing",
        what="a full queue that has a bound",
        series=_queued(ramp(0, (600, 2), (1100, 0))),
        lasts="40m",
        quiet="10m",
        fires=[
            Fired(
                f"{NODE}: 1000 messages wait (in), and they do not become fewer",
                _HERE | {"direction": "in"},
            )
        ],
    ),
    Case(
        alert="WebSocketQueueGrowing",
        what="ninety wait, more than before",
        series=_queued(ramp(0, (600, 0.1), (1500, 0))),
    ),
    Case(
        alert="WebSocketQueueGrowing",
        what="a burst is worked off within minutes",
        series=_queued(ramp(0, (600, 10), (660, -2), (960, 0))),
    ),
)

_ERRORS: Final = (
    Case(
        alert="WebSocketHandlerErrors",
        what="an exception ends a connection every ten seconds",
        series=_closed(0.1),
        lasts="16m",
        quiet="10m",
        fires=[
            Fired(
                f"{NODE}: 0.10 connections a second end by an error of the application (1011, or "
                "1006 without a frame)",
                _HERE,
            )
        ],
    ),
    Case(
        alert="WebSocketHandlerErrors",
        what="two errors a minute",
        series=_closed(0.04),
    ),
    Case(
        alert="WebSocketHandlerErrors",
        what="a deploy on hypercorn, which closes with 1011",
        series=_closed(5, "1011", "server_shutdown"),
    ),
    Case(
        alert="WebSocketHandshakesFailing",
        what="the identity provider is down",
        series=_handshakes({0.02: counter(0.1, (600, 0.3))}, rejected=0.2),
        lasts="20m",
        quiet="10m",
        fires=[Fired(f"{NODE}: 0.20 handshakes a second are refused or fail", _HERE)],
        records={"round(sum(instance:ws_handshake_failures:rate5m) * 100)": 20},
    ),
    Case(
        alert="WebSocketHandshakesFailing",
        what="eight handshakes of a hundred have an expired token",
        series=_handshakes({0.02: counter(2.4)}, denied=0.2),
    ),
    Case(
        alert="WebSocketHandshakesFailing",
        what="bots look for paths that do not exist",
        series=_handshakes({0.02: counter(5)}, not_found=4.9),
    ),
    Case(
        alert="WebSocketHandshakesFailing",
        what="at night one old client is refused every 25 seconds",
        series=_handshakes({0.02: counter(0.04)}, rejected=0.04),
    ),
    Case(
        alert="WebSocketHandshakesSlow",
        what="one handshake in ten takes three seconds",
        series=_handshakes({0.02: counter(0.9), 3: counter(0, (600, 0.1))}),
        lasts="20m",
        quiet="15m",
        fires=[Fired(f"{NODE}: handshakes take 3.75s at p95", _HERE)],
    ),
    Case(
        alert="WebSocketHandshakesSlow",
        what="one in thirty",
        series=_handshakes({0.02: counter(2.9), 3: counter(0, (600, 0.1))}),
    ),
    Case(
        alert="WebSocketHandshakesSlow",
        what="the first of a process that has just started, for three minutes",
        series=node(started=level(600))
        | histogram(
            "ws_handshake_duration_seconds",
            {3: counter(0, (600, 3), (780, 0)), 0.02: counter(0, (780, 0.5))},
            instance=NODE,
            route=ROUTE,
        ),
    ),
    Case(
        alert="WebSocketHandshakesSlow",
        what="nobody connects",
        series=_handshakes({3: counter(0)}),
    ),
)


NODE_CASES: Final = (*_LOOP, *_ERRORS)
