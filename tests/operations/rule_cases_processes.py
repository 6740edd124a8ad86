"""Cases of the alerts about processes, deploys and the monitoring."""

from __future__ import annotations

from typing import Final

from tests.operations.rule_case import Case, Fired
from tests.operations.rule_fleets import NODES, one_node, rolling_deploy, start_up
from tests.operations.rule_series import (
    NODE,
    ROUTE,
    Line,
    Series,
    counter,
    key,
    level,
    node,
    restarted,
    unscraped,
)

__all__ = ["PROCESS_CASES"]

_HERE: Final = {"instance": NODE}
_UNLIKE: Final = "0.50 connections a second fail here, several times the share of elsewhere"


def _workers(*ups: Line) -> Series:
    made: Series = {}
    for worker, line in enumerate(ups):
        made |= node(labels={"worker": str(worker)})
        made[key("ws_observe_worker_up", worker=str(worker))] = line
    return made


def _replaced(*starts: Line) -> Series:
    made: Series = {}
    for worker, line in enumerate(starts):
        made |= node(labels={"worker": str(worker)}, started=line)
    return made


def _bad(*paces: float, connections: tuple[float, ...] = (100, 100, 100)) -> Series:
    made: Series = {}
    for instance, pace, count in zip(NODES, paces, connections, strict=False):
        made |= node(instance, connections=level(count))
        told = {"code": "1006", "closed_by": "network", "reason": "tcp_reset"}
        made[key("ws_closes_total", instance=instance, route=ROUTE, **told)] = counter(
            0, (600, pace)
        )
    return made


def _spread(*counts: float, pace: float = 0.2) -> Series:
    made: Series = {}
    for instance, count in zip(NODES, counts, strict=False):
        made |= node(instance, connections=level(count), connects=counter(pace if count else 0))
    return made


def _together(apart: float, count: float = 100) -> Series:
    made: Series = {}
    for index, instance in enumerate(NODES):
        one = node(instance, connections=level(count, (1185, 0), (1260, count)))
        made |= restarted(one, 1200 + index * apart)
    return made


def _ended(*paces: float) -> Series:
    made: Series = {}
    told = {"code": "1012", "closed_by": "server", "reason": "server_shutdown"}
    for instance, pace in zip(NODES, paces, strict=False):
        left = level(100, (1215, 0)) if pace else level(100)
        made |= node(instance, connections=left)
        name = key("ws_closes_total", instance=instance, route=ROUTE, **told)
        made[name] = counter(0, (1200, pace), (1215, 0))
    return made


_DOWN: Final = (
    Case(
        alert="WebSocketNodeDown",
        what="a node is killed, and stays away",
        series=unscraped(node(), 600) | node(NODES[1]),
        lasts="12m",
        quiet="10m",
        fires=[Fired(f"{NODE}: the metrics page does not answer", _HERE)],
    ),
    Case(
        alert="WebSocketNodeDown",
        what="two scrapes are missed",
        series=unscraped(node(), 600, 630),
    ),
    Case(
        alert="WebSocketNodeDown",
        what="a restart takes 45 seconds",
        series=restarted(node(), 600, 45),
    ),
    Case(
        alert="WebSocketNodeDown",
        what="another kind of exporter is down",
        series=node() | {key("up", job="db", instance="db:9187"): level(0)},
    ),
    Case(
        alert="WebSocketWorkerDown",
        what="a worker hangs",
        series=_workers(level(1), level(1, (600, 0))),
        lasts="12m",
        quiet="10m",
        fires=[Fired(f"{NODE}: worker 1 does not answer", _HERE | {"worker": "1"})],
    ),
    Case(
        alert="WebSocketWorkerDown",
        what="a worker misses its siblings' question three times",
        series=_workers(level(1), level(1, (600, 0), (645, 1))),
    ),
    Case(
        alert="WebSocketWorkerDied",
        what="one of three workers was killed",
        series=_replaced(level(-9000), level(-9000, (600, 600)), level(-9000)),
        lasts="14m",
        quiet="10m",
        fires=[Fired(f"{NODE}: 1 worker processes were replaced in 10 minutes", _HERE)],
    ),
    Case(
        alert="WebSocketWorkerDied",
        what="a deploy replaces all three, one after the other within a minute and a half",
        series=_replaced(*(level(-9000, (600 + 45 * n, 600.0 + 45 * n)) for n in range(3))),
        lasts="40m",
    ),
    Case(
        alert="WebSocketWorkerDied",
        what="the only worker is replaced",
        series=_replaced(level(-9000, (600, 600))),
    ),
    Case(
        alert="WebSocketWorkerDied",
        what="a node without workers restarts",
        series=restarted(node(), 600),
    ),
)

_PEERS: Final = (
    Case(
        alert="WebSocketNodeUnlikePeers",
        what="connections of one node are reset",
        series=_bad(0.5, 0.01, 0.01),
        lasts="20m",
        quiet="10m",
        fires=[
            Fired(
                f"{NODE}: {_UNLIKE}",
                _HERE,
            )
        ],
        records={
            "round(sum(instance:ws_closes_bad:rate5m) * 100)": 52,
            "round(sum(instance:ws_closes_bad:per_connection) * 10000)": 52,
        },
    ),
    Case(
        alert="WebSocketNodeUnlikePeers",
        what="one of two nodes has nobody any more",
        series=_bad(0.5, 0.01, 0, connections=(100, 100, 0)),
        lasts="20m",
        quiet="10m",
        fires=[
            Fired(
                f"{NODE}: {_UNLIKE}",
                _HERE,
            )
        ],
    ),
    Case(
        alert="WebSocketNodeUnlikePeers",
        what="all are reset",
        series=_bad(0.5, 0.4, 0.6),
    ),
    Case(
        alert="WebSocketNodeUnlikePeers",
        what="after a deploy one node has nearly all connections, and so of the failures",
        series=_bad(0.4, 0.04, 0.04, connections=(400, 30, 30)),
    ),
    Case(
        alert="WebSocketNodeUnlikePeers",
        what="two and a half times as many fail here",
        series=_bad(0.25, 0.1, 0.1),
    ),
    Case(
        alert="WebSocketNodeUnlikePeers",
        what="the only node",
        series=_bad(0.5),
    ),
    Case(
        alert="WebSocketNodeUnlikePeers",
        what="two failures a minute here, none elsewhere",
        series=_bad(0.04, 0, 0),
    ),
    Case(
        alert="WebSocketNodeUnused",
        what="the load balancer forgot a node",
        series=_spread(0, 100, 100),
        lasts="20m",
        fires=[Fired(f"{NODE}: no connections, while the other nodes have many", _HERE)],
    ),
    Case(
        alert="WebSocketNodeUnused",
        what="nobody was ever sent to a node, which has no series of a route",
        series=_spread(100, 100)
        | {name: line for name, line in node(NODES[2]).items() if ROUTE not in name},
        lasts="20m",
        fires=[
            Fired(
                f"{NODES[2]}: no connections, while the other nodes have many",
                {"instance": NODES[2]},
            )
        ],
    ),
    Case(
        alert="WebSocketNodeUnused",
        what="a node that started ten minutes ago",
        series=_spread(100, 100)
        | node(NODES[2], connections=level(0), started=level(600))
        | {key("up", instance=NODES[2]): level(1)},
        lasts="24m",
    ),
    Case(
        alert="WebSocketNodeUnused",
        what="a small fleet: its other two nodes have 27 connections each",
        series=_spread(0, 27, 27),
    ),
    Case(
        alert="WebSocketNodeUnused",
        what="nobody is connected anywhere",
        series=_spread(0, 0, 0),
    ),
    Case(
        alert="WebSocketNodeUnused",
        what="clients stay for days, and nobody new has come since the node restarted",
        series=_spread(100, 100, pace=0.001)
        | node(NODES[2], connections=level(0), connects=level(0)),
        lasts="1h",
    ),
)

_DEPLOYS: Final = (
    Case(
        alert="WebSocketFleetRestarted",
        what="three nodes are restarted within seconds",
        series=_together(2),
        lasts="22m",
        quiet="20m",
        fires=[Fired("chat: all nodes ended their connections at once", {})],
    ),
    Case(
        alert="WebSocketFleetRestarted",
        what="all nodes close their connections at once, and go on",
        series=_ended(7, 7, 7),
        lasts="20m45s",
        quiet="20m",
        fires=[Fired("chat: all nodes ended their connections at once", {})],
    ),
    Case(alert="WebSocketFleetRestarted", what="one of three closes", series=_ended(7, 0, 0)),
    Case(
        alert="WebSocketFleetRestarted",
        what="one node after the other",
        series=rolling_deploy(),
        lasts="40m",
    ),
    Case(
        alert="WebSocketFleetRestarted",
        what="one node after the other is drained by 1001",
        series=rolling_deploy("1001"),
        lasts="40m",
    ),
    Case(alert="WebSocketFleetRestarted", what="a fleet of one node", series=one_node()),
    Case(alert="WebSocketFleetRestarted", what="a fleet starts", series=start_up()),
    Case(
        alert="WebSocketFleetRestarted",
        what="all are restarted at night, and five clients notice",
        series=_together(2, 5),
    ),
    Case(
        alert="WebSocketMonitoringFailing",
        what="a hook raises",
        series=node()
        | {key("ws_observe_errors_total", part="hook"): counter(0, (600, 0.1), (660, 0))},
        lasts="15m",
        quiet="10m",
        fires=[
            Fired(
                f"{NODE}: 6 errors of the monitoring's part hook in 15 minutes",
                _HERE | {"part": "hook"},
            )
        ],
    ),
    Case(
        alert="WebSocketMonitoringFailing",
        what="something failed an hour ago",
        series=node() | {key("ws_observe_errors_total", part="hook"): level(6)},
    ),
    Case(
        alert="WebSocketMonitoringFailing",
        what="the process restarts, and counts from zero",
        series=restarted(
            node() | {key("ws_observe_errors_total", part="hook"): level(6, (600, 6))}, 600
        ),
    ),
)

PROCESS_CASES: Final = (*_DOWN, *_PEERS, *_DEPLOYS)
