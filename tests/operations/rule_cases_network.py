"""Cases of the alerts about the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.operations.rule_case import Case, Fired
from tests.operations.rule_fleets import NODES
from tests.operations.rule_series import (
    NODE,
    ROUTE,
    Line,
    Series,
    absent,
    counter,
    histogram,
    key,
    level,
    node,
    ramp,
    restarted,
)

__all__ = ["NETWORK_CASES"]

_HERE: Final = {"instance": NODE}


def _cut(pace: float, reason: str = "tcp_reset", author: str = "network") -> Series:
    told = {"code": "1006", "closed_by": author, "reason": reason}
    return {key("ws_closes_total", route=ROUTE, **told): counter(0, (600, pace))}


def _pings(name: str, lines: Mapping[float, Line]) -> Series:
    labels = {"route": ROUTE} if name.startswith("ws") else {"transport": "polling"}
    return histogram(name, lines, instance=NODE, **labels)


def _fleet(*rtts: float, pace: float = 5) -> Series:
    made: Series = {}
    for instance, rtt in zip(NODES, rtts, strict=False):
        made |= node(instance, heartbeats={rtt: counter(pace)})
    return made


def _unanswered(pace: float, connections: float = 100) -> Series:
    series = node(connections=level(connections))
    return series | {key("ws_heartbeat_timeouts_total", route=ROUTE): counter(0, (600, pace))}


_CLOSES: Final = (
    Case(
        alert="WebSocketAbnormalCloses",
        what="a proxy resets a connection every five seconds",
        series=node() | _cut(0.2),
        lasts="20m",
        quiet="10m",
        fires=[Fired(f"{NODE}: 0.20 connections a second end without a close frame (1006)", _HERE)],
        records={
            "sum(round(instance:ws_closes_lost:rate5m * 100))": 20,
        },
    ),
    Case(
        alert="WebSocketAbnormalCloses",
        what="a tenth fewer than the threshold are cut",
        series=node() | _cut(0.09),
    ),
    Case(
        alert="WebSocketAbnormalCloses",
        what="a large fleet: four in a hundred closes are phones that lost their network",
        series=node(connects=counter(4.8)) | _cut(0.2, "eof"),
    ),
    Case(
        alert="WebSocketAbnormalCloses",
        what="the application raises, which clients see as 1006",
        series=node() | _cut(1, "handler_error", "server"),
    ),
    Case(
        alert="WebSocketAbnormalCloses",
        what="heartbeats end dead connections: that is another alert",
        series=node() | _cut(1, "ping_timeout"),
    ),
)

_GONE: Final = (
    Case(
        alert="WebSocketConnectionsGone",
        what="an expired certificate: nobody comes back",
        series=node(connections=level(100, (1200, 5))),
        lasts="24m",
        quiet="20m",
        fires=[Fired("chat: 5 connections are left of the fleet's", {})],
    ),
    Case(
        alert="WebSocketConnectionsGone",
        what="the fleet is restarted, and the load balancer does not find it again",
        series={
            name: absent(line, 1200) if ROUTE in name else line
            for name, line in restarted(node(), 1200).items()
        },
        lasts="24m",
        quiet="20m",
        fires=[Fired("chat: 0 connections are left of the fleet's", {})],
    ),
    Case(
        alert="WebSocketConnectionsGone",
        what="an evening: 200 leave within an hour",
        series=node(connections=ramp(200, (600, -1 / 18), (4200, 0))),
        lasts="2h",
    ),
    Case(
        alert="WebSocketConnectionsGone",
        what="a seventh of them is left",
        series=node(connections=level(105, (1200, 15))),
    ),
    Case(
        alert="WebSocketConnectionsGone",
        what="the last fifteen leave",
        series=node(connections=level(15, (1200, 0))),
    ),
    Case(
        alert="WebSocketConnectionsGone",
        what="the only node restarts, and all are back after a minute and a half",
        series=restarted(node(connections=level(100, (1185, 0), (1290, 80))), 1200),
    ),
)

_PINGS: Final = (
    Case(
        alert="WebSocketHeartbeatSlow",
        what="one heartbeat in twenty takes eight seconds",
        series=node()
        | _pings("ws_heartbeat_rtt_seconds", {0.03: counter(5), 8: counter(0, (600, 0.25))}),
        lasts="22m",
        quiet="15m",
        fires=[Fired(f"{NODE}: the heartbeat's p99 is 8.95s", _HERE)],
    ),
    Case(
        alert="WebSocketHeartbeatSlow",
        what="Engine.IO's pings take seven seconds over polling",
        series=node() | _pings("engineio_ping_rtt_seconds", {7: counter(1)}),
        lasts="22m",
        fires=[Fired(f"{NODE}: the heartbeat's p99 is 9.95s", _HERE)],
    ),
    Case(
        alert="WebSocketHeartbeatSlow",
        what="one heartbeat in two hundred is slow",
        series=node()
        | _pings("ws_heartbeat_rtt_seconds", {0.03: counter(10), 8: counter(0, (600, 0.05))}),
    ),
    Case(
        alert="WebSocketHeartbeatSlow",
        what="one in twenty takes three seconds",
        series=node()
        | _pings("ws_heartbeat_rtt_seconds", {0.03: counter(5), 3: counter(0, (600, 0.25))}),
    ),
    Case(
        alert="WebSocketHeartbeatSlow",
        what="in the evening one of twelve clients is a phone in a tunnel",
        series=node(connections=level(12))
        | _pings("ws_heartbeat_rtt_seconds", {0.03: counter(0.55), 8: counter(0.05)}),
    ),
    Case(
        alert="WebSocketHeartbeatSlow",
        what="at night one of three clients is a phone in a tunnel",
        series=node(connections=level(3))
        | _pings("ws_heartbeat_rtt_seconds", {0.03: counter(0.1), 8: counter(0.05)}),
    ),
    Case(
        alert="WebSocketHeartbeatSlow",
        what="nobody is connected, and a quantile of nothing is NaN",
        series=node() | _pings("ws_heartbeat_rtt_seconds", {0.03: counter(0)}),
    ),
    Case(
        alert="WebSocketHeartbeatUnlikePeers",
        what="one of three nodes is behind a slow segment",
        series=_fleet(0.4, 0.03, 0.03),
        lasts="10m",
        fires=[
            Fired(
                f"{NODE}: the heartbeat's p90 is 475ms, several times that of the other nodes",
                _HERE,
            )
        ],
        records={"round(sum(instance:ws_heartbeat_rtt_seconds:p90) * 1000)": 570},
    ),
    Case(
        alert="WebSocketHeartbeatUnlikePeers",
        what="one of three nodes has nobody, whose quantile is NaN",
        series=_fleet(0.4, 0.03) | node(NODES[2], heartbeats={0.03: counter(0)}),
        lasts="10m",
        fires=[
            Fired(
                f"{NODE}: the heartbeat's p90 is 475ms, several times that of the other nodes",
                _HERE,
            )
        ],
    ),
    Case(
        alert="WebSocketHeartbeatUnlikePeers",
        what="all nodes are slow",
        series=_fleet(0.4, 0.4, 0.4),
    ),
    Case(
        alert="WebSocketHeartbeatUnlikePeers",
        what="the only node is slow",
        series=_fleet(0.4),
    ),
    Case(
        alert="WebSocketHeartbeatUnlikePeers",
        what="a node in another zone: more than three times as slow, and fast all the same",
        series=_fleet(0.07, 0.004, 0.004),
    ),
    Case(
        alert="WebSocketHalfOpen",
        what="a firewall forgets its connections",
        series=_unanswered(0.1),
        lasts="17m",
        quiet="10m",
        fires=[Fired(f"{NODE}: 30 heartbeats timed out in 5 minutes", _HERE)],
    ),
    Case(
        alert="WebSocketHalfOpen",
        what="four time out in five minutes",
        series=_unanswered(0.013),
    ),
    Case(
        alert="WebSocketHalfOpen",
        what="thirty of two thousand time out",
        series=_unanswered(0.1, 2000),
    ),
)

NETWORK_CASES: Final = (*_CLOSES, *_GONE, *_PINGS)
