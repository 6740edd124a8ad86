"""Socket.IO: its namespaces, events and rooms."""

from __future__ import annotations

from typing import Final

from .panels import BAD, FINE, Panel, Query, Row, above
from .promql import by_node, gauge, quantile, quantiles, rate

__all__ = ["SOCKETIO"]

SOCKETIO: Final = Row(
    900,
    "Socket.IO: namespaces and events",
    (
        Panel(
            id=901,
            title="Socket.IO clients",
            queries=(
                Query(
                    gauge("socketio_connections_active", by="namespace, transport"),
                    "{{namespace}} {{transport}}",
                ),
            ),
            unit="short",
            text="Connected clients, by namespace and transport.",
            good="mostly `websocket`.",
            bad="`polling` grows: a proxy does not let WebSockets through.",
            stacked=True,
        ),
        Panel(
            id=902,
            title="Socket.IO connects",
            queries=(Query(rate("socketio_connects_total", by="outcome"), "{{outcome}}"),),
            unit="cps",
            text="Clients that asked for a namespace, and what became of them.",
            good="`accepted`.",
            bad="`refused`: authentication. `error`: the connect handler raises, and the client "
            "hears nothing.",
            stacked=True,
            colours={"accepted": FINE, "error": BAD},
        ),
        Panel(
            id=903,
            title="Socket.IO disconnects",
            queries=(Query(rate("socketio_disconnects_total", by="reason"), "{{reason}}"),),
            unit="cps",
            text="Why clients left, by what the library and the transport know.",
            good="`client_disconnect` and `transport_close`.",
            bad="`transport_lost`: cut on the way. `ping_timeout`: half-open. `transport_error`: "
            "broken packets, or too large ones.",
            stacked=True,
        ),
        Panel(
            id=904,
            title="Socket.IO connect time",
            queries=quantiles("socketio_connect_duration_seconds", 50, 99),
            unit="s",
            text="From asking for a namespace to the answer, with the connect handler.",
            good="below 250 ms.",
            bad="above 1 s: the connect handler is slow.",
            steps=above(0.25, 1),
            exemplars=True,
        ),
        Panel(
            id=905,
            title="Socket.IO events",
            queries=(
                Query(rate("socketio_events_total", by="event, outcome"), "{{event}} {{outcome}}"),
            ),
            unit="eps",
            text="Events that clients sent, and how their handlers ended.",
            good="`ok`.",
            bad="`error`: that handler raises. `unhandled`: a client of another version, or "
            "somebody probing.",
        ),
        Panel(
            id=906,
            title="Socket.IO event time p99",
            queries=(
                Query(quantile(0.99, "socketio_event_duration_seconds", by="event"), "{{event}}"),
            ),
            unit="s",
            text="How long the handlers took, by event, for the slowest hundredth.",
            good="below 250 ms.",
            bad="above 1 s: that handler is slow.",
            steps=above(0.25, 1),
            exemplars=True,
        ),
        Panel(
            id=907,
            title="Socket.IO schedule delay",
            queries=by_node(quantile(0.99, "socketio_event_schedule_delay_seconds", by="instance")),
            unit="s",
            text="From an event's arrival until its handler was called (p99).",
            good="below 10 ms.",
            bad="above 100 ms: the event loop is behind.",
            steps=above(0.1, 1),
        ),
        Panel(
            id=908,
            title="Socket.IO emits",
            queries=(
                Query(rate("socketio_emits_total", by="event, origin"), "{{event}} {{origin}}"),
            ),
            unit="eps",
            text="Events that the servers emitted; `other` came over the bus.",
            good="in proportion to what clients send.",
            bad="one event far above the others: a loop, or a broadcast for each message.",
        ),
        Panel(
            id=909,
            title="Socket.IO recipients of an emit",
            queries=quantiles("socketio_emit_recipients", 50, 99),
            unit="short",
            text="Clients of one node that one emit went to.",
            good="about as large as rooms are.",
            bad="p99 as large as all clients: broadcasts. Each costs as many packets.",
        ),
        Panel(
            id=910,
            title="Socket.IO emit time",
            queries=(
                Query(quantile(0.99, "socketio_emit_duration_seconds", by="target"), "{{target}}"),
            ),
            unit="s",
            text="How long emitting took (p99): into each client's queue, and to the bus.",
            good="below 10 ms.",
            bad="above 100 ms: handlers wait for their emits. Rooms too large, or a slow bus.",
            steps=above(0.1, 1),
        ),
        Panel(
            id=911,
            title="Socket.IO acknowledgements",
            queries=(
                Query(rate("socketio_acks_total", by="outcome"), "{{outcome}}"),
                Query(gauge("socketio_acks_pending", by=""), "pending"),
            ),
            unit="short",
            text="Acknowledgements a second that the servers asked for, and how many they wait "
            "for.",
            good="`ok`; few pending.",
            bad="`timeout` and `lost`: clients do not answer. Pending only grows: a leak.",
            colours={"ok": FINE},
        ),
        Panel(
            id=912,
            title="Socket.IO acknowledgement time",
            queries=(
                Query(quantile(0.99, "socketio_ack_latency_seconds", by="event"), "{{event}}"),
            ),
            unit="s",
            text="From an emit to its acknowledgement (p99), by event.",
            good="a round trip.",
            bad="above 1 s: clients are slow, or far away.",
            steps=above(1, 5),
            exemplars=True,
        ),
        Panel(
            id=913,
            title="Socket.IO rooms",
            queries=(
                Query(gauge("socketio_rooms", by="category"), "{{category}} rooms"),
                Query(gauge("socketio_room_members", by="category"), "{{category}} members"),
                Query(
                    gauge("socketio_room_size", by="category", how="max"), "{{category}} largest"
                ),
            ),
            unit="short",
            text="Rooms by category, their members, and the largest one.",
            good="follows the clients.",
            bad="rooms grow and clients do not: nobody leaves them. One huge room: each emit to it "
            "is expensive.",
        ),
        Panel(
            id=914,
            title="Socket.IO joins and leaves",
            queries=(
                Query(rate("socketio_room_joins_total", by="category"), "{{category}} joins"),
                Query(rate("socketio_room_leaves_total", by="category"), "{{category}} leaves"),
            ),
            unit="cps",
            text="Clients that entered and left rooms.",
            good="as many leave as join.",
            bad="joins above leaves for hours: a leak. Both high: clients hop between rooms.",
        ),
        Panel(
            id=915,
            title="Socket.IO oddities",
            queries=(
                Query(gauge("socketio_orphan_sids"), "{{instance}} orphans"),
                Query(
                    rate("socketio_reserved_events_total"), "{{instance}} forged events a second"
                ),
            ),
            unit="short",
            text="Clients in the tables whose transport is gone, and events of clients that are "
            "called `connect` or `disconnect`.",
            good="zero.",
            bad="orphans: a connect handler that raised left them for ever. Forged events: a "
            "client calls handlers that are not its to call.",
            steps=above(1),
        ),
    ),
)
