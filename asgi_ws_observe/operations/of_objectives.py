"""Service level objectives: how fast the budget of failures burns.

The windows and factors are those of the Site Reliability Workbook, chapter "Alerting on SLOs":
14.4 times over an hour is 2 % of a month's budget, 6 times over six hours 5 %, 1 over three days
10 %. A short window beside each long one ends the alert soon after the failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .expressions import BAD_CLOSES
from .signal import Recording, Severity, Side, Signal

__all__ = [
    *("CLOSE_BUDGET", "HANDLER_BUDGET", "HANDSHAKE_BUDGET", "HEARTBEAT_BUDGET"),
    *("OBJECTIVES", "OBJECTIVE_RECORDINGS", "OBJECTIVE_SIGNALS", "WINDOWS", "Objective"),
]

#: Over which times the shares of failures are recorded.
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")

#: (short window, long window, factor), by how urgent it is.
_BURNS: Final[dict[Severity, tuple[tuple[str, str, float], ...]]] = {
    "critical": (("5m", "1h", 14.4), ("30m", "6h", 6)),
    "warning": (("2h", "1d", 3), ("6h", "3d", 1)),
}


def _alerts(objective: str) -> tuple[str, str]:
    return f"{objective}BudgetBurns", f"{objective}BudgetBurnsFast"


#: Names of the signals of each objective, for those that explain them.
CLOSE_BUDGET: Final = _alerts("WebSocketClose")
HANDLER_BUDGET: Final = _alerts("WebSocketHandler")
HANDSHAKE_BUDGET: Final = _alerts("WebSocketHandshake")
HEARTBEAT_BUDGET: Final = _alerts("WebSocketHeartbeat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What users may expect.

    Attributes:
        name: In the alerts' names.
        side: Where to look first, as long as no other signal says more.
        what: In sentences.
        target: The threshold with the share that should be good.
        record: In the recorded series' names.
        bad: How many were not good, with ``[window]``.
        total: How many there were, with ``[window]``.
        panel: The title of the dashboard's panel.
        look: Where to go on.
    """

    name: str
    side: Side
    what: str
    target: str
    record: str
    bad: str
    total: str
    panel: str
    look: tuple[tuple[str, str], ...]


OBJECTIVES: Final = (
    Objective(
        name="WebSocketHandshake",
        side="node",
        what="handshakes that fail",
        target="slo_handshakes",
        record="ws_handshakes_failed",
        bad="sum by (job) (rate(ws_handshake_failures_total"
        '{reason=~"rejected|denied|error|limit"}[window]))',
        total="sum by (job) (rate(ws_handshake_duration_seconds_count[window]))",
        panel="Failed handshakes",
        look=(
            (
                "Why do they fail, and where?",
                "topk(5, sum by (instance, route, reason) (rate(ws_handshake_failures_total"
                '{job="<job>"}[1h])))',
            ),
        ),
    ),
    Objective(
        name="WebSocketClose",
        side="network",
        what="connections that end abnormally",
        target="slo_closes",
        record="ws_closes_abnormal",
        bad=f"sum by (job) (rate({BAD_CLOSES}[window]))",
        total="sum by (job) (rate(ws_closes_total[window]))",
        panel="Closes by code",
        look=(
            (
                "How do they end, and where?",
                "topk(5, sum by (instance, code, reason) (rate(ws_closes_total"
                '{job="<job>",reason!~"normal|going_away|application"}[1h])))',
            ),
        ),
    ),
    Objective(
        name="WebSocketHeartbeat",
        side="network",
        what="heartbeats that are slow",
        target="slo_heartbeats",
        record="ws_heartbeats_slow",
        bad="sum by (job) (rate(ws_heartbeat_rtt_seconds_count[window])) - sum by (job) "
        '(rate(ws_heartbeat_rtt_seconds_bucket{le=~"$slo_heartbeat_seconds(\\\\.0)?"}[window]))',
        total="sum by (job) (rate(ws_heartbeat_rtt_seconds_count[window]))",
        panel="Heartbeat round trip p99 by node",
        look=(
            (
                "On which nodes?",
                "histogram_quantile(0.99, sum by (instance, le) "
                '(rate(ws_heartbeat_rtt_seconds_bucket{job="<job>"}[1h])))',
            ),
        ),
    ),
    Objective(
        name="WebSocketHandler",
        side="node",
        what="messages that are handled slowly",
        target="slo_handlers",
        record="ws_messages_slow",
        bad="sum by (job) (rate(ws_handler_duration_seconds_count[window])) - sum by (job) "
        '(rate(ws_handler_duration_seconds_bucket{le=~"$slo_handler_seconds(\\\\.0)?"}[window]))',
        total="sum by (job) (rate(ws_handler_duration_seconds_count[window]))",
        panel="Handler time",
        look=(
            (
                "On which route and node?",
                "topk(5, histogram_quantile(0.99, sum by (instance, route, le) "
                '(rate(ws_handler_duration_seconds_bucket{job="<job>"}[1h]))))',
            ),
        ),
    ),
)


def _recorded(objective: Objective, window: str) -> str:
    return f"job:{objective.record}:ratio_rate{window}"


def _recordings(objective: Objective) -> list[Recording]:
    return [
        Recording(
            name=_recorded(objective, window),
            expr=f"({objective.bad}) / ({objective.total})".replace("window", window),
        )
        for window in WINDOWS
    ]


def _burns(objective: Objective, severity: Severity) -> Signal:
    budget = f"(1 - ${objective.target})"
    pairs = [
        f"    (\n        {_recorded(objective, short)} > {factor:g} * {budget}\n      and\n"
        f"        {_recorded(objective, long)} > {factor:g} * {budget}\n    )\n"
        for short, long, factor in _BURNS[severity]
    ]
    enough = objective.total.replace("rate(", "increase(").replace("window", "1h")
    fast = severity == "critical"
    slowly, quickly = _alerts(objective.name)
    return Signal(
        name=quickly if fast else slowly,
        side=objective.side,
        severity=severity,
        scope="fleet",
        expr="(\n" + "  or\n".join(pairs) + f")\nand on (job)\n    {enough} > $slo_events\n",
        hold="6m" if fast else "1h",
        unit="ratio",
        means=f"The budget for {objective.what} burns so fast that it is gone within "
        f"{'days' if fast else 'the month'}.",
        says=f"{{value}} are {objective.what}",
        look=objective.look,
        command="asgi-ws-observe diagnose <prometheus>",
        do=(
            "Look at the other alerts first: the cause has one of its own in most cases.",
            "Until it is found change nothing: no deploy, no migration.",
        ),
        explains=(slowly,) if fast else (),
        panel=objective.panel,
        history=True,
    )


OBJECTIVE_RECORDINGS: Final = tuple(
    recording for objective in OBJECTIVES for recording in _recordings(objective)
)

OBJECTIVE_SIGNALS: Final = tuple(
    _burns(objective, severity) for objective in OBJECTIVES for severity in _BURNS
)
