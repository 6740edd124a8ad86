"""What one thing that can go wrong is described by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["SIDES", "Recording", "Scope", "Severity", "Side", "Signal", "Unit"]

#: Where the cause is to be looked for.
Side = Literal["clients", "network", "node", "deploy", "capacity", "bus"]

#: What a side is called in a sentence.
SIDES: Final[Mapping[Side, str]] = {
    "clients": "the clients",
    "network": "the network",
    "node": "the node",
    "deploy": "the deploy",
    "capacity": "capacity",
    "bus": "the bus between the nodes",
}

#: ``critical`` wakes somebody, ``warning`` waits for the morning, ``info`` is context.
Severity = Literal["critical", "warning", "info"]

#: What one alert is about: an instance, or all instances of a job.
Scope = Literal["instance", "fleet"]

#: What an expression's value is.
Unit = Literal["count", "per second", "per hour", "seconds", "bytes", "ratio", "times"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A series that is worked out once and used several times.

    Attributes:
        name: As ``level:metric:operation``.
        expr: What it is made of, a template as in `Signal`, without recorded series.
    """

    name: str
    expr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One thing that can go wrong.

    Attributes:
        name: The alert's name.
        side: Where the cause is to be looked for.
        severity: How urgent it is.
        scope: What one alert is about.
        expr: PromQL that has a series for each place where it is so; ``$name`` is a threshold.
        hold: For how long it must be so, a duration of PromQL; what an alert rule calls ``for``.
        unit: What the expression's value is.
        means: What it means, one sentence.
        says: The same with the number, where ``{value}`` is it, for one place.
        look: What to look at next: what for, and PromQL. ``<instance>``, ``<job>`` and the other
            labels of the expression stand for their values.
        command: The next command to type, with the same placeholders; ``<metrics>`` is the URL of
            the node's metrics.
        do: What to do.
        explains: Signals that follow from this one: silent while it is so.
        panel: The title of the dashboard's panel to look at.
        history: Whether it compares with what was longer ago than one look can tell, so that only
            a Prometheus knows.
    """

    name: str
    side: Side
    severity: Severity
    scope: Scope = "instance"
    expr: str
    hold: str
    unit: Unit
    means: str
    says: str
    look: tuple[tuple[str, str], ...]
    command: str
    do: tuple[str, ...]
    explains: tuple[str, ...] = ()
    panel: str
    history: bool = False
