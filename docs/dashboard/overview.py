"""The overview: is it the clients, the network, or this node?"""

from __future__ import annotations

from typing import Final

from .panels import BAD, FINE, WORSE, Panel, Query, Row, above, below
from .promql import gauge, quantile, rate, series

__all__ = ["ALERTS", "LOST", "OVERVIEW", "capacity", "descriptors"]

#: Closes without a close frame for which the network is to blame.
LOST: Final = 'code="1006", closed_by="network"'

#: Alerts that fire; those of a whole fleet have no instance.
ALERTS: Final = (
    'ALERTS{alertstate="firing", alertname=~"WebSocket.*|SocketIO.*|EngineIO.*", job=~"$job", '
    'instance=~"$instance|"}'
)

#: What a state of the timeline is called; the larger one wins.
_SIDES: Final = {
    0: ("fine", FINE),
    1: ("capacity", "purple"),
    2: ("clients", "yellow"),
    3: ("bus", "blue"),
    4: ("network", WORSE),
    5: ("this node", BAD),
    6: ("down", "dark-red"),
}


def descriptors(by: str) -> str:
    """Return the share of file descriptors that is in use."""
    share = f"{series('process_open_fds')} / {series('process_max_fds')}"
    return f"max by ({by}) ({share})" if by else f"max({share})"


def capacity() -> str:
    """Return the share of its limit that each node has in use."""
    # All routes together: the limit is the process's.
    active = series("ws_connections_active", routed=False)
    return f"sum by (instance) ({active}) / {gauge('ws_connections_limit')}"


def _which_side() -> str:
    """Return the side of what is wrong on each node, as a number of `_SIDES`."""
    signs: tuple[tuple[int, str, str, str], ...] = (
        (6, "down", gauge("up", how="max"), "== bool 0"),
        (5, "lag", gauge("event_loop_lag_max_seconds", how="max"), "> bool 0.5"),
        (5, "handler", _slowest("ws_handler_duration_seconds"), "> bool 1"),
        (5, "errors", rate("ws_closes_total", 'reason="handler_error"'), "> bool 0.1"),
        (4, "rtt", _slowest("ws_heartbeat_rtt_seconds"), "> bool 1"),
        (4, "lost", rate("ws_closes_total", LOST), "> bool 0.1"),
        (4, "pings", rate("ws_heartbeat_timeouts_total"), "> bool 0.05"),
        (3, "bus", gauge("ws_fanout_listener_up", how="min"), "== bool 0"),
        (3, "probe", gauge("ws_fanout_probe_age_seconds", how="max"), "> bool 30"),
        (2, "slow", gauge("ws_slow_connections"), "> bool 0"),
        (2, "stuck", gauge("ws_send_waiting_max_seconds", how="max"), "> bool 5"),
        (1, "fds", descriptors("instance"), "> bool 0.8"),
        (1, "full", capacity(), "> bool 0.9"),
    )
    # A label of its own, or `or` would drop what has the labels of another one.
    parts = [
        f'label_replace(({expr} {condition}) * {value}, "sign", "{sign}", "", "")'
        for value, sign, expr, condition in signs
    ]
    return f"max by (instance) ({' or '.join(parts)})"


def _slowest(name: str) -> str:
    return quantile(0.99, name, by="instance")


def _stat(number: int, title: str, expr: str, unit: str, **more: object) -> Panel:
    return Panel(
        id=number,
        title=title,
        kind="stat",
        queries=(Query(expr, title),),
        unit=unit,
        width=3,
        height=4,
        **more,  # type: ignore[arg-type]
    )


_STATS: Final = (
    _stat(
        101,
        "Connections",
        gauge("ws_connections_active", by=""),
        "short",
        text="Open WebSocket connections of all nodes chosen above.",
        good="follows the hour of the day.",
        bad="a cliff: a proxy, a network or a node dropped them together. Growth without an end "
        "while traffic does not grow: a leak.",
    ),
    _stat(
        102,
        "Connects",
        rate("ws_connects_total", by=""),
        "cps",
        text="Accepted handshakes a second.",
        good="a few in a hundred connections a minute.",
        bad="several times the usual rate: clients come back all at once, which is a reconnect "
        "storm. Look for what threw them out, in the closes.",
    ),
    _stat(
        103,
        "Abnormal closes",
        f"{rate('ws_closes_total', LOST, by='')} / {rate('ws_closes_total', by='')}",
        "percentunit",
        text="Share of the closes that came without a close frame (1006) through the network.",
        good="a few percent, of phones and laptops that fall asleep.",
        bad="above a quarter: something between the clients and the nodes cuts connections.",
        steps=above(0.1, 0.25),
        empty="no closes",
    ),
    _stat(
        104,
        "Round trip p99",
        quantile(0.99, "ws_heartbeat_rtt_seconds"),
        "s",
        text="From a ping to its pong, for the slowest hundredth.",
        good="below 250 ms.",
        bad="above 1 s. On one node: the network of that node. On all: the clients' side, or the "
        "way to them.",
        steps=above(0.25, 1),
        empty="no pings",
    ),
    _stat(
        105,
        "Handler time p99",
        quantile(0.99, "ws_handler_duration_seconds"),
        "s",
        text="How long the application worked on a message, for the slowest hundredth. Waiting "
        "for the client is not in it.",
        good="below 250 ms.",
        bad="above 1 s: it is the application, or what it waits for.",
        steps=above(0.25, 1),
        empty="no messages",
    ),
    _stat(
        106,
        "Event loop lag",
        gauge("event_loop_lag_max_seconds", by="", how="max"),
        "s",
        text="The largest lag of any node's event loop in the last minute.",
        good="below 100 ms.",
        bad="above 500 ms: something blocks the loop, and all connections of that node wait.",
        steps=above(0.1, 0.5),
    ),
    _stat(
        107,
        "Descriptors used",
        descriptors(""),
        "percentunit",
        text="Open file descriptors, as a share of what the process may have, on the fullest node.",
        good="below 80 %.",
        bad="above 90 %: soon accept() fails, and nobody gets in.",
        steps=above(0.8, 0.9),
    ),
    _stat(
        108,
        "Bus",
        gauge("ws_fanout_listener_up", by="", how="min"),
        "short",
        text="Whether every node listens to the broker that the nodes share.",
        good="up.",
        bad="DOWN: at least one node is deaf, and its clients miss what others say.",
        steps=below(1),
        words={0: ("DOWN", BAD), 1: ("up", FINE)},
        empty="no bus",
    ),
)

OVERVIEW: Final = Row(
    100,
    "Overview: is it the clients, the network, or this node?",
    (
        *_STATS,
        Panel(
            id=109,
            title="Which side, node by node",
            kind="state-timeline",
            queries=(Query(_which_side(), "{{instance}}"),),
            unit="short",
            text="The side where something is wrong, by signs that are all on this page: the node "
            "(its event loop, handlers, errors), the network (round trips, lost connections), "
            "the bus, the clients (they read too slowly), the capacity. Where two are wrong, the "
            "one nearer to the node is shown.",
            good="green, on all nodes.",
            bad="one node unlike the others: it is that node, or the way to it. All nodes at the "
            "same time: it is what they share, or the clients.",
            width=14,
            height=6,
            words=_SIDES,
        ),
        Panel(
            id=110,
            title="Firing alerts",
            kind="table",
            queries=(
                Query(f"max by (alertname, severity, side, job, instance) ({ALERTS})", "alerts"),
            ),
            unit="short",
            text="Alerts that fire now, of the whole fleet as well. Each has its section in the "
            "runbook, which is linked above.",
            good="empty.",
            bad="read the first critical one: what follows from it is silenced by Alertmanager, "
            "but shown here.",
            width=10,
            height=6,
            columns={
                "alertname": "alert",
                "severity": "severity",
                "side": "side",
                "instance": "node",
            },
            empty="nothing fires",
        ),
        Panel(
            id=111,
            title="Nodes",
            kind="table",
            queries=(
                Query(gauge("ws_connections_active"), "connections", "short"),
                Query(rate("ws_connects_total"), "connects", "cps"),
                Query(rate("ws_messages_total"), "messages", "mps"),
                Query(rate("ws_closes_total", LOST), "lost", "cps", above(0.05, 0.1)),
                Query(
                    quantile(0.99, "ws_heartbeat_rtt_seconds", by="instance"),
                    "round trip p99",
                    "s",
                    above(0.25, 1),
                ),
                Query(
                    quantile(0.99, "ws_handler_duration_seconds", by="instance"),
                    "handler p99",
                    "s",
                    above(0.25, 1),
                ),
                Query(
                    gauge("event_loop_lag_max_seconds", how="max"),
                    "loop lag",
                    "s",
                    above(0.1, 0.5),
                ),
                Query(gauge("ws_slow_connections"), "slow clients", "short", above(1, 20)),
                Query(descriptors("instance"), "descriptors", "percentunit", above(0.8, 0.9)),
            ),
            unit="short",
            text="One line for each node, as it is now. *Lost* are connections a second that "
            "ended without a close frame through the network.",
            good="all lines look alike.",
            bad="one line unlike the others. Round trips and losses: the network. Handlers and "
            "lag: the node. Slow clients: those who read too slowly.",
            width=24,
            height=6,
            columns={"instance": "node"},
        ),
    ),
)
