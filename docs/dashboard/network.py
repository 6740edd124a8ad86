"""The network, and the node."""

from __future__ import annotations

from typing import Final

from .panels import BAD, FINE, Panel, Query, Row, above
from .promql import by_node, gauge, quantile, rate, series

__all__ = ["NETWORK", "WITHIN"]

NETWORK: Final = Row(
    600,
    "Network: is it the way to the clients?",
    (
        Panel(
            id=601,
            title="Heartbeat round trip p50 by node",
            queries=by_node(quantile(0.5, "ws_heartbeat_rtt_seconds", by="instance")),
            unit="s",
            text="From a ping to its pong, for the median client.",
            good="the distance: below 100 ms on one continent.",
            bad="it rises on one node: that node's network. On all: the way to the clients.",
            exemplars=True,
        ),
        Panel(
            id=602,
            title="Heartbeat round trip p99 by node",
            queries=by_node(quantile(0.99, "ws_heartbeat_rtt_seconds", by="instance")),
            unit="s",
            text="The same for the slowest hundredth. Pings that a paused reader delayed are "
            "apart.",
            good="below 250 ms.",
            bad="above 1 s, and above 5 s for five minutes it is an alert. Compare with the "
            "round trip of TCP: where that is small, clients are slow to answer.",
            steps=above(0.25, 1),
            exemplars=True,
        ),
        Panel(
            id=603,
            title="TCP round trip by node",
            queries=tuple(
                Query(
                    quantile(part / 100, "ws_tcp_rtt_seconds", by="instance"),
                    f"{{{{instance}}}} p{part}",
                )
                for part in (50, 99)
            ),
            unit="s",
            text="The kernel's own round trip of each connection. Behind a proxy it ends there.",
            good="about as large as the heartbeats'.",
            bad="large as well: it is the network. Small, where heartbeats are slow: the clients "
            "or a proxy.",
        ),
        Panel(
            id=604,
            title="Unanswered heartbeats",
            queries=by_node(rate("ws_heartbeat_timeouts_total")),
            unit="cps",
            text="Pings without an answer in time: half-open connections.",
            good="none, or a few of phones.",
            bad="many at once: a firewall or a proxy dropped connections without telling anybody.",
            steps=above(0.05),
        ),
        Panel(
            id=605,
            title="Heartbeats behind a paused reader",
            queries=by_node(quantile(0.99, "ws_heartbeat_rtt_paused_seconds", by="instance")),
            unit="s",
            text="Round trips (p99) of pings during which the server had stopped reading, since "
            "the application had not taken a message. They say nothing of the network.",
            good="nothing here.",
            bad="any: handlers are so slow that connections look dead. It is the node.",
            steps=above(1, 5),
            empty="none",
        ),
        Panel(
            id=606,
            title="Bytes on the wire",
            queries=(
                Query(rate("ws_wire_bytes_total", by="direction"), "{{direction}}"),
                Query(rate("ws_message_bytes_total", by="direction"), "{{direction}}, payload"),
            ),
            unit="Bps",
            text="Bytes over TCP, by the kernel, beside the payload of the messages.",
            good="a little above the payload; below it with compression.",
            bad="far above it: many small messages. Payload `out` without bytes on the wire: "
            "nothing reaches the clients.",
        ),
    ),
)

WITHIN: Final = Row(
    700,
    "Node: is it this process?",
    (
        Panel(
            id=701,
            title="Event loop lag p99 by node",
            queries=by_node(quantile(0.99, "event_loop_lag_seconds", by="instance")),
            unit="s",
            text="How late the event loop called a timer, for the slowest hundredth.",
            good="below 25 ms.",
            bad="above 100 ms: blocking calls, or more work than one processor can do.",
            steps=above(0.1, 0.5),
        ),
        Panel(
            id=702,
            title="Largest event loop lag by node",
            queries=by_node(gauge("event_loop_lag_max_seconds", how="max")),
            unit="s",
            text="The largest of the last 30 to 60 seconds.",
            good="below 100 ms.",
            bad="seconds: one call blocked everything. Find it with `py-spy dump`, or in the "
            "trace of that moment.",
            steps=above(0.1, 0.5),
        ),
        Panel(
            id=703,
            title="Processor",
            queries=by_node(rate("process_cpu_seconds_total")),
            unit="percentunit",
            text="Processor time of each node; 100 % is one core. An event loop has one.",
            good="below 70 % of its workers.",
            bad="100 % of each worker: add workers or nodes. Little, and a large lag: something "
            "blocks without working, such as a database driver that is not asynchronous.",
        ),
        Panel(
            id=704,
            title="Garbage collections",
            queries=(
                Query(
                    rate("python_gc_collections_total", by="instance, generation"),
                    "{{instance}} gen {{generation}}",
                ),
            ),
            unit="cps",
            text="How often Python's collector ran, by generation.",
            good="generation 2 rarely.",
            bad="generation 2 several times a second: it stops the loop each time.",
        ),
        Panel(
            id=705,
            title="Workers",
            queries=(
                Query(
                    gauge("ws_observe_worker_up", by="instance, worker", how="min"),
                    "{{instance}} worker {{worker}}",
                ),
            ),
            kind="state-timeline",
            unit="short",
            text="Whether each worker process answers its siblings.",
            good="up.",
            bad="HANGS: it lives and does not answer; its clients wait. A line that ends: it died.",
            words={0: ("HANGS", BAD), 1: ("up", FINE)},
            empty="one process a node",
        ),
        Panel(
            id=706,
            title="Uptime",
            queries=by_node(f"min by (instance) (time() - {series('process_start_time_seconds')})"),
            unit="s",
            text="Since when the youngest process of each node has run.",
            good="it rises, and falls at deploys only.",
            bad="a saw: processes die and come back. Look for OOM kills and exit codes.",
        ),
    ),
)
