"""Fan-out: one publishes, many get it."""

from __future__ import annotations

from typing import Final

from .panels import BAD, FINE, Panel, Query, Row, above
from .promql import by_node, gauge, quantile, quantiles, rate

__all__ = ["FANOUT"]

FANOUT: Final = Row(
    800,
    "Fan-out: does the bus deliver?",
    (
        Panel(
            id=801,
            title="Published",
            queries=(
                Query(
                    rate("ws_fanout_published_total", by="channel, outcome"),
                    "{{channel}} {{outcome}}",
                ),
            ),
            unit="mps",
            text="Messages given to the broker, and those that it did not take.",
            good="`ok`, and no `failed`.",
            bad="`failed`: this node cannot publish; what its clients say is lost or waits.",
        ),
        Panel(
            id=802,
            title="Delivered",
            queries=(
                Query(
                    rate("ws_fanout_delivered_total", by="instance, channel"),
                    "{{instance}} {{channel}}",
                ),
            ),
            unit="mps",
            text="Messages of the broker that the application took, on each node.",
            good="all nodes alike, in proportion to what is published.",
            bad="nothing on one node: it is deaf. Less on one node: it loses messages.",
        ),
        Panel(
            id=803,
            title="Publish time",
            queries=quantiles("ws_fanout_publish_duration_seconds", 50, 99),
            unit="s",
            text="How long publishing took, failures included.",
            good="below 10 ms.",
            bad="above 1 s: the broker is slow or does not answer.",
            steps=above(0.1, 1),
            exemplars=True,
        ),
        Panel(
            id=804,
            title="Bus lag p99 by origin",
            queries=(
                Query(
                    quantile(0.99, "ws_fanout_lag_seconds", by="instance, origin"),
                    "{{instance}} {{origin}}",
                ),
            ),
            unit="s",
            text="From publishing to the delivery here. `own` and `probe` were published by the "
            "same process; `other` compares the clocks of two machines.",
            good="below 100 ms.",
            bad="`own` and `probe` as well: the bus, or this node's loop, is behind. Only `other`: "
            "clocks differ.",
            steps=above(0.1, 1),
            exemplars=True,
        ),
        Panel(
            id=805,
            title="Recipients",
            queries=quantiles("ws_fanout_recipients", 50, 99),
            unit="short",
            text="Connections of one node that one message went to.",
            good="about as large as rooms are.",
            bad="p99 in the thousands: each message of that room costs as many sends.",
        ),
        Panel(
            id=806,
            title="Time until the last has it",
            queries=quantiles("ws_fanout_delivery_duration_seconds", 50, 99),
            unit="s",
            text="From a hub taking a message until the last of its connections had sent or "
            "dropped it.",
            good="below 100 ms.",
            bad="seconds: slow clients, or rooms that are too large.",
            steps=above(0.1, 1),
        ),
        Panel(
            id=807,
            title="Lost on the bus",
            queries=(
                Query(
                    rate("ws_fanout_lost_total", by="instance, channel"), "{{instance}} {{channel}}"
                ),
            ),
            unit="mps",
            text="Messages that were published and never arrived, by the gaps in their sequence.",
            good="none.",
            bad="any: users missed them. Pub/Sub forgets what was said while a listener was away.",
            steps=above(0.001),
        ),
        Panel(
            id=808,
            title="Dropped messages",
            queries=(Query(rate("ws_messages_dropped_total", by="reason"), "{{reason}}"),),
            unit="mps",
            text="Messages that a connection, or a node, did not get although they were there.",
            good="`left` and `closed`: the client was gone.",
            bad="`queue_full`: clients are too slow. `outbox_full`: the broker is away for too "
            "long. `subscription_full`: the application takes too slowly.",
            stacked=True,
        ),
        Panel(
            id=809,
            title="Listeners",
            kind="state-timeline",
            queries=(
                Query(
                    gauge("ws_fanout_listener_up", by="instance, channel", how="min"),
                    "{{instance}} {{channel}}",
                ),
            ),
            unit="short",
            text="Whether each node has all its subscriptions.",
            good="up.",
            bad="DOWN: this node is deaf. On all nodes: the broker is away.",
            words={0: ("DOWN", BAD), 1: ("up", FINE)},
            empty="no bus",
        ),
        Panel(
            id=810,
            title="Reconnects to the broker",
            queries=by_node(rate("ws_fanout_reconnects_total")),
            unit="cps",
            text="How often the listeners lost the broker and came back.",
            good="none.",
            bad="again and again: timeouts, a broker that restarts, or its output buffer limit.",
        ),
        Panel(
            id=811,
            title="Age of the last probe",
            queries=(
                Query(
                    gauge("ws_fanout_probe_age_seconds", by="instance, channel", how="max"),
                    "{{instance}} {{channel}}",
                ),
            ),
            unit="s",
            text="How long ago a probe of the node came back through the broker, whoever talks.",
            good="below 10 s.",
            bad="above 30 s: the bus does not deliver, although its connection may be up.",
            steps=above(10, 30),
            empty="no probes",
        ),
        Panel(
            id=812,
            title="Held back for the broker",
            queries=by_node(gauge("ws_fanout_outbox_messages")),
            unit="short",
            text="Messages that wait in the outbox until the broker comes back.",
            good="none.",
            bad="it grows: the broker is away. At its bound the oldest are dropped.",
            empty="no outbox",
        ),
    ),
)
