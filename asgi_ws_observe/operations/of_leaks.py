"""What a node keeps and should not."""

from __future__ import annotations

from typing import Final

from .signal import Signal

__all__ = ["LEAK_SIGNALS"]

LEAK_SIGNALS: Final = (
    Signal(
        name="WebSocketCloseWait",
        side="node",
        severity="warning",
        expr="""
    sum by (job, instance) (min_over_time(ws_tcp_connections{state="close_wait"}[5m])) > $close_wait
and
    sum by (job, instance) (delta(ws_tcp_connections{state="close_wait"}[10m])) >= 0
""",
        hold="1m",
        unit="count",
        means="Clients have left, and the process keeps their sockets: a leak that ends in EMFILE.",
        says="{value} sockets are in CLOSE_WAIT for minutes and do not become fewer",
        look=(
            (
                "How many descriptors are left?",
                'process_max_fds{job="<job>",instance="<instance>"} - '
                'process_open_fds{job="<job>",instance="<instance>"}',
            ),
        ),
        command="ss -tnp state close-wait '( sport = :<port> )'",
        do=(
            "Look for a handler that does not ask for messages any more, so that it never learns "
            "of the end: it waits for something else, or sends only.",
            "Restart the node before its descriptors are used up.",
        ),
        explains=("WebSocketDescriptorsLow", "WebSocketConnectionLeak"),
        panel="TCP connections by state",
    ),
    Signal(
        name="WebSocketConnectionLeak",
        side="node",
        severity="warning",
        expr="""
    sum by (job, instance) (deriv(ws_connections_active[1h])) * 3600 > $leak_per_hour
and
    sum by (job, instance) (deriv(ws_connections_active[1h])) * 3600
      > $leak_share * sum by (job, instance) (ws_connections_active)
and
    sum by (job, instance) (min_over_time(ws_connections_active[15m]))
      > sum by (job, instance) (max_over_time(ws_connections_active[15m] offset 45m))
and
    sum by (job, instance) (rate(ws_messages_total{direction="in"}[15m]))
      / sum by (job, instance) (rate(ws_messages_total{direction="in"}[15m] offset 45m))
    <
    0.5 + 0.5
      * sum by (job, instance) (avg_over_time(ws_connections_active[15m]))
      / sum by (job, instance) (avg_over_time(ws_connections_active[15m] offset 45m))
""",
        hold="30m",
        unit="per hour",
        means="Connections become more by the hour while messages hardly do: some are never ended.",
        says="connections grow by {value} an hour, and messages do not keep up",
        look=(
            (
                "Which route?",
                "sum by (route) (deriv(ws_connections_active"
                '{job="<job>",instance="<instance>"}[1h])) * 3600',
            ),
            (
                "Do heartbeats still go to them?",
                'sum(rate(ws_heartbeat_timeouts_total{job="<job>",instance="<instance>"}[1h]))',
            ),
        ),
        command="ss -tno state established '( sport = :<port> )' | wc -l",
        do=(
            "Look for handlers that wait for ever after their client has gone, and for clients "
            "that open a second connection and forget the first.",
            "End what is dead: `Settings(heartbeat_interval=20, heartbeat_close=True)`.",
        ),
        explains=("WebSocketCapacityNear", "WebSocketDescriptorsLow"),
        panel="Open connections",
        history=True,
    ),
)
