"""Socket.IO's transport, Engine.IO, and the bus between its servers."""

from __future__ import annotations

from typing import Final

from .panels import BAD, FINE, Panel, Query, Row, above
from .promql import by_node, gauge, quantile, rate

__all__ = ["ENGINE"]

ENGINE: Final = Row(
    1000,
    "Socket.IO: transport and bus",
    (
        Panel(
            id=1001,
            title="Engine.IO round trip",
            queries=(
                Query(quantile(0.99, "engineio_ping_rtt_seconds", by="transport"), "{{transport}}"),
            ),
            unit="s",
            text="From a ping's leaving the queue to its pong (p99).",
            good="below 250 ms; with polling a little more.",
            bad="above 1 s: the network, or clients that are slow to answer.",
            steps=above(0.25, 1),
            exemplars=True,
        ),
        Panel(
            id=1002,
            title="Engine.IO queue delay",
            queries=(
                Query(
                    quantile(0.99, "engineio_ping_queue_delay_seconds", by="transport"),
                    "{{transport}}",
                ),
            ),
            unit="s",
            text="How long a ping waited behind everything that was emitted (p99).",
            good="zero.",
            bad="seconds: slow clients; the queues have no bound.",
            steps=above(0.25, 1),
        ),
        Panel(
            id=1003,
            title="Engine.IO queues",
            queries=(
                Query(gauge("engineio_queue_depth"), "{{instance}} all"),
                Query(gauge("engineio_queue_depth_max", how="max"), "{{instance}} longest"),
            ),
            unit="short",
            text="Packets that wait for clients.",
            good="nearly none.",
            bad="it grows: memory fills. One client where `longest` is nearly `all`.",
        ),
        Panel(
            id=1004,
            title="Engine.IO upgrades",
            queries=(Query(rate("engineio_upgrades_total", by="outcome"), "{{outcome}}"),),
            unit="cps",
            text="Upgrades from polling to WebSocket.",
            good="`ok`.",
            bad="`failed`: a proxy keeps clients on polling.",
            stacked=True,
            colours={"ok": FINE, "failed": BAD},
        ),
        Panel(
            id=1005,
            title="Engine.IO rejections",
            queries=(Query(rate("engineio_rejections_total", by="reason"), "{{reason}}"),),
            unit="cps",
            text="Requests that Engine.IO did not accept.",
            good="nearly none.",
            bad="`bad-sid` on several nodes: the load balancer has no sticky sessions. "
            "`bad-origin`: CORS is not configured.",
            stacked=True,
            empty="none",
        ),
        Panel(
            id=1006,
            title="Socket.IO bytes",
            queries=(Query(rate("socketio_bytes_total", by="direction"), "{{direction}}"),),
            unit="Bps",
            text="Bytes of packets, once for each recipient.",
            good="in proportion to events and emits.",
            bad="it grows alone: packets became larger.",
        ),
        Panel(
            id=1007,
            title="Socket.IO bus",
            queries=(
                Query(rate("socketio_bus_published_total", by="outcome"), "published {{outcome}}"),
                Query(rate("socketio_bus_received_total", by="origin"), "received {{origin}}"),
                Query(rate("socketio_bus_lost_messages_total", by=""), "lost"),
            ),
            unit="mps",
            text="What the managers of the nodes told each other.",
            good="`published ok`, and each node receives it.",
            bad="`dropped` or `failed`: the other nodes never hear it. `lost`: it did not arrive.",
        ),
        Panel(
            id=1008,
            title="Socket.IO bus lag",
            queries=(Query(quantile(0.99, "socketio_bus_lag_seconds", by="origin"), "{{origin}}"),),
            unit="s",
            text="From publishing to the arrival (p99). `own` has one clock, `other` two.",
            good="below 100 ms.",
            bad="above 1 s: the broker, or this node's loop, is behind.",
            steps=above(0.1, 1),
        ),
        Panel(
            id=1009,
            title="Socket.IO bus listeners",
            kind="state-timeline",
            queries=by_node(gauge("socketio_bus_listener_up", how="min")),
            unit="short",
            text="Whether each node listens to the bus. A listener starts with the first client.",
            good="up.",
            bad="DOWN: this node is deaf, and its clients miss what others say.",
            words={0: ("DOWN", BAD), 1: ("up", FINE)},
            empty="no bus",
        ),
    ),
)
