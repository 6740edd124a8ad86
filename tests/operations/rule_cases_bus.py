"""Cases of the alerts about the bus between nodes, and about Socket.IO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.operations.rule_case import Case, Fired
from tests.operations.rule_series import (
    NODE,
    Line,
    Series,
    counter,
    histogram,
    key,
    level,
    node,
    ramp,
)

__all__ = ["BUS_CASES"]

_HERE: Final = {"instance": NODE}
_ROOMS: Final = _HERE | {"channel": "rooms"}
_DEAF: Final = f"{NODE}: the listener of the bus is down: this node is deaf"


def _bus(name: str, line: Line, **labels: str) -> Series:
    return node() | {key(name, channel="rooms", **labels): line}


def _listener(worker: str, up: Line, clients: Line) -> Series:
    told = {"namespace": "/", "transport": "websocket"}
    return node(labels={"worker": worker}) | {
        key("socketio_bus_listener_up", worker=worker): up,
        key("socketio_connections_active", worker=worker, **told): clients,
    }


def _ways(lines: Mapping[float, Line], origin: str) -> Series:
    labels = {"instance": NODE, "channel": "rooms", "origin": origin}
    return node() | histogram("ws_fanout_lag_seconds", lines, **labels)


def _bad_sids(pace: float, started: float = -86400) -> Series:
    name = key("engineio_rejections_total", reason="bad-sid")
    return node(started=level(started)) | {name: counter(0, (600, pace))}


def _queue(most: Line, every: Line) -> Series:
    return node() | {key("engineio_queue_depth_max"): most, key("engineio_queue_depth"): every}


_LISTENERS: Final = (
    Case(
        alert="WebSocketBusListenerDown",
        what="the broker is out of reach",
        series=_bus("ws_fanout_listener_up", level(1, (600, 0))),
        lasts="12m",
        quiet="10m",
        fires=[Fired(_DEAF, _ROOMS)],
    ),
    Case(
        alert="WebSocketBusListenerDown",
        what="Socket.IO's listener of one of two workers died, and both have clients",
        series=_listener("0", level(1, (600, 0)), level(40)) | _listener("1", level(1), level(40)),
        lasts="12m",
        quiet="10m",
        fires=[Fired(_DEAF, _HERE)],
    ),
    Case(
        alert="WebSocketBusListenerDown",
        what="no client of Socket.IO has come to one of two workers, so it does not listen yet",
        series=_listener("0", level(0), level(0)) | _listener("1", level(1), level(40)),
    ),
    Case(
        alert="WebSocketBusListenerDown",
        what="it comes back within 20 seconds",
        series=_bus("ws_fanout_listener_up", level(1, (600, 0), (620, 1))),
    ),
    Case(
        alert="WebSocketBusSilent",
        what="the connection that publishes is dead, and nobody notices",
        series=_bus("ws_fanout_probe_age_seconds", ramp(2, (600, 1))),
        lasts="11m",
        quiet="10m",
        fires=[Fired(f"{NODE}: the last probe through the bus came back 1m 2s ago", _ROOMS)],
    ),
    Case(
        alert="WebSocketBusSilent",
        what="probes come back after 29 seconds",
        series=_bus("ws_fanout_probe_age_seconds", level(2, (600, 29))),
    ),
)

_MESSAGES: Final = (
    Case(
        alert="WebSocketBusPublishFailing",
        what="the broker has no memory left",
        series=_bus("ws_fanout_published_total", counter(0, (600, 0.5)), outcome="failed"),
        lasts="14m",
        quiet="10m",
        fires=[Fired(f"{NODE}: 0.50 messages a second are not taken by the broker", _ROOMS)],
    ),
    Case(
        alert="WebSocketBusPublishFailing",
        what="Socket.IO's manager drops what Redis does not take",
        series=node()
        | {
            key("socketio_bus_published_total", method="emit", outcome="ok"): counter(2),
            key("socketio_bus_published_total", method="emit", outcome="dropped"): counter(
                0, (600, 0.2)
            ),
        },
        lasts="14m",
        quiet="10m",
        fires=[Fired(f"{NODE}: 0.20 messages a second are not taken by the broker", _HERE)],
    ),
    Case(
        alert="WebSocketBusPublishFailing",
        what="thirty fail within a quarter of a minute, while the broker fails over",
        series=_bus("ws_fanout_published_total", counter(0, (600, 2), (615, 0)), outcome="failed"),
    ),
    Case(
        alert="WebSocketBusPublishFailing",
        what="all is published",
        series=_bus("ws_fanout_published_total", counter(50), outcome="ok"),
    ),
    Case(
        alert="WebSocketBusLosing",
        what="Redis ends a subscriber that is too slow",
        series=_bus("ws_fanout_lost_total", counter(0, (600, 3), (660, 0))),
        lasts="13m",
        quiet="10m",
        fires=[Fired(f"{NODE}: 180 messages of the bus were lost in 5 minutes", _ROOMS)],
    ),
    Case(
        alert="WebSocketBusLosing",
        what="some were lost an hour ago",
        series=_bus("ws_fanout_lost_total", level(42)),
    ),
    Case(
        alert="WebSocketBusLagging",
        what="a slow script holds Redis up for seconds",
        series=_ways({0.002: counter(4), 2: counter(0, (600, 0.2))}, "own"),
        lasts="18m",
        quiet="15m",
        fires=[Fired(f"{NODE}: the way through the bus takes 2.185s at p99", _ROOMS)],
    ),
    Case(
        alert="WebSocketBusLagging",
        what="a node's clock is wrong by two seconds",
        series=_ways({2: counter(4)}, "other"),
    ),
    Case(
        alert="WebSocketBusLagging",
        what="four messages in a hundred take seven tenths of a second",
        series=_ways({0.002: counter(4.8), 0.7: counter(0.2)}, "own"),
    ),
    Case(
        alert="WebSocketBusLagging",
        what="one probe is slow",
        series=_ways({0.002: counter(0.1), 2: counter(0, (600, 1 / 15), (615, 0))}, "probe"),
    ),
    Case(
        alert="WebSocketBusOverflow",
        what="the application takes its subscription too slowly",
        series=_bus("ws_messages_dropped_total", counter(0, (600, 3)), reason="subscription_full"),
        lasts="16m",
        quiet="10m",
        fires=[
            Fired(
                f"{NODE}: 3.00 messages a second are dropped between this node and the bus", _ROOMS
            )
        ],
    ),
    Case(
        alert="WebSocketBusOverflow",
        what="five a minute are dropped",
        series=_bus("ws_messages_dropped_total", counter(0, (600, 0.08)), reason="outbox_full"),
    ),
    Case(
        alert="WebSocketBusOverflow",
        what="queues of clients are full: that is another alert",
        series=_bus("ws_messages_dropped_total", counter(3), reason="queue_full"),
    ),
)

_SOCKETIO: Final = (
    Case(
        alert="SocketIONoStickySessions",
        what="the load balancer sends each request elsewhere",
        series=_bad_sids(5),
        lasts="16m",
        quiet="10m",
        fires=[
            Fired("chat: 5.00 requests a second reach a node that does not know their session", {})
        ],
    ),
    Case(
        alert="SocketIONoStickySessions",
        what="clients whose sessions were those of a node that restarted",
        series=_bad_sids(5, 590)
        | {
            key("engineio_rejections_total", reason="bad-sid"): counter(0, (600, 20), (660, 0)),
        },
    ),
    Case(
        alert="SocketIONoStickySessions",
        what="now and then a phone wakes up with an old session",
        series=_bad_sids(0.9),
    ),
    Case(
        alert="EngineIOQueueGrowing",
        what="a client reads nothing",
        series=_queue(ramp(0, (600, 5)), ramp(10, (600, 5))),
        lasts="16m",
        quiet="13m",
        fires=[Fired(f"{NODE}: 1800 packets wait for one client", _HERE)],
    ),
    Case(
        alert="EngineIOQueueGrowing",
        what="a thousand wait, and no more",
        series=_queue(ramp(0, (600, 5), (800, 0)), ramp(10, (600, 5), (800, 0))),
    ),
    Case(
        alert="EngineIOQueueGrowing",
        what="a long queue is worked off",
        series=_queue(ramp(6000, pace=-3), ramp(6000, pace=-3)),
    ),
    Case(
        alert="SocketIOOrphans",
        what="a connect handler raises",
        series=node() | {key("socketio_orphan_sids", namespace="/"): ramp(0, (600, 0.01))},
        lasts="25m",
        quiet="20m",
        fires=[
            Fired(f"{NODE}: 3 clients are in the server's tables whose transport is gone", _HERE)
        ],
    ),
    Case(
        alert="SocketIOOrphans",
        what="now and then one is on its way out",
        series=node()
        | {
            key("socketio_orphan_sids", namespace="/"): level(
                0, (600, 2), (660, 0), (1200, 1), (1500, 0)
            )
        },
    ),
    Case(
        alert="SocketIOAcksPending",
        what="calls that time out across nodes leave their callbacks",
        series=node() | {key("socketio_acks_pending"): ramp(0, (600, 0.2))},
        lasts="40m",
        quiet="25m",
        fires=[Fired(f"{NODE}: 360 acknowledgements are waited for, and they become more", _HERE)],
    ),
    Case(
        alert="SocketIOAcksPending",
        what="two hundred are always on their way",
        series=node() | {key("socketio_acks_pending"): level(200)},
        lasts="1h",
    ),
    Case(
        alert="SocketIOAcksPending",
        what="ninety are left over",
        series=node() | {key("socketio_acks_pending"): ramp(0, pace=0.025)},
        lasts="1h",
    ),
)

BUS_CASES: Final = (*_LISTENERS, *_MESSAGES, *_SOCKETIO)
