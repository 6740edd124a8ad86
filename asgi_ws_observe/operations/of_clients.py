"""What clients do."""

from __future__ import annotations

from typing import Final

from .of_objectives import HANDLER_BUDGET, HEARTBEAT_BUDGET
from .signal import Signal

__all__ = ["CLIENT_SIGNALS"]

CLIENT_SIGNALS: Final = (
    Signal(
        name="WebSocketReconnectStorm",
        side="clients",
        severity="critical",
        scope="fleet",
        expr="""
(
    sum by (job) (rate(ws_connects_total[1m]))
      > $storm_factor * sum by (job) (rate(ws_connects_total[15m] offset 2m))
  and
    sum by (job) (rate(ws_connects_total[1m])) > $storm_per_second
  and on (job)
    sum by (job) (ws_connects_total offset 10m)
)
unless on (job) sum by (job) (max_over_time(up[10m])) > sum by (job) (up)
unless on (job) time() - max by (job) (process_start_time_seconds) < $warm_up
unless on (job)
    sum by (job) (rate(
      ws_closes_total{closed_by="server",reason=~"going_away|server_shutdown"}[2m]
    ))
      > 0.3 * sum by (job) (rate(ws_connects_total[2m]))
""",
        hold="1m",
        unit="per second",
        means="Clients connect many times as often as a quarter of an hour ago, and no deploy "
        "made them.",
        says="{value} connects a second, many times as many as a quarter of an hour ago",
        look=(
            (
                "Who hung up, before they came back?",
                "topk(5, sum by (code, closed_by, reason) "
                '(rate(ws_closes_total{job="<job>"}[5m])))',
            ),
            (
                "Do they get in?",
                'sum by (reason) (rate(ws_handshake_failures_total{job="<job>"}[5m]))',
            ),
            (
                "Do they leave at once, and come again?",
                "histogram_quantile(0.5, sum by (le) "
                '(rate(ws_connection_duration_seconds_bucket{job="<job>"}[5m])))',
            ),
        ),
        command="asgi-ws-observe top <prometheus>",
        do=(
            "Look for a client release without backoff: reconnects need a random delay that "
            "doubles, up to a minute.",
            "Keep the fleet below its ceiling meanwhile: `Settings(max_connections=N, "
            "enforce=True)` answers 503 with `Retry-After`.",
            "Look at what every client shares: a proxy, DNS, a certificate, an identity provider.",
        ),
        explains=("WebSocketHandshakesSlow", "WebSocketConnectionLeak"),
        panel="Connects a second",
        history=True,
    ),
    Signal(
        name="WebSocketSlowConsumers",
        side="clients",
        severity="warning",
        expr="""
histogram_quantile(0.95, sum by (job, instance, le) (rate(ws_send_buffer_bytes_bucket[5m])))
  > $send_buffer_p95
""",
        hold="2m",
        unit="bytes",
        means="Many clients read more slowly than the application sends: what it sent waits in "
        "memory.",
        says="the send buffer's p95 is {value}",
        look=(
            (
                "How many clients, and on which routes?",
                'sum by (route) (ws_slow_connections{job="<job>",instance="<instance>"})',
            ),
            (
                "How much memory do they hold?",
                'sum(ws_send_buffer_current_bytes{job="<job>",instance="<instance>"})',
            ),
            (
                "Does the application send more than before?",
                "sum by (route) (rate(ws_message_bytes_total"
                '{job="<job>",instance="<instance>",direction="out"}[5m]))',
            ),
        ),
        command="curl -s <metrics> | grep -E '^ws_(slow_connections|send_buffer_(current|max))'",
        do=(
            "Send through a hub, whose queue for each client drops instead of growing.",
            "Send less: smaller messages, fewer of them, only the last state.",
            "End clients that do not catch up: `current_connection().abort()`.",
        ),
        explains=(
            *("WebSocketSendStuck", "WebSocketQueueGrowing", "WebSocketMessagesDropped"),
            *("WebSocketSlowHandlers", "WebSocketHalfOpen", "WebSocketHeartbeatSlow"),
            *(*HANDLER_BUDGET, *HEARTBEAT_BUDGET),
        ),
        panel="Unsent bytes p95",
    ),
    Signal(
        name="WebSocketSendStuck",
        side="clients",
        severity="warning",
        expr="max by (job, instance) (ws_send_waiting_max_seconds) > $send_waiting",
        hold="1m",
        unit="seconds",
        means="A handler hangs in send() behind a client that reads no more.",
        says="a send() has waited {value}",
        look=(
            (
                "On which route?",
                'max by (route) (ws_send_waiting_max_seconds{job="<job>",instance="<instance>"})',
            ),
            (
                "How many clients are slow?",
                'sum by (route) (ws_slow_connections{job="<job>",instance="<instance>"})',
            ),
        ),
        command="curl -s <metrics> | grep '^ws_send_waiting_max_seconds'",
        do=(
            "Give heartbeats the right to end dead connections: `Settings(heartbeat_interval=20, "
            "heartbeat_close=True)`.",
            "Send through a hub, in which one client waits for nobody else.",
        ),
        explains=("WebSocketQueueGrowing",),
        panel="Longest wait in send()",
    ),
    Signal(
        name="WebSocketMessagesDropped",
        side="clients",
        severity="warning",
        expr="""
sum by (job, instance, channel) (rate(ws_messages_dropped_total{reason="queue_full"}[5m]))
  > $dropped_per_second
""",
        hold="2m",
        unit="per second",
        means="Clients lose messages, since their queues in the hub are full.",
        says="{value} messages a second dropped for full queues",
        look=(
            (
                "Are the clients slow, or is it the node?",
                "histogram_quantile(0.99, sum by (le) (rate(event_loop_lag_seconds_bucket"
                '{job="<job>",instance="<instance>"}[5m])))',
            ),
            (
                "How deep are the queues?",
                'max(ws_queue_depth_max{job="<job>",instance="<instance>",direction="out"})',
            ),
        ),
        command="curl -s <metrics> | grep '^ws_messages_dropped_total'",
        do=(
            "Compare the send buffers: where they are full as well, the clients are slow.",
            "Give the hub a longer queue where bursts are the cause: `Hub(queue=...)`.",
        ),
        panel="Dropped messages",
    ),
)
