"""What the network does, between clients and nodes."""

from __future__ import annotations

from typing import Final

from .expressions import unlike_peers
from .of_objectives import CLOSE_BUDGET, HEARTBEAT_BUDGET
from .signal import Signal

__all__ = ["NETWORK_SIGNALS"]

NETWORK_SIGNALS: Final = (
    Signal(
        name="WebSocketAbnormalCloses",
        side="network",
        severity="critical",
        expr="""
    instance:ws_closes_lost:rate5m > $abnormal_per_second
and on (job, instance)
    instance:ws_closes_lost:rate5m
      / on (job, instance) sum by (job, instance) (rate(ws_closes_total[5m])) > $abnormal_share
""",
        hold="1m",
        unit="per second",
        means="Connections end without a close frame: something between the clients and this node "
        "cuts them.",
        says="{value} connections a second end without a close frame (1006)",
        look=(
            (
                "A reset, or an end of the stream?",
                "sum by (reason, closed_by) (rate(ws_closes_total"
                '{job="<job>",instance="<instance>",code="1006"}[5m]))',
            ),
            (
                "On one node, or on all?",
                'sum by (instance) (rate(ws_closes_total{job="<job>",code="1006"}[5m]))',
            ),
            (
                "After how long? Always about a proxy's limit, such as 60 s?",
                "histogram_quantile(0.5, sum by (le) (rate(ws_connection_duration_seconds_bucket"
                '{job="<job>",instance="<instance>"}[5m])))',
            ),
        ),
        command="curl -s <metrics> | grep '^ws_closes_total.*code=\"1006\"'",
        do=(
            "On all nodes: look at the load balancer, its reloads and idle limits, and at the "
            "clients' side of the network.",
            "On one node: look at its host, its proxy, its cable.",
            "After the same time always: raise the proxy's idle limit, or send pings more often "
            "than it (load-balancers.md has the limits).",
        ),
        explains=(
            *("WebSocketReconnectStorm", "WebSocketConnectionsGone", *CLOSE_BUDGET),
            "WebSocketNodeUnused",
        ),
        panel="Closes by code",
    ),
    Signal(
        name="WebSocketConnectionsGone",
        side="network",
        severity="critical",
        scope="fleet",
        expr="""
    (sum by (job) (ws_connections_active) or 0 * sum by (job) (ws_observe_info))
      <= $gone_share * max_over_time(sum by (job) (ws_connections_active)[10m:15s])
and
    max_over_time(sum by (job) (ws_connections_active)[10m:15s]) >= $expected_connections
and
    max_over_time(sum by (job) (ws_connections_active)[10m:15s])
      >= 0.5 * avg_over_time(sum by (job) (ws_connections_active)[1h:1m] offset 10m)
""",
        hold="2m",
        unit="count",
        means="Nearly all connections of the fleet are gone within minutes, and they do not come "
        "back.",
        says="{value} connections are left of the fleet's",
        look=(
            (
                "How did they end?",
                "topk(5, sum by (code, closed_by, reason) "
                '(increase(ws_closes_total{job="<job>"}[15m])))',
            ),
            (
                "Does anybody try to connect?",
                'sum by (job) (rate(ws_handshake_duration_seconds_count{job="<job>"}[5m]))',
            ),
        ),
        command="asgi-ws-observe top <prometheus>",
        do=(
            "Nobody tries: look at what is before the nodes, DNS, certificate, load balancer.",
            "They try and are refused: look at the reason of the handshake failures.",
        ),
        panel="Open connections",
        history=True,
    ),
    Signal(
        name="WebSocketHeartbeatSlow",
        side="network",
        severity="critical",
        expr="""
(
    histogram_quantile(
      0.99, sum by (job, instance, le) (rate(ws_heartbeat_rtt_seconds_bucket[5m]))
    ) > $heartbeat_p99
  and
    sum by (job, instance) (increase(ws_heartbeat_rtt_seconds_count[5m])) > $heartbeat_count
)
or
(
    histogram_quantile(
      0.99, sum by (job, instance, le) (rate(engineio_ping_rtt_seconds_bucket[5m]))
    ) > $heartbeat_p99
  and
    sum by (job, instance) (increase(engineio_ping_rtt_seconds_count[5m])) > $heartbeat_count
)
""",
        hold="5m",
        unit="seconds",
        means="Pongs come back seconds late: the way to the clients is congested, or the clients "
        "are busy.",
        says="the heartbeat's p99 is {value}",
        look=(
            (
                "The network, or the clients' own slowness? The kernel's round trip knows.",
                "histogram_quantile(0.99, sum by (le) (rate(ws_tcp_rtt_seconds_bucket"
                '{job="<job>",instance="<instance>"}[5m])))',
            ),
            (
                "Is it this node's event loop?",
                "histogram_quantile(0.99, sum by (le) (rate(event_loop_lag_seconds_bucket"
                '{job="<job>",instance="<instance>"}[5m])))',
            ),
        ),
        command="ss -tnio state established '( sport = :<port> )' | grep -o 'rtt:[0-9.]*' | sort | "
        "uniq -c",
        do=(
            "TCP round trips are as slow: it is the network; look at its path and losses.",
            "TCP round trips are fast: clients answer late; look for busy pages, sleeping phones.",
        ),
        explains=("WebSocketHalfOpen", *HEARTBEAT_BUDGET),
        panel="Heartbeat round trip p99 by node",
    ),
    Signal(
        name="WebSocketHeartbeatUnlikePeers",
        side="network",
        severity="warning",
        expr=unlike_peers("ws_heartbeat_rtt_seconds:p90")
        + "and\n    instance:ws_heartbeat_rtt_seconds:p90 > $peers_heartbeat\n",
        hold="2m",
        unit="seconds",
        means="Heartbeats of one node are several times as slow as those of its peers: its part of "
        "the network is.",
        says="the heartbeat's p90 is {value}, several times that of the other nodes",
        look=(
            (
                "All nodes side by side:",
                "histogram_quantile(0.9, sum by (instance, le) "
                '(rate(ws_heartbeat_rtt_seconds_bucket{job="<job>"}[5m])))',
            ),
            (
                "Does the kernel see it as well?",
                "histogram_quantile(0.9, sum by (instance, le) "
                '(rate(ws_tcp_rtt_seconds_bucket{job="<job>"}[5m])))',
            ),
        ),
        command="ss -tnio state established '( sport = :<port> )' | grep -o 'retrans:[0-9/]*' | "
        "sort | uniq -c",
        do=(
            "Take the node out of the load balancer, and see whether the others stay fast.",
            "Look at its zone, its host's network card and neighbours, its proxy.",
        ),
        explains=("WebSocketHeartbeatSlow", "WebSocketHalfOpen", *HEARTBEAT_BUDGET),
        panel="Heartbeat round trip p99 by node",
    ),
    Signal(
        name="WebSocketHalfOpen",
        side="network",
        severity="warning",
        expr="""
    sum by (job, instance) (increase(ws_heartbeat_timeouts_total[5m])) > $half_open_count
and
    sum by (job, instance) (increase(ws_heartbeat_timeouts_total[5m]))
      > $half_open_share * sum by (job, instance) (max_over_time(ws_connections_active[5m]))
""",
        hold="1m",
        unit="count",
        means="Clients are gone without a word: pings are not answered, though TCP still believes "
        "in the connection.",
        says="{value} heartbeats timed out in 5 minutes",
        look=(
            (
                "Are they ended?",
                'sum(rate(ws_closes_total{job="<job>",instance="<instance>",reason="ping_timeout"}'
                "[5m]))",
            ),
            (
                "On one node, or on all?",
                'sum by (instance) (increase(ws_heartbeat_timeouts_total{job="<job>"}[5m]))',
            ),
        ),
        command="ss -tno state established '( sport = :<port> )' | grep -c 'timer:(on'",
        do=(
            "Let the server end them: uvicorn does by itself, elsewhere "
            "`Settings(heartbeat_interval=20, heartbeat_close=True)`.",
            "Many at once: a network that dropped its state, such as a NAT, a firewall, a VPN.",
        ),
        explains=(*CLOSE_BUDGET, "WebSocketSendStuck"),
        panel="Unanswered heartbeats",
    ),
)
