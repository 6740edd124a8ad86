"""Cases of the alerts about objectives: budgets that burn fast, slowly, or as they may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.operations.rule_case import Case, Fired
from tests.operations.rule_series import NODE, ROUTE, Line, Series, counter, histogram, key, node

__all__ = ["OBJECTIVE_CASES"]

#: A share of all that is not good, and how many there are a second.
_Make = Callable[[Line, Line], Series]


def _handshakes(good: Line, bad: Line) -> Series:
    series = node() | histogram(
        "ws_handshake_duration_seconds", {0.02: good, 0.04: bad}, instance=NODE, route=ROUTE
    )
    return series | {key("ws_handshake_failures_total", route=ROUTE, reason="error"): bad}


def _closes(good: Line, bad: Line) -> Series:
    told = {"code": "1006", "closed_by": "network", "reason": "eof"}
    return node(closes=good) | {key("ws_closes_total", route=ROUTE, **told): bad}


def _heartbeats(good: Line, bad: Line) -> Series:
    return node(heartbeats={0.03: good, 2: bad})


def _handlers(good: Line, bad: Line) -> Series:
    return node(handlers={0.02: good, 2: bad})


#: By the alert's name: what makes the series, what it says, and the shares of failures that burn
#: the budget fast, slowly, and not at all.
_OBJECTIVES: Final[dict[str, tuple[_Make, str, float, float, float]]] = {
    "WebSocketHandshake": (_handshakes, "handshakes that fail", 0.05, 0.004, 0.0009),
    "WebSocketClose": (_closes, "connections that end abnormally", 0.8, 0.2, 0.045),
    "WebSocketHeartbeat": (_heartbeats, "heartbeats that are slow", 0.2, 0.04, 0.009),
    "WebSocketHandler": (_handlers, "messages that are handled slowly", 0.2, 0.04, 0.009),
}


def _share(make: _Make, share: float, pace: float = 1.0, since: float = 0) -> Series:
    if not since:
        return make(counter(pace * (1 - share)), counter(pace * share))
    return make(counter(pace, (since, pace * (1 - share))), counter(0, (since, pace * share)))


def _cases(name: str) -> list[Case]:
    make, what, fast, slow, none = _OBJECTIVES[name]
    fast_alert, slow_alert = f"{name}BudgetBurnsFast", f"{name}BudgetBurns"
    said = f"chat: {{}} are {what}"
    return [
        Case(
            alert=fast_alert,
            what="fails since a quarter of an hour, after an hour without failures",
            series=_share(make, min(5 * fast, 1), since=3600),
            lasts="120m",
            quiet="1h",
            fires=[Fired(said.format(_percent(min(5 * fast, 1))), {})],
            step="1m",
        ),
        Case(
            alert=fast_alert,
            what="burns slowly",
            series=_share(make, slow),
            lasts="4h",
            step="1m",
        ),
        Case(
            alert=fast_alert,
            what="a failure of two minutes, an hour ago",
            series=make(counter(1, (3600, 0), (3720, 1)), counter(0, (3600, 1), (3720, 0)))
            if name == "WebSocketClose"
            else _share(make, none),
            lasts="3h",
            step="1m",
        ),
        Case(
            alert=fast_alert,
            what="all fail, at night, of fewer than a hundred in an hour",
            series=_share(make, 1, pace=0.02),
            lasts="3h",
            step="1m",
        ),
        Case(
            alert=slow_alert,
            what="burns slowly for hours",
            series=_share(make, slow),
            lasts="5h",
            fires=[Fired(said.format(_percent(slow)), {})],
            step="5m",
        ),
        Case(
            alert=slow_alert,
            what="nearly the whole budget is used, for days",
            series=_share(make, none),
            lasts="4d",
            step="5m",
        ),
        Case(
            alert=slow_alert,
            what="nothing happens at all",
            series=_share(make, slow, pace=0),
            lasts="5h",
            step="5m",
        ),
    ]


def _percent(share: float) -> str:
    return f"{share * 100:.4g}%"


OBJECTIVE_CASES: Final = tuple(case for name in _OBJECTIVES for case in _cases(name))
