"""What becomes of nodes, worker processes, deploys, and the monitoring itself."""

from __future__ import annotations

from typing import Final

from .expressions import unlike_peers
from .of_objectives import CLOSE_BUDGET, HANDSHAKE_BUDGET
from .signal import Signal

__all__ = ["PROCESS_SIGNALS"]

PROCESS_SIGNALS: Final = (
    Signal(
        name="WebSocketNodeDown",
        side="node",
        severity="critical",
        expr="""
max by (job, instance) (up) == 0
and on (job) group by (job) (present_over_time(ws_observe_info[1d]))
""",
        hold="1m",
        unit="count",
        means="A node does not answer on its metrics page: it is down, stuck, or out of reach.",
        says="the metrics page does not answer",
        look=(
            ("Since when?", 'min_over_time(up{job="<job>",instance="<instance>"}[1h:1m])'),
            (
                "Did its connections go to the others?",
                'sum by (instance) (rate(ws_connects_total{job="<job>"}[5m]))',
            ),
        ),
        command="curl -sv --max-time 5 <metrics> -o /dev/null",
        do=(
            "Refused: the process is gone; its last log lines and the kernel's "
            "(`dmesg | grep -i oom`) say why.",
            "No answer: the event loop is blocked; `py-spy dump` says where.",
        ),
        explains=(
            *("WebSocketReconnectStorm", "WebSocketConnectionsGone", "WebSocketNodeUnused"),
            *("WebSocketSilentStall", *CLOSE_BUDGET),
        ),
        panel="Scrapes",
    ),
    Signal(
        name="WebSocketWorkerDown",
        side="node",
        severity="critical",
        expr="min by (job, instance, worker) (ws_observe_worker_up) == 0",
        hold="1m",
        unit="count",
        means="A worker process lives and does not answer: it is stuck, and so are its clients.",
        says="worker <worker> does not answer",
        look=(
            (
                "How many connections had it?",
                "sum by (worker) (last_over_time(ws_connections_active"
                '{job="<job>",instance="<instance>"}[1h]))',
            ),
        ),
        command="py-spy dump --pid <pid of the worker>",
        do=("Look where it hangs, then kill it: the others go on, its clients come back.",),
        explains=("WebSocketSilentStall",),
        panel="Workers",
    ),
    Signal(
        name="WebSocketWorkerDied",
        side="node",
        severity="warning",
        expr="""
  count by (job, instance) (changes(process_start_time_seconds{worker!=""}[10m]) > 0)
< on (job, instance)
  count by (job, instance) (process_start_time_seconds{worker!=""})
""",
        hold="2m",
        unit="count",
        means="A worker process ended and another took its place, while its siblings went on: no "
        "deploy does that.",
        says="{value} worker processes were replaced in 10 minutes",
        look=(
            (
                "Which, and how often?",
                "changes(process_start_time_seconds"
                '{job="<job>",instance="<instance>",worker!=""}[1h])',
            ),
            (
                "Did it grow until the kernel killed it?",
                'process_resident_memory_bytes{job="<job>",instance="<instance>"}',
            ),
        ),
        command="dmesg -T | grep -iE 'killed process|segfault' | tail",
        do=(
            "Killed by the kernel: more memory, or fewer connections in each process.",
            "A crash: look at the supervisor's log for the signal or the exit status.",
            "It is meant (gunicorn's max_requests): silence this alert.",
        ),
        explains=(*CLOSE_BUDGET, "WebSocketReconnectStorm"),
        panel="Workers",
    ),
    Signal(
        name="WebSocketNodeUnlikePeers",
        side="node",
        severity="warning",
        expr="    instance:ws_closes_bad:rate5m > $peers_per_second\nand"
        + unlike_peers("ws_closes_bad:per_connection"),
        hold="2m",
        unit="per second",
        means="Of a node's connections several times as many fail as of its peers': it is this "
        "node, not the clients.",
        says="{value} connections a second fail here, several times the share of elsewhere",
        look=(
            (
                "How do they fail here, and how elsewhere?",
                "sum by (instance, code, reason) (rate(ws_closes_total"
                '{job="<job>",reason!~"normal|going_away|application"}[5m]))',
            ),
            (
                "Does it run another version?",
                'max by (instance, version, transport) (ws_observe_info{job="<job>"})',
            ),
        ),
        command="curl -s <metrics> | grep '^ws_closes_total'",
        do=("Take it out of the load balancer, then look at its log, its host and its version.",),
        explains=("WebSocketAbnormalCloses", *CLOSE_BUDGET),
        panel="Lost connections by node",
    ),
    Signal(
        name="WebSocketNodeUnused",
        side="node",
        severity="warning",
        expr="""
(
    (
        sum by (job, instance) (ws_connections_active)
      or
        0 * sum by (job, instance) (ws_observe_info)
    )
      == 0
  and on (job)
    avg by (job) (sum by (job, instance) (ws_connections_active)) >= $expected_connections
  and on (job)
    avg by (job) (sum by (job, instance) (increase(ws_connects_total[10m]))) >= $unused_connects
)
unless on (job, instance)
    time() - max by (job, instance) (process_start_time_seconds) < 2 * $warm_up
""",
        hold="5m",
        unit="count",
        means="A node has no connections while its peers have many: nobody is sent to it.",
        says="no connections, while the other nodes have many",
        look=(
            (
                "Do handshakes come?",
                "sum(rate(ws_handshake_duration_seconds_count"
                '{job="<job>",instance="<instance>"}[5m]))',
            ),
        ),
        command="curl -s <metrics> | grep -E '^ws_(connects|handshake_failures)_total'",
        do=("Look at the load balancer's health check of this node, and at its readiness.",),
        panel="Open connections",
    ),
    Signal(
        name="WebSocketFleetRestarted",
        side="deploy",
        severity="warning",
        scope="fleet",
        expr="""
(
    (
        count by (job) (
            sum by (job, instance) (increase(
              ws_closes_total{closed_by="server",reason=~"server_shutdown|going_away"}[1m]
            ))
          >
            $restart_share * sum by (job, instance) (max_over_time(ws_connections_active[5m]))
        )
      ==
        count by (job) (count by (job, instance) (process_start_time_seconds))
    )
  or
    (
        max by (job) (process_start_time_seconds) - min by (job) (process_start_time_seconds)
          < $together
      and
        time() - max by (job) (process_start_time_seconds) < $warm_up
    )
)
and on (job)
  max_over_time(sum by (job) (ws_connections_active)[10m:15s]) >= $expected_connections
and on (job)
  count by (job) (count by (job, instance) (process_start_time_seconds)) > 1
and on (job)
  sum by (job) (ws_observe_info offset 10m)
""",
        hold="0s",
        unit="count",
        means="All nodes were restarted or drained at once: every client lost its connection in "
        "the same moment.",
        says="all nodes ended their connections at once",
        look=(
            (
                "Which nodes, and when?",
                'time() - max by (instance) (process_start_time_seconds{job="<job>"})',
            ),
            (
                "Are the clients back?",
                'sum by (instance) (ws_connections_active{job="<job>"})',
            ),
        ),
        command="asgi-ws-observe top <prometheus>",
        do=(
            "Deploy node after node, each after a drain with 1001 at a pace that the others bear.",
            "No deploy? Look for what restarted them: an orchestrator, a probe, a bad message.",
        ),
        explains=(
            *("WebSocketReconnectStorm", "WebSocketConnectionsGone", "WebSocketAbnormalCloses"),
            *("WebSocketNodeDown", "WebSocketNodeUnlikePeers", "WebSocketHandshakesSlow"),
            *(*CLOSE_BUDGET, *HANDSHAKE_BUDGET),
        ),
        panel="Closes by code",
        history=True,
    ),
    Signal(
        name="WebSocketMonitoringFailing",
        side="node",
        severity="warning",
        expr="sum by (job, instance, part) (increase(ws_observe_errors_total[15m])) > 0",
        hold="0s",
        unit="count",
        means="A part of the monitoring itself fails: what it says may be incomplete.",
        says="{value} errors of the monitoring's part <part> in 15 minutes",
        look=(
            (
                "Which part?",
                'sum by (part) (ws_observe_errors_total{job="<job>",instance="<instance>"}) > 0',
            ),
        ),
        command="curl -s <metrics> | grep '^ws_observe_errors_total' | grep -v ' 0.0$'",
        do=("Read the log line of logger `asgi_ws_observe`: it has the traceback, once.",),
        panel="Own errors",
    ),
)
