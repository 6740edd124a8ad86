"""What the bus between the nodes does, and Socket.IO's."""

from __future__ import annotations

from typing import Final

from .of_objectives import HANDLER_BUDGET
from .signal import Signal

__all__ = ["BUS_SIGNALS"]

_NODE: Final = '{job="<job>",instance="<instance>"}'

BUS_SIGNALS: Final = (
    Signal(
        name="WebSocketBusListenerDown",
        side="bus",
        severity="critical",
        expr="""
    min by (job, instance, channel) (ws_fanout_listener_up) == 0
or
    min by (job, instance) (
        min by (job, instance, worker) (socketio_bus_listener_up) == 0
      and
        sum by (job, instance, worker) (socketio_connections_active) > 0
    )
""",
        hold="30s",
        unit="count",
        means="The node does not listen to the bus: its clients see nothing of what happens on "
        "the others.",
        says="the listener of the bus is down: this node is deaf",
        look=(
            ("All nodes, or this one?", "min by (instance, channel) (ws_fanout_listener_up)"),
            (
                "Does it come and go?",
                f"sum by (channel) (increase(ws_fanout_reconnects_total{_NODE}[1h]))",
            ),
        ),
        command="redis-cli -u <url of the bus> client list type pubsub",
        do=(
            "All nodes: the broker is down; look at it, everything else follows.",
            "This one: look at its way to the broker, and at log lines `ws_fanout_down`.",
        ),
        explains=(
            *("WebSocketBusSilent", "WebSocketBusLosing", "WebSocketBusLagging"),
            *("WebSocketBusPublishFailing", "WebSocketSilentStall", "WebSocketBusOverflow"),
        ),
        panel="Listeners",
    ),
    Signal(
        name="WebSocketBusSilent",
        side="bus",
        severity="critical",
        expr="max by (job, instance, channel) (ws_fanout_probe_age_seconds) > $probe_age",
        hold="15s",
        unit="seconds",
        means="What this node publishes does not come back, although its listener is connected: "
        "the bus takes messages and delivers none.",
        says="the last probe through the bus came back {value} ago",
        look=(
            ("All nodes, or this one?", "max by (instance, channel) (ws_fanout_probe_age_seconds)"),
            (
                "Is publishing refused, or does it wait?",
                f"sum by (outcome) (rate(ws_fanout_published_total{_NODE}[5m]))",
            ),
        ),
        command="redis-cli -u <url of the bus> --latency",
        do=(
            "This node: the connection that publishes is dead; restart the node, and look at what "
            "is between it and the broker (a firewall that forgets idle connections).",
            "All nodes: the broker is stuck; look at its CPU, its memory, a slow script.",
        ),
        explains=(
            *("WebSocketBusPublishFailing", "WebSocketBusLosing", "WebSocketBusLagging"),
            *("WebSocketBusOverflow", "WebSocketSilentStall", "WebSocketSlowHandlers"),
            *HANDLER_BUDGET,
        ),
        panel="Age of the last probe",
    ),
    Signal(
        name="WebSocketBusPublishFailing",
        side="bus",
        severity="critical",
        expr="""
    sum by (job, instance, channel) (rate(ws_fanout_published_total{outcome="failed"}[2m])) > 0
or
    sum by (job, instance) (rate(socketio_bus_published_total{outcome!="ok"}[2m])) > 0
""",
        hold="2m",
        unit="per second",
        means="The broker does not take messages: clients of other nodes miss them.",
        says="{value} messages a second are not taken by the broker",
        look=(
            (
                "All nodes?",
                'sum by (instance) (rate(ws_fanout_published_total{outcome="failed"}[5m]))',
            ),
            (
                "How long does it take?",
                "histogram_quantile(0.99, sum by (le) "
                f"(rate(ws_fanout_publish_duration_seconds_bucket{_NODE}[5m])))",
            ),
        ),
        command="redis-cli -u <url of the bus> info clients",
        do=("Look at the broker: its memory limit, its number of clients, its failover.",),
        explains=("WebSocketBusLosing",),
        panel="Published",
    ),
    Signal(
        name="WebSocketBusLosing",
        side="bus",
        severity="warning",
        expr="""
    sum by (job, instance, channel) (increase(ws_fanout_lost_total[5m])) > 0
or
    sum by (job, instance) (increase(socketio_bus_lost_messages_total[5m])) > 0
""",
        hold="0s",
        unit="count",
        means="Messages were published and never arrived on this node: its users missed them.",
        says="{value} messages of the bus were lost in 5 minutes",
        look=(
            (
                "Did the listener lose its connection?",
                f"sum by (channel) (increase(ws_fanout_reconnects_total{_NODE}[15m]))",
            ),
        ),
        command="redis-cli -u <url of the bus> config get client-output-buffer-limit",
        do=(
            "Redis ends a subscriber that is too slow: `client-output-buffer-limit pubsub`.",
            "Where nothing may be missed use Redis Streams: `RedisChannel(mode='streams')`.",
        ),
        panel="Lost on the bus",
    ),
    Signal(
        name="WebSocketBusLagging",
        side="bus",
        severity="warning",
        expr="""
histogram_quantile(
  0.99,
  sum by (job, instance, channel, le)
    (rate(ws_fanout_lag_seconds_bucket{origin=~"own|probe"}[5m]))
) > $bus_lag_p99
""",
        hold="5m",
        unit="seconds",
        means="Messages take long through the bus.",
        says="the way through the bus takes {value} at p99",
        look=(
            (
                "All nodes, or this one?",
                "histogram_quantile(0.99, sum by (instance, le) (rate(ws_fanout_lag_seconds_bucket"
                '{job="<job>",origin=~"own|probe"}[5m])))',
            ),
        ),
        command="redis-cli -u <url of the bus> --latency",
        do=(
            "All nodes: the broker is slow; look at its CPU and its slow log.",
            "This node: it takes messages too slowly; look at its event loop.",
        ),
        panel="Bus lag p99 by origin",
    ),
    Signal(
        name="WebSocketBusOverflow",
        side="bus",
        severity="warning",
        expr="""
sum by (job, instance, channel)
  (rate(ws_messages_dropped_total{reason=~"subscription_full|outbox_full"}[5m]))
> $dropped_per_second
""",
        hold="1m",
        unit="per second",
        means="This node drops messages of the bus: it takes them too slowly, or the broker does.",
        says="{value} messages a second are dropped between this node and the bus",
        look=(
            (
                "Which way?",
                f"sum by (channel, reason) (rate(ws_messages_dropped_total{_NODE}[5m]))",
            ),
        ),
        command="curl -s <metrics> | grep '^ws_messages_dropped_total'",
        do=(
            "subscription_full: make the code that takes deliveries faster. outbox_full: the "
            "broker is away for too long.",
        ),
        explains=("WebSocketBusLosing",),
        panel="Dropped messages",
    ),
    Signal(
        name="SocketIONoStickySessions",
        side="network",
        severity="critical",
        scope="fleet",
        expr="""
sum by (job) (rate(engineio_rejections_total{reason="bad-sid"}[5m])) > $bad_sids_per_second
unless on (job) time() - max by (job) (process_start_time_seconds) < $warm_up
""",
        hold="1m",
        unit="per second",
        means="Requests reach a node that does not know their session: the load balancer does not "
        "keep clients at one node.",
        says="{value} requests a second reach a node that does not know their session",
        look=(
            (
                "On several nodes?",
                'sum by (instance) (rate(engineio_rejections_total{reason="bad-sid"}[5m]))',
            ),
        ),
        command="curl -s <metrics> | grep '^engineio_rejections_total'",
        do=(
            "Turn on sticky sessions, by the cookie or the client's address; or leave polling out: "
            "`transports: ['websocket']`.",
        ),
        panel="Engine.IO rejections",
    ),
    Signal(
        name="EngineIOQueueGrowing",
        side="clients",
        severity="warning",
        expr="""
    max by (job, instance) (engineio_queue_depth_max) > $engineio_queue
and
    sum by (job, instance) (deriv(engineio_queue_depth[5m])) > 0
""",
        hold="2m",
        unit="count",
        means="A client of Socket.IO reads too slowly, and its queue has no bound.",
        says="{value} packets wait for one client",
        look=(("One client, or all?", f"sum(engineio_queue_depth{_NODE})"),),
        command="curl -s <metrics> | grep '^engineio_queue_depth'",
        do=("Send less to whoever does not keep up; end it: `sio.disconnect(sid)`.",),
        panel="Engine.IO queues",
    ),
    Signal(
        name="SocketIOOrphans",
        side="node",
        severity="warning",
        expr="sum by (job, instance) (min_over_time(socketio_orphan_sids[10m])) > 0",
        hold="1m",
        unit="count",
        means="The Socket.IO server keeps clients whose transport is gone: they leak, and rooms "
        "keep sending to them.",
        says="{value} clients are in the server's tables whose transport is gone",
        look=(
            (
                "Does a connect handler raise?",
                f"sum by (namespace, outcome) (increase(socketio_connects_total{_NODE}[1h]))",
            ),
        ),
        command="curl -s <metrics> | grep '^socketio_orphan_sids'",
        do=(
            "Let no exception leave the connect handler: return False, or raise "
            "ConnectionRefusedError. Only a restart frees what leaked.",
        ),
        panel="Socket.IO oddities",
    ),
    Signal(
        name="SocketIOAcksPending",
        side="node",
        severity="warning",
        expr="""
    sum by (job, instance) (socketio_acks_pending) > $acks_pending
and
    sum by (job, instance) (deriv(socketio_acks_pending[30m])) > 0
""",
        hold="10m",
        unit="count",
        means="Acknowledgements that nobody will send are waited for, more and more.",
        says="{value} acknowledgements are waited for, and they become more",
        look=(
            ("Of which event?", f"sum by (event, outcome) (rate(socketio_acks_total{_NODE}[30m]))"),
        ),
        command="curl -s <metrics> | grep '^socketio_acks_pending'",
        do=(
            "Across nodes use emit() with a callback of your own and a timeout; a call() that "
            "timed out leaves its callback behind.",
        ),
        panel="Socket.IO oddities",
    ),
)
