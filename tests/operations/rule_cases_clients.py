"""Cases of the alerts about clients."""

from __future__ import annotations

from typing import Final

from tests.operations.rule_case import Case, Fired
from tests.operations.rule_fleets import rolling_deploy
from tests.operations.rule_series import (
    NODE,
    ROUTE,
    Series,
    absent,
    counter,
    histogram,
    key,
    level,
    node,
    ramp,
    restarted,
    unscraped,
)

__all__ = ["CLIENT_CASES"]

_HERE: Final = {"instance": NODE}


def _buffers(small: float, large: float) -> Series:
    lines = {0.0: counter(small), 3e6: counter(0, (600, large))}
    return node() | histogram("ws_send_buffer_bytes", lines, instance=NODE, route=ROUTE)


def _waiting(*changes: tuple[float, float]) -> Series:
    return node() | {key("ws_send_waiting_max_seconds", route=ROUTE): level(0, *changes)}


def _dropped(pace: float, reason: str = "queue_full") -> Series:
    line = counter(0, (600, pace))
    return node() | {key("ws_messages_dropped_total", channel="rooms", reason=reason): line}


_STORMS: Final = (
    Case(
        alert="WebSocketReconnectStorm",
        what="clients without backoff hang up and come again",
        series=node(connects=counter(0.1, (1200, 20))),
        lasts="22m",
        quiet="20m",
        fires=[
            Fired(
                "chat: 20.00 connects a second, many times as many as a quarter of an hour ago", {}
            )
        ],
    ),
    Case(
        alert="WebSocketReconnectStorm",
        what="the same, while a target that nobody removed has been down for hours",
        series=node(connects=counter(0.1, (1200, 20))) | unscraped(node("old:8000"), 0),
        lasts="22m",
        fires=[
            Fired(
                "chat: 20.00 connects a second, many times as many as a quarter of an hour ago", {}
            )
        ],
    ),
    Case(
        alert="WebSocketReconnectStorm",
        what="a morning: connects double every ten minutes",
        series=node(connects=counter(1, *((600 * n, 2.0**n) for n in range(6)))),
        lasts="1h",
    ),
    Case(
        alert="WebSocketReconnectStorm",
        what="at night a hundred come within half a minute",
        series=node(connects=counter(0, (1200, 3.3), (1230, 0))),
    ),
    Case(
        alert="WebSocketReconnectStorm",
        what="a rolling deploy moves everybody",
        series=rolling_deploy(),
        lasts="40m",
    ),
    Case(
        alert="WebSocketReconnectStorm",
        what="hypercorn drains a node, by 1011",
        series=node(connects=counter(0.1, (1200, 8), (1290, 0.1)))
        | {
            key(
                "ws_closes_total",
                route=ROUTE,
                code="1011",
                closed_by="server",
                reason="server_shutdown",
            ): counter(0, (1190, 8), (1290, 0)),
        },
    ),
    Case(
        alert="WebSocketReconnectStorm",
        what="another node fails, and its clients come here",
        series=node(connects=counter(0.1, (1200, 12), (1320, 0.1)))
        | unscraped(node("node-2:8000"), 1200),
    ),
    Case(
        alert="WebSocketReconnectStorm",
        what="a node of the same fleet is taken out of the configuration",
        series=node(connects=counter(0.1, (1200, 12), (1320, 0.1)))
        | {name: absent(line, 1200) for name, line in node("node-2:8000").items()},
    ),
    Case(
        alert="WebSocketReconnectStorm",
        what="the only node restarts, and all come back",
        series=restarted(node(connects=counter(0.1, (1230, 12), (1300, 0.1))), 1200),
    ),
)

_BUFFERS: Final = (
    Case(
        alert="WebSocketSlowConsumers",
        what="one look in ten finds 3 MB unsent",
        series=_buffers(18, 2),
        lasts="20m",
        quiet="10m",
        fires=[Fired(f"{NODE}: the send buffer's p95 is 4.5MiB", _HERE)],
    ),
    Case(
        alert="WebSocketSlowConsumers",
        what="four in a hundred are slow",
        series=_buffers(96, 4),
    ),
    Case(
        alert="WebSocketSlowConsumers",
        what="nobody is connected, and no look finds anything",
        series=_buffers(0, 0),
    ),
    Case(
        alert="WebSocketSendStuck",
        what="a client stops reading",
        series=node() | {key("ws_send_waiting_max_seconds", route=ROUTE): ramp(0, (600, 1))},
        lasts="13m",
        quiet="10m",
        fires=[Fired(f"{NODE}: a send() has waited 3m 0s", _HERE)],
    ),
    Case(
        alert="WebSocketSendStuck",
        what="sends wait for 29 seconds, again and again",
        series=_waiting((600, 29)),
    ),
    Case(
        alert="WebSocketSendStuck",
        what="one waits for 45 seconds, and returns",
        series=_waiting((600, 45), (630, 0)),
    ),
    Case(
        alert="WebSocketMessagesDropped",
        what="queues of a hub are full",
        series=_dropped(0.5),
        lasts="20m",
        quiet="10m",
        fires=[
            Fired(
                f"{NODE}: 0.50 messages a second dropped for full queues",
                _HERE | {"channel": "rooms"},
            )
        ],
    ),
    Case(
        alert="WebSocketMessagesDropped",
        what="a few are dropped, fewer than six a minute",
        series=_dropped(0.09),
    ),
    Case(
        alert="WebSocketMessagesDropped",
        what="clients left before their messages were sent",
        series=_dropped(5, "left"),
    ),
)

CLIENT_CASES: Final = (*_STORMS, *_BUFFERS)
