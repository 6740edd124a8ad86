"""What a node does, its event loop, its handlers, its sockets."""

from __future__ import annotations

from typing import Final

from .of_objectives import CLOSE_BUDGET, HANDLER_BUDGET, HANDSHAKE_BUDGET, HEARTBEAT_BUDGET
from .signal import Signal

__all__ = ["NODE_SIGNALS"]


NODE_SIGNALS: Final = (
    Signal(
        name="WebSocketEventLoopBlocked",
        side="node",
        severity="critical",
        expr="""
instance:event_loop_lag_seconds:p99 > $loop_lag_p99
unless on (job, instance)
    time() - max by (job, instance) (process_start_time_seconds) < 2 * $warm_up
""",
        hold="1m",
        unit="seconds",
        means="The event loop is blocked again and again: every connection of the process waits.",
        says="the event loop's lag has a p99 of {value}",
        look=(
            (
                "Is one handler slow as well? It is the one that blocks.",
                "histogram_quantile(0.99, sum by (route, le) (rate(ws_handler_duration_seconds_"
                'bucket{job="<job>",instance="<instance>"}[5m])))',
            ),
            (
                "Is the machine busy, or does it wait?",
                'rate(process_cpu_seconds_total{job="<job>",instance="<instance>"}[5m])',
            ),
            (
                "Garbage collection?",
                'sum(rate(python_gc_collections_total{job="<job>",instance="<instance>",'
                'generation="2"}[5m]))',
            ),
        ),
        command="py-spy dump --pid \"$(ss -tlnpH '( sport = :<port> )' | grep -om1 'pid=[0-9]*' "
        '| cut -d= -f2)"',
        do=(
            "Find the blocking call: `py-spy dump` says where the loop's thread is now.",
            "Move it into a thread: `await asyncio.to_thread(...)`, or use its asyncio client.",
            "CPU at 1 without a blocking call: more worker processes, or fewer connections each.",
        ),
        explains=(
            *("WebSocketSlowHandlers", "WebSocketHandshakesSlow", "WebSocketHeartbeatSlow"),
            *("WebSocketHeartbeatUnlikePeers", "WebSocketHalfOpen", "WebSocketQueueGrowing"),
            *("WebSocketSilentStall", "WebSocketAbnormalCloses", "WebSocketNodeUnlikePeers"),
            *("WebSocketBusLagging", "WebSocketBusSilent", "WebSocketBusListenerDown"),
            *("WebSocketMessagesDropped", "WebSocketBusOverflow", "WebSocketSendStuck"),
            *("WebSocketHandshakesFailing", "WebSocketSlowConsumers", "WebSocketNodeUnused"),
            *(*HANDLER_BUDGET, *HANDSHAKE_BUDGET, *HEARTBEAT_BUDGET, *CLOSE_BUDGET),
        ),
        panel="Event loop lag p99 by node",
    ),
    Signal(
        name="WebSocketSlowHandlers",
        side="node",
        severity="warning",
        expr="""
histogram_quantile(
  0.99, sum by (job, instance, route, le) (rate(ws_handler_duration_seconds_bucket[5m]))
) > $handler_p99
""",
        hold="5m",
        unit="seconds",
        means="The application takes long for a message: each client waits for its own.",
        says="the handler time of <route> has a p99 of {value}",
        look=(
            (
                "Does it wait for its clients in send()?",
                "histogram_quantile(0.99, sum by (route, le) (rate(ws_send_duration_seconds_bucket"
                '{job="<job>",instance="<instance>"}[5m])))',
            ),
            (
                "Since when, and on which nodes?",
                "histogram_quantile(0.99, sum by (instance, le) (rate(ws_handler_duration_seconds_"
                'bucket{job="<job>",route="<route>"}[5m])))',
            ),
        ),
        command="curl -s -H 'Accept: application/openmetrics-text' <metrics> | "
        "grep '^ws_handler_duration_seconds_bucket.*<route>.*trace_id'",
        do=(
            "Open a trace of a slow message: the exemplars of the panel lead to it.",
            "What takes long is in its spans: a database, another service, a lock.",
        ),
        explains=("WebSocketQueueGrowing", *HANDLER_BUDGET),
        panel="Handler time",
    ),
    Signal(
        name="WebSocketQueueGrowing",
        side="node",
        severity="warning",
        expr="""
    sum by (job, instance, direction) (ws_queue_depth) > $queue_depth
and
    (
        sum by (job, instance, direction) (deriv(ws_queue_depth[10m])) > 0
      or
        sum by (job, instance, direction) (min_over_time(ws_queue_depth[5m])) > $queue_depth
    )
""",
        hold="5m",
        unit="count",
        means="More messages come than are handled: those that wait become more, or stay many.",
        says="{value} messages wait (<direction>), and they do not become fewer",
        look=(
            (
                "One connection, or all?",
                'max by (route, direction) (ws_queue_depth_max{job="<job>",instance="<instance>"})',
            ),
            (
                "Do more messages come than before?",
                'sum by (route) (rate(ws_messages_total{job="<job>",instance="<instance>"}[5m]))',
            ),
        ),
        command="curl -s <metrics> | grep '^ws_queue_depth'",
        do=(
            "In: make the handler faster, or take work out of it; a client's flood needs a limit.",
            "Out: slow clients; send through a hub, whose queue is bounded.",
        ),
        panel="Queued messages",
    ),
    Signal(
        name="WebSocketHandlerErrors",
        side="node",
        severity="critical",
        expr="""
sum by (job, instance) (
  rate(ws_closes_total{closed_by!="client",reason=~"handler_error|no_close"}[5m])
) > $handler_errors_per_second
""",
        hold="1m",
        unit="per second",
        means="The application itself ends connections: by an exception, by 1011, or by returning "
        "without a close.",
        says="{value} connections a second end by an error of the application (1011, or 1006 "
        "without a frame)",
        look=(
            (
                "Which exception, on which route?",
                "sum by (route, type) (rate(ws_errors_total"
                '{job="<job>",instance="<instance>"}[5m]))',
            ),
            (
                "Since the last deploy?",
                'time() - max(process_start_time_seconds{job="<job>",instance="<instance>"})',
            ),
        ),
        command="curl -s <metrics> | grep '^ws_errors_total'",
        do=(
            "Read a log line `ws_error`: it has the trace, the route and the exception.",
            "Since the last deploy: roll it back.",
        ),
        explains=("WebSocketNodeUnlikePeers", "WebSocketReconnectStorm", *CLOSE_BUDGET),
        panel="Errors a second",
    ),
    Signal(
        name="WebSocketHandshakesFailing",
        side="node",
        severity="critical",
        expr="""
    instance:ws_handshake_failures:rate5m > $handshake_failures_per_second
and
    instance:ws_handshake_failures:rate5m
      / on (job, instance) sum by (job, instance) (rate(ws_handshake_duration_seconds_count[5m]))
      > $handshake_failures
""",
        hold="1m",
        unit="per second",
        means="Users do not get in: the application refuses handshakes or fails in them.",
        says="{value} handshakes a second are refused or fail",
        look=(
            (
                "Refused (rejected, denied), or failed (error)? On which route?",
                "sum by (route, reason) (rate(ws_handshake_failures_total"
                '{job="<job>",instance="<instance>"}[5m]))',
            ),
            (
                "On all nodes?",
                'sum by (instance) (rate(ws_handshake_failures_total{job="<job>"}[5m]))',
            ),
        ),
        command="curl -s <metrics> | grep '^ws_handshake_failures_total'",
        do=(
            "Refused on all nodes: look at the identity provider, its keys, the clocks, an expired "
            "token in a client release.",
            "Errors: read a log line `ws_error`; since the last deploy, roll it back.",
        ),
        explains=("WebSocketReconnectStorm", "WebSocketConnectionsGone", *HANDSHAKE_BUDGET),
        panel="Failed handshakes",
    ),
    Signal(
        name="WebSocketHandshakesSlow",
        side="node",
        severity="warning",
        expr="""
histogram_quantile(
  0.95, sum by (job, instance, le) (rate(ws_handshake_duration_seconds_bucket[5m]))
) > $handshake_p95
unless on (job, instance)
    time() - max by (job, instance) (process_start_time_seconds) < $warm_up
""",
        hold="5m",
        unit="seconds",
        means="Getting in takes seconds: authentication, or whatever runs before accept, is slow.",
        says="handshakes take {value} at p95",
        look=(
            (
                "On which route?",
                "histogram_quantile(0.95, sum by (route, le) "
                '(rate(ws_handshake_duration_seconds_bucket{job="<job>",instance="<instance>"}'
                "[5m])))",
            ),
        ),
        command="curl -s <metrics> | grep '^ws_handshake_duration_seconds_\\(sum\\|count\\)'",
        do=(
            "Look at the trace of a handshake: the spans before accept say what it waits for.",
            "Keep what a handshake needs at hand: keys, sessions, the user's record.",
        ),
        panel="Handshake time",
    ),
    Signal(
        name="WebSocketSilentStall",
        side="node",
        severity="critical",
        expr="""
    sum by (job, instance) (ws_connections_active) >= $stall_connections
and
    sum by (job, instance) (rate(ws_messages_total[2m])) == 0
and
    sum by (job, instance) (rate(ws_messages_total[30m] offset 2m))
      * sum by (job, instance) (ws_connections_active)
      / sum by (job, instance) (avg_over_time(ws_connections_active[30m] offset 2m))
      > $stall_per_second
and
    avg_over_time(
      (sum by (job, instance) (rate(ws_messages_total[2m])) > bool 0)[1h:1m] offset 2m
    ) > $stall_steady
unless on (job, instance)
    time() - max by (job, instance) (process_start_time_seconds) < 2 * $warm_up
""",
        hold="15s",
        unit="count",
        means="Connections are open and nothing moves through them, where messages flowed before.",
        says="{value} connections are open, and for 2 minutes there was not one message",
        look=(
            (
                "Does the bus still deliver?",
                'max by (channel) (ws_fanout_probe_age_seconds{job="<job>",instance="<instance>"})',
            ),
            (
                "Do heartbeats come back? Then the way is open.",
                'sum(rate(ws_heartbeat_rtt_seconds_count{job="<job>",instance="<instance>"}[2m]))',
            ),
        ),
        command="py-spy dump --pid \"$(ss -tlnpH '( sport = :<port> )' | grep -om1 'pid=[0-9]*' "
        '| cut -d= -f2)"',
        do=(
            "Heartbeats come back: the application waits for something, a lock, a pool, the bus.",
            "They do not: something on the way holds connections open and lets nothing through.",
            "Take the node out of the load balancer, keep it for a look, start another.",
        ),
        panel="Messages a second",
        history=True,
    ),
)
