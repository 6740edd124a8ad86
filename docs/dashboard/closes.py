"""Closes and lifetimes."""

from __future__ import annotations

from typing import Final

from .overview import LOST
from .panels import BAD, FINE, Panel, Query, Row, above
from .promql import RATE, by_node, over_zero, quantiles, rate, series

__all__ = ["CLOSES", "LIFETIMES"]

_BY_WHOM: Final = {"client": FINE, "server": "blue", "network": BAD, "unknown": "gray"}
_BY_CODE: Final = {"1000": FINE, "1001": "blue", "1006": BAD, "1011": "purple", "1012": "yellow"}


def _ended_between(low: int, high: int) -> str:
    """Return how many connections a second ended between two bounds of the histogram."""
    # Prometheus writes a bound as 65, or as 65.0.
    first, last = (
        f"sum(rate({series('ws_connection_duration_seconds_bucket', _bound(each))}{RATE}))"
        for each in (low, high)
    )
    return f"{last} - {first}"


def _bound(value: int) -> str:
    return f'le=~"{value}(\\\\.0)?"'


CLOSES: Final = Row(
    300,
    "Closes: who hangs up, and why?",
    (
        Panel(
            id=301,
            title="Closes by code",
            queries=(Query(rate("ws_closes_total", by="code"), "{{code}}"),),
            unit="cps",
            text="1000 and 1001 are a goodbye, 1006 is the lack of one, 1011 an error of the "
            "server, 1012 its restart, 4000 to 4999 are the application's own.",
            good="1000 and 1001, as steady as connects.",
            bad="1006: connections are cut. 1011: handlers fail. 1012 outside of a deploy: "
            "processes restart.",
            stacked=True,
            colours=_BY_CODE,
        ),
        Panel(
            id=302,
            title="Closes by whom",
            queries=(Query(rate("ws_closes_total", by="closed_by"), "{{closed_by}}"),),
            unit="cps",
            text="Who ended the connections: the client's close frame came first, the server's "
            "did, or there was none and the network is to blame.",
            good="mostly clients.",
            bad="`network`: something between cuts them. `server` outside of a deploy: the "
            "application or its limits.",
            stacked=True,
            colours=_BY_WHOM,
        ),
        Panel(
            id=303,
            title="Closes by reason",
            queries=(Query(rate("ws_closes_total", by="reason"), "{{reason}}"),),
            unit="cps",
            text="Why, out of a closed set of causes.",
            good="`normal` and `going_away`.",
            bad="`tcp_reset` and `eof`: cut on the way. `ping_timeout`: half-open. "
            "`handler_error`: the application. `overload`: it is full. `server_shutdown`: a "
            "deploy.",
            stacked=True,
        ),
        Panel(
            id=304,
            title="Lost connections by node",
            queries=by_node(rate("ws_closes_total", LOST)),
            unit="cps",
            text="Ends without a close frame (1006) through the network, of each node.",
            good="nearly none, and all nodes alike.",
            bad="above 0.1 a second on one node: the way to that node. On all: the proxy in front "
            "of them, or the clients' network.",
            steps=above(0.1),
        ),
        Panel(
            id=305,
            title="Abnormal share by node",
            queries=by_node(over_zero(rate("ws_closes_total", LOST), rate("ws_closes_total"))),
            unit="percentunit",
            text="Which part of a node's closes were such losses.",
            good="below 10 %.",
            bad="above 25 %: users fall out more often than they leave.",
            steps=above(0.1, 0.25),
            most=1,
            empty="no closes",
        ),
        Panel(
            id=306,
            title="Closes now",
            kind="table",
            queries=(
                Query(
                    f"topk(12, {rate('ws_closes_total', by='code, closed_by, reason')} > 0)",
                    "a second",
                    "cps",
                ),
            ),
            unit="cps",
            text="The most frequent closes now, by code, by whom, and why.",
            good="`1000 client normal` on top.",
            bad="anything with `network`, or `server handler_error`, on top.",
            columns={"code": "code", "closed_by": "by", "reason": "reason"},
            empty="no closes",
        ),
    ),
)

LIFETIMES: Final = Row(
    400,
    "Lifetimes: does a proxy cut connections?",
    (
        Panel(
            id=401,
            title="Lifetimes",
            kind="heatmap",
            queries=(
                Query(
                    "sum by (le) (increase("
                    f"{series('ws_connection_duration_seconds_bucket')}{RATE}))",
                    "{{le}}",
                ),
            ),
            unit="s",
            text="How long connections lived that ended at that time; the brighter, the more. The "
            "buckets are narrow around the idle limits of proxies: 55 to 65 s (nginx "
            "`proxy_read_timeout` and AWS ALB: 60 s), 235 to 300 s (Azure: 240 s; 5 minutes).",
            good="spread out, longest in office hours.",
            bad="one bright band that does not move: a timeout. At 55-65 s it is a proxy's 60 s, "
            "at 235-300 s one of 4 or 5 minutes. Let heartbeats be more frequent than that. All in "
            "the lowest bucket: clients get in and fall out again.",
            width=12,
            height=9,
        ),
        Panel(
            id=402,
            title="Ends at a proxy's limit",
            queries=(
                Query(_ended_between(55, 65), "55-65 s: nginx, ALB"),
                Query(_ended_between(235, 300), "235-300 s: Azure, 5 min"),
            ),
            unit="cps",
            text="Connections that lived about as long as a proxy lets them idle.",
            good="nearly none.",
            bad="as many as all closes: that proxy cuts them.",
            width=6,
            height=9,
        ),
        Panel(
            id=403,
            title="Lifetime",
            queries=quantiles("ws_connection_duration_seconds", 50, 95),
            unit="s",
            text="How long a connection lived that ended now.",
            good="minutes to hours, by what the application is.",
            bad="the median falls to seconds: clients get in and fall out again.",
            width=6,
            height=9,
        ),
    ),
)
