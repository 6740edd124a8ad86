"""Cases of the alerts about what runs out."""

from __future__ import annotations

from typing import Final

from tests.operations.rule_case import Case, Fired
from tests.operations.rule_series import (
    NODE,
    ROUTE,
    Line,
    Series,
    counter,
    key,
    level,
    node,
    ramp,
)

__all__ = ["CAPACITY_CASES"]

_HERE: Final = {"instance": NODE}


def _refused(reason: str) -> Series:
    name = key("ws_handshake_failures_total", route=ROUTE, reason=reason)
    return node() | {name: counter(0, (600, 0.5))}


def _limited(connections: Line, worker: str = "") -> Series:
    # With Settings(node=...) the label `node` is on both sides.
    labels = {"node": "frankfurt"} | ({"worker": worker} if worker else {})
    series = node(connections=connections, labels=labels)
    return series | {key("ws_connections_limit", **labels): level(500)}


def _descriptors(line: Line) -> Series:
    return node() | {key("process_open_fds"): line, key("process_max_fds"): level(1000)}


CAPACITY_CASES: Final = (
    Case(
        alert="WebSocketCapacityReached",
        what="users are refused",
        series=_refused("limit"),
        lasts="16m",
        quiet="10m",
        fires=[
            Fired(
                f"{NODE}: 0.50 handshakes a second are refused, since the ceiling is reached", _HERE
            )
        ],
    ),
    Case(
        alert="WebSocketCapacityReached",
        what="users are refused for another reason",
        series=_refused("rejected"),
    ),
    Case(
        alert="WebSocketCapacityNear",
        what="one of two workers is nearly full",
        series=_limited(ramp(300, (600, 0.5), (900, 0), (1000, 0.1)), worker="0")
        | _limited(level(100), worker="1"),
        lasts="30m",
        quiet="15m",
        fires=[Fired(f"{NODE}: 106% of the ceiling is used", _HERE | {"worker": "0"})],
    ),
    Case(
        alert="WebSocketCapacityNear",
        what="nine tenths are used, and no more",
        series=_limited(level(450)),
    ),
    Case(
        alert="WebSocketCapacityNear",
        what="for a minute it is full",
        series=_limited(level(100, (600, 500), (660, 100))),
    ),
    Case(
        alert="WebSocketCapacityNear",
        what="no ceiling is set",
        series=node(connections=level(50000)),
    ),
    Case(
        alert="WebSocketDescriptorsLow",
        what="descriptors leak",
        series=_descriptors(ramp(100, (600, 2), (980, 0))),
        lasts="20m",
        quiet="15m",
        fires=[Fired(f"{NODE}: 86% of the file descriptors are in use", _HERE)],
    ),
    Case(
        alert="WebSocketDescriptorsLow",
        what="four fifths are in use, and no more",
        series=_descriptors(level(800)),
    ),
)
