"""What runs out."""

from __future__ import annotations

from typing import Final

from .of_objectives import HANDSHAKE_BUDGET
from .signal import Signal

__all__ = ["CAPACITY_SIGNALS"]

CAPACITY_SIGNALS: Final = (
    Signal(
        name="WebSocketCapacityReached",
        side="capacity",
        severity="critical",
        expr="""
sum by (job, instance) (rate(ws_handshake_failures_total{reason="limit"}[5m])) > 0
""",
        hold="30s",
        unit="per second",
        means="The ceiling is reached: users are refused.",
        says="{value} handshakes a second are refused, since the ceiling is reached",
        look=(
            (
                "How full is each process?",
                "sum by (instance, worker) (ws_connections_active) / on (instance, worker) "
                "max by (instance, worker) (ws_connections_limit)",
            ),
            (
                "More users, or reconnects?",
                'sum by (job) (rate(ws_connects_total{job="<job>"}[5m]))',
            ),
        ),
        command="curl -s <metrics> | grep -E '^ws_connections_(active|limit)'",
        do=(
            "Add nodes; where connections are unevenly spread, look at the load balancer.",
            "Raise the ceiling only as far as it was tested.",
        ),
        explains=(
            *("WebSocketCapacityNear", "WebSocketHandshakesFailing", *HANDSHAKE_BUDGET),
            "WebSocketReconnectStorm",
        ),
        panel="Capacity used",
    ),
    Signal(
        name="WebSocketCapacityNear",
        side="capacity",
        severity="warning",
        expr="""
  sum by (job, instance, worker) (ws_connections_active)
    / on (job, instance, worker) max by (job, instance, worker) (ws_connections_limit)
> $capacity
""",
        hold="2m",
        unit="ratio",
        means="A process is nearly at its ceiling: soon users are refused.",
        says="{value} of the ceiling is used",
        look=(
            (
                "Since when does it grow, and how fast?",
                'sum(deriv(ws_connections_active{job="<job>",instance="<instance>"}[1h])) * 3600',
            ),
            ("Are the others as full?", 'sum by (instance) (ws_connections_active{job="<job>"})'),
        ),
        command="curl -s <metrics> | grep -E '^ws_connections_(active|limit)'",
        do=("Add nodes, or worker processes, before it is full.",),
        panel="Capacity used",
    ),
    Signal(
        name="WebSocketDescriptorsLow",
        side="capacity",
        severity="critical",
        expr="""
max by (job, instance, worker) (process_open_fds / process_max_fds) > $descriptors
""",
        hold="1m",
        unit="ratio",
        means="The process runs out of file descriptors: then it can accept nobody, nor open a "
        "file.",
        says="{value} of the file descriptors are in use",
        look=(
            (
                "Are they connections? The rest leaks elsewhere.",
                'sum(ws_connections_active{job="<job>",instance="<instance>"})',
            ),
            (
                "Or sockets that clients left?",
                'sum by (state) (ws_tcp_connections{job="<job>",instance="<instance>"})',
            ),
        ),
        command="ss -tnp '( sport = :<port> )' | awk '{print $1}' | sort | uniq -c",
        do=(
            "Connections: raise the limit (`LimitNOFILE=`, `ulimit -n`), or add nodes.",
            "Not connections: `ls -l /proc/<pid>/fd` says what they are.",
        ),
        explains=("WebSocketCapacityNear", "WebSocketHandshakesSlow"),
        panel="File descriptors",
    ),
)
