"""THE table of what can go wrong: alerts, runbook, dashboard links and diagnosis are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["SIGNALS", "Severity", "Side", "Signal"]

#: Where the cause is to be looked for.
Side = Literal["clients", "network", "node", "deploy", "capacity", "bus"]

#: ``critical`` wakes somebody, ``warning`` waits for the morning, ``info`` is context.
Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One thing that can go wrong.

    Attributes:
        name: The alert's name.
        side: Where the cause is to be looked for.
        severity: How urgent it is.
        expr: PromQL that returns a series for each place where it is so; ``$name`` is a threshold.
        hold: For how long it must be so; a duration of PromQL.
        means: What it means, in one sentence.
        says: The same with the numbers, for one place: ``{value}`` is the expression's value.
        look: What to look at next: PromQL or a command, each with why.
        do: What to do.
        explains: Names of the signals that follow from this one, and are silent while it is so.
        panel: The title of the dashboard's panel to look at.
        history: Whether it compares with the past, which only a Prometheus remembers.
    """

    name: str
    side: Side
    severity: Severity
    expr: str
    hold: str
    means: str
    says: str
    look: tuple[tuple[str, str], ...]
    do: tuple[str, ...]
    explains: tuple[str, ...] = ()
    panel: str
    history: bool = False


#: All of them.
SIGNALS: Final[tuple[Signal, ...]] = ()
