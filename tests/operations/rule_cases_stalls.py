"""Cases of the alerts about silence, and about what is never given back."""

from __future__ import annotations

import math
from typing import Final

from tests.operations.rule_case import Case, Fired
from tests.operations.rule_series import (
    NODE,
    Line,
    Series,
    counter,
    key,
    level,
    node,
    ramp,
    restarted,
)

__all__ = ["STALL_CASES"]

_HERE: Final = {"instance": NODE}


def _close_wait(line: Line) -> Series:
    return node() | {key("ws_tcp_connections", state="close_wait"): line}


def _bursts(time: float) -> float:
    """Return a counter of news for everybody, every ten minutes for half a minute."""
    whole, rest = divmod(time, 600)
    return 3000 * whole + 100 * min(rest, 30)


_STALLS: Final = (
    Case(
        alert="WebSocketSilentStall",
        what="what sends waits for a lock",
        series=node(messages=counter(5, (3600, 0))),
        lasts="63m",
        quiet="1h",
        fires=[
            Fired(
                f"{NODE}: 100 connections are open, and for 2 minutes there was not one message",
                _HERE,
            )
        ],
    ),
    Case(
        alert="WebSocketSilentStall",
        what="it still does ten minutes later",
        series=node(messages=counter(5, (3600, 0))),
        lasts="70m",
        fires=[
            Fired(
                f"{NODE}: 100 connections are open, and for 2 minutes there was not one message",
                _HERE,
            )
        ],
    ),
    Case(
        alert="WebSocketSilentStall",
        what="news go to everybody every ten minutes, and nothing in between",
        series=node(messages=_bursts, started=level(0)),
        lasts="2h",
    ),
    Case(
        alert="WebSocketSilentStall",
        what="an evening: four connections are left, and say nothing",
        series=node(
            connections=ramp(100, (600, -96 / 1800), (2400, 0)),
            messages=counter(2, (1800, 0.5), (2400, 0)),
        ),
        lasts="1h",
    ),
    Case(
        alert="WebSocketSilentStall",
        what="back from a deploy with six of a hundred connections",
        series=restarted(
            node(
                connections=level(100, (3600, 0), (3660, 6)),
                messages=counter(1, (3600, 0), (3660, 0.06), (3900, 0)),
            ),
            3600,
        ),
        lasts="75m",
    ),
    Case(
        alert="WebSocketSilentStall",
        what="the node is drained",
        series=node(connections=level(100, (3600, 0)), messages=counter(5, (3600, 0))),
        lasts="75m",
    ),
)


def _churn(time: float) -> float:
    """Return a thousand connections that come and go."""
    return round(1000 + 30 * math.sin(time / 700) + 20 * math.sin(time / 260))


_LEAKS: Final = (
    Case(
        alert="WebSocketCloseWait",
        what="handlers that wait for something else never learn that their client has gone",
        series=_close_wait(ramp(0, (600, 0.05))),
        lasts="25m",
        quiet="15m",
        fires=[
            Fired(
                f"{NODE}: 30 sockets are in CLOSE_WAIT for minutes and do not become fewer", _HERE
            )
        ],
    ),
    Case(
        alert="WebSocketCloseWait",
        what="nine of them stay",
        series=_close_wait(ramp(0, (600, 0.03), (900, 0))),
    ),
    Case(
        alert="WebSocketCloseWait",
        what="many close at once, and are gone after a minute",
        series=_close_wait(level(0, (600, 200), (660, 0), (960, 150), (1020, 0))),
    ),
    Case(
        alert="WebSocketCloseWait",
        what="after a fault they become fewer",
        series=_close_wait(ramp(300, pace=-0.15)),
    ),
    Case(
        alert="WebSocketConnectionLeak",
        what="thirty an hour come to stay",
        series=node(connections=ramp(100, (3600, 1 / 120))),
        lasts="3h",
        quiet="1h",
        fires=[
            Fired(f"{NODE}: connections grow by 30 an hour, and messages do not keep up", _HERE)
        ],
    ),
    Case(
        alert="WebSocketConnectionLeak",
        what="nine an hour",
        series=node(connections=ramp(100, pace=0.0025)),
        lasts="3h",
    ),
    Case(
        alert="WebSocketConnectionLeak",
        what="a morning: ten times the connections within three hours, and of the messages",
        series=node(
            connections=ramp(100, (3600, 900 / 10800)),
            messages=lambda time: 5 * time + max(time - 3600, 0) ** 2 * 45 / 10800 / 2,
        ),
        lasts="4h",
    ),
    Case(
        alert="WebSocketConnectionLeak",
        what="a thousand connections that come and go",
        series=node(connections=_churn),
        lasts="4h",
    ),
)

STALL_CASES: Final = (*_STALLS, *_LEAKS)
