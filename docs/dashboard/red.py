"""Rate, errors, duration."""

from __future__ import annotations

from typing import Final

from .panels import Panel, Query, Row, above
from .promql import by_node, gauge, quantile, quantiles, rate

__all__ = ["RED"]

_DOTS: Final = " Dots are exemplars: each leads to the trace of one message."

RED: Final = Row(
    200,
    "Rate, errors, duration: how do users fare?",
    (
        Panel(
            id=201,
            title="Open connections",
            queries=by_node(gauge("ws_connections_active")),
            unit="short",
            text="Open connections of each node.",
            good="as many on each node, following the hour of the day.",
            bad="a cliff on one node: it, or the way to it, broke. A cliff on all: the proxy in "
            "front of them. One that only grows: a leak.",
        ),
        Panel(
            id=202,
            title="Connects a second",
            queries=by_node(rate("ws_connects_total")),
            unit="cps",
            text="Accepted handshakes of each node.",
            good="steady and small beside the open connections.",
            bad="a peak: a reconnect storm, after something threw the clients out. It is over "
            "when the clients wait longer after each attempt, and each by another time.",
        ),
        Panel(
            id=203,
            title="Failed handshakes",
            queries=(Query(rate("ws_handshake_failures_total", by="reason"), "{{reason}}"),),
            unit="cps",
            text="Handshakes that were not accepted, by reason. `rejected` and `denied` are the "
            "application's word, `limit` is the capacity, `error` an exception.",
            good="a few, of clients without a valid session.",
            bad="as many as connects: authentication is broken, or the node is full.",
            stacked=True,
        ),
        Panel(
            id=204,
            title="Messages a second",
            queries=(
                Query(
                    rate("ws_messages_total", by="instance, direction"),
                    "{{instance}} {{direction}}",
                ),
            ),
            unit="mps",
            text="Messages that the application received (in) and sent (out), of each node.",
            good="in proportion to the open connections.",
            bad="nothing, with connections open: a silent stall. Only `in` goes on: the bus, or "
            "who sends.",
        ),
        Panel(
            id=205,
            title="Payload a second",
            queries=(Query(rate("ws_message_bytes_total", by="direction"), "{{direction}}"),),
            unit="Bps",
            text="Bytes of the messages, without frames and encryption.",
            good="in proportion to the messages.",
            bad="it grows and the messages do not: somebody sends large ones.",
        ),
        Panel(
            id=206,
            title="Errors a second",
            queries=(Query(rate("ws_errors_total", by="type"), "{{type}}"),),
            unit="cps",
            text="Exceptions that left the application, by their class. The client's leaving is "
            "none.",
            good="none.",
            bad="any. The log line `ws_error` has the traceback and the trace.",
            stacked=True,
        ),
        Panel(
            id=207,
            title="Handshake time",
            queries=quantiles("ws_handshake_duration_seconds"),
            unit="s",
            text="From the request until the handshake was accepted or refused.",
            good="below 250 ms.",
            bad="above 1 s: authentication is slow, or the event loop is.",
            steps=above(0.25, 1),
            exemplars=True,
        ),
        Panel(
            id=208,
            title="Handler time",
            queries=quantiles("ws_handler_duration_seconds"),
            unit="s",
            text="From a message handed to the application until it asks for the next one. "
            "Waiting for the client is not in it." + _DOTS,
            good="below 250 ms.",
            bad="above 1 s: the application is slow, or what it waits for.",
            steps=above(0.25, 1),
            exemplars=True,
        ),
        Panel(
            id=209,
            title="Send time",
            queries=quantiles("ws_send_duration_seconds"),
            unit="s",
            text="How long sending a message waited: backpressure.",
            good="below 10 ms.",
            bad="above 100 ms: clients read more slowly than the application writes.",
            steps=above(0.1, 1),
            exemplars=True,
        ),
        Panel(
            id=210,
            title="Handler time p99 by node",
            queries=by_node(quantile(0.99, "ws_handler_duration_seconds", by="instance")),
            unit="s",
            text="The slowest hundredth, of each node." + _DOTS,
            good="all nodes alike.",
            bad="one node is slower: look at its event loop and its processor.",
            steps=above(0.25, 1),
            exemplars=True,
        ),
        Panel(
            id=211,
            title="Message size",
            queries=tuple(
                Query(quantile(part / 100, "ws_message_size_bytes", by="direction"), name)
                for part, name in ((50, "p50 {{direction}}"), (99, "p99 {{direction}}"))
            ),
            unit="bytes",
            text="Payload of a message.",
            good="steady.",
            bad="p99 jumps: somebody sends messages of another kind.",
            exemplars=True,
        ),
        Panel(
            id=212,
            title="Unexpected events",
            queries=(
                Query(
                    rate("ws_unexpected_events_total", by="state, event"),
                    "{{event}} when {{state}}",
                ),
            ),
            unit="eps",
            text="What the state of a connection does not expect, such as a send after the "
            "close. uvicorn refuses that one with an exception, which is among the errors above.",
            good="none.",
            bad="`send when closing`: the application talks to clients that are gone, and does not "
            "notice.",
            empty="none",
        ),
    ),
)
