"""Fleets in which nothing is wrong, however it looks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from tests.operations.rule_series import (
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
    unscraped,
)

__all__ = ["NODES", "QUIET", "rolling_deploy"]

NODES: Final = ("node-1:8000", "node-2:8000", "node-3:8000")
#: When each of them is restarted.
_DEPLOYS: Final = (1200.0, 1320.0, 1440.0)
#: Connections of each of them at first, and after each restart.
_MOVES: Final = ((100, 0, 75, 187), (100, 150, 0, 113), (100, 150, 225, 0))


def rolling_deploy(code: str = "1012") -> Series:
    """Return three nodes of which one after the other closes its connections, ends, and is back.

    Args:
        code: By which it closes, 1012 as uvicorn does, or 1001 as a drain does.
    """
    made: Series = {}
    for index, (instance, at) in enumerate(zip(NODES, _DEPLOYS, strict=True)):
        counts = _MOVES[index]
        changes = [(time + 15, float(counts[n + 1])) for n, time in enumerate(_DEPLOYS)]
        changes[index] = (at - 15, 0.0)
        came = [
            (time, (counts[n + 1] - counts[n]) / 30)
            for n, time in enumerate(_DEPLOYS)
            if n != index
        ]
        bursts = [each for time, pace in came for each in ((time, pace), (time + 30, 0.002))]
        told = {
            "code": code,
            "closed_by": "server",
            "reason": "going_away" if code == "1001" else "server_shutdown",
        }
        ended = counter(0, (at - 15, counts[index] / 15), (at, 0))
        open_now = level(100, *sorted(changes))
        messages = _sum_of(open_now, 0.05)
        one = node(
            instance,
            connections=open_now,
            connects=counter(0.002, *bursts),
            closes=counter(0.002),
            messages=messages,
            heartbeats={0.03: messages},
        )
        one[key("ws_closes_total", instance=instance, route=ROUTE, **told)] = ended
        made |= restarted(one, at)
    return made


def start_up() -> Series:
    """Return three nodes that start within a minute, and whose first clients come at once."""
    made: Series = {}
    for index, instance in enumerate(NODES):
        at = 300.0 + 4 * index
        one = node(
            instance,
            connections=ramp(0, (at + 30, 2), (at + 90, 0)),
            connects=counter(0, (at + 30, 2.1), (at + 90, 0.1)),
            closes=counter(0, (at + 30, 0.1)),
            started=level(at),
        )
        # What starts is slow at first.
        lag = {0.0005: counter(0, (at, 1.8)), 0.6: counter(0, (at, 0.2), (at + 120, 0))}
        one |= histogram("event_loop_lag_seconds", lag, instance=instance)
        made |= {
            name: absent(line, 0, at + 30 if ROUTE in name else at) for name, line in one.items()
        }
    return made


def night() -> Series:
    """Return three nodes that everybody leaves within an hour, and where nobody is afterwards."""
    made: Series = {}
    for instance in NODES:
        made |= node(
            instance,
            connections=ramp(120, (1200, -1 / 30), (4800, 0)),
            connects=counter(0.1, (1200, 0.02), (4800, 0)),
            closes=counter(0.1, (1200, 0.02 + 1 / 30), (4800, 0)),
            messages=counter(5, (1800, 2), (2700, 1), (3600, 0.3), (4500, 0.05), (4800, 0)),
            heartbeats={0.03: counter(5, (2400, 2), (3600, 1), (4800, 0))},
        )
    return made


def peak() -> Series:
    """Return three nodes in a morning that triples everything, then goes on with some noise."""
    made: Series = {}
    for index, instance in enumerate(NODES):
        open_now = _noisy(ramp(100, (1200, 200 / 7200), (8400, 0)), index)
        per_second = _sum_of(open_now, 0.05)
        one = node(
            instance,
            connections=open_now,
            connects=counter(0.5, (1200, 1.5)),
            closes=counter(0.48, (1200, 1.44)),
            messages=per_second,
            heartbeats={0.03: per_second, 2.0: counter(0.02), 9.0: counter(0.004)},
            handlers={0.02: per_second, 2.0: counter(0.004)},
        )
        lost = {"code": "1006", "closed_by": "network"}
        one |= {
            key("ws_closes_total", instance=instance, route=ROUTE, reason=reason, **lost): line
            for reason, line in {"tcp_reset": counter(0.02), "ping_timeout": counter(0.008)}.items()
        }
        timeouts = key("ws_heartbeat_timeouts_total", instance=instance, route=ROUTE)
        one[timeouts] = counter(0.008)
        refused = key(
            "ws_handshake_failures_total", instance=instance, route=ROUTE, reason="rejected"
        )
        one[refused] = counter(0.0004)
        made |= one
    return made


def idle() -> Series:
    """Return two nodes that have been up for a day, and that nobody ever came to."""
    made: Series = {}
    for instance in NODES[:2]:
        one = node(instance, connections=level(0), connects=counter(0))
        made |= {name: line for name, line in one.items() if ROUTE not in name}
    return made


def one_node() -> Series:
    """Return a fleet of one node that is restarted, and whose clients are back within a minute."""
    open_now = level(100, (1185, 0), (1230, 60), (1260, 100))
    one = node(
        connections=open_now,
        connects=counter(0.1, (1230, 3.3), (1260, 0.1)),
        closes=counter(0.1),
        messages=_sum_of(open_now, 0.05),
        heartbeats={0.03: _sum_of(open_now, 0.05)},
    )
    ended = {"code": "1012", "closed_by": "server", "reason": "server_shutdown"}
    one[key("ws_closes_total", route=ROUTE, **ended)] = counter(0, (1185, 100 / 15), (1200, 0))
    return restarted(one, 1200)


def workers() -> Series:
    """Return a node of three worker processes, of which a deploy replaces one after the other."""
    made: Series = {}
    for worker in range(3):
        labels = {"worker": str(worker)}
        at = 1200.0 + 20 * worker
        open_now = level(40, (at, 0), (at + 20, 25), (at + 60, 40))
        one = restarted(
            node(
                connections=open_now,
                connects=counter(0.02, (at + 10, 1), (at + 50, 0.02)),
                closes=counter(0.02),
                messages=_sum_of(open_now, 0.05),
                labels=labels,
            ),
            at,
            15,
        )
        one[key("ws_observe_worker_up", **labels)] = level(1)
        # One of the others answers for it.
        one[key("up")] = level(1)
        made |= one
    return made


def missed() -> Series:
    """Return two nodes whose scrapes are missed now and then, one or two in a row."""
    made: Series = {}
    for index, instance in enumerate(NODES[:2]):
        one = node(instance)
        for at in (600 + 60 * index, 1500 + 300 * index, 2400 + 30 * index):
            one = unscraped(one, at, at + 30)
        made |= one
    return made


def socketio() -> Series:
    """Return two nodes with a bus and Socket.IO, of which one has no client of Socket.IO yet."""
    made: Series = {}
    for instance, clients in zip(NODES, (60.0, 0.0), strict=False):
        labels = {"instance": instance}
        told = {"namespace": "/", "transport": "websocket"}
        made |= node(instance, connections=level(60))
        made |= {
            key("socketio_connections_active", **labels, **told): level(clients),
            key("socketio_bus_listener_up", **labels): level(1 if clients else 0),
            key("socketio_orphan_sids", namespace="/", **labels): level(0, (900, 1), (930, 0)),
            key("socketio_acks_pending", **labels): level(12),
            key("engineio_queue_depth", **labels): level(0, (900, 400), (960, 0)),
            key("engineio_queue_depth_max", **labels): level(0, (900, 300), (960, 0)),
            key("engineio_rejections_total", reason="bad-sid", **labels): counter(0.01),
            key("ws_fanout_listener_up", channel="rooms", **labels): level(1, (900, 0), (915, 1)),
            key("ws_fanout_probe_age_seconds", channel="rooms", **labels): level(3, (900, 16)),
            key("ws_fanout_lost_total", channel="rooms", **labels): level(0),
        }
        for outcome, pace in {"ok": 5.0, "failed": 0.0}.items():
            name = key("ws_fanout_published_total", channel="rooms", outcome=outcome, **labels)
            made[name] = counter(pace)
        for reason in ("queue_full", "left", "subscription_full"):
            name = key("ws_messages_dropped_total", channel="rooms", reason=reason, **labels)
            made[name] = counter(0.02)
        lag = {"channel": "rooms", "origin": "probe", **labels}
        made |= histogram("ws_fanout_lag_seconds", {0.003: counter(0.2)}, **lag)
        ping = {"transport": "websocket", **labels}
        made |= histogram("engineio_ping_rtt_seconds", {0.05: counter(clients / 25)}, **ping)
    return made


#: Each of them by what happens, with how long it lasts, and the time between two scrapes.
QUIET: Final[dict[str, tuple[Callable[[], Series], str, str]]] = {
    "start-up": (start_up, "40m", "15s"),
    "rolling deploy, 1012": (rolling_deploy, "1h", "15s"),
    "rolling deploy, drained by 1001": (lambda: rolling_deploy("1001"), "1h", "15s"),
    "night": (night, "3h", "30s"),
    "morning and peak": (peak, "4h", "30s"),
    "idle": (idle, "1h", "15s"),
    "workers are replaced": (workers, "1h", "15s"),
    "scrapes are missed": (missed, "1h", "15s"),
    "Socket.IO and a bus": (socketio, "1h", "15s"),
    "one node restarts": (one_node, "1h", "15s"),
}


def _noisy(line: Line, phase: int) -> Line:
    def noisy(time: float) -> float:
        swing = 6 * math.sin(time / 260 + phase) + 4 * math.sin(time / 97 + 2 * phase)
        return round((line(time) or 0) + swing)

    return noisy


def _sum_of(line: Line, each: float) -> Line:
    """Return a counter that grows by so much a second for each that a gauge has."""
    sums: list[float] = [0.0]

    def total(time: float) -> float:
        index = int(time // 5)
        while len(sums) <= index:
            sums.append(sums[-1] + (line(5.0 * (len(sums) - 1)) or 0) * each * 5)
        return sums[index]

    return total
