"""What a panel is, and a row of panels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["BAD", "FINE", "WORSE", "Panel", "Query", "Row", "Steps", "above", "below"]

#: Colours of Grafana.
FINE: Final = "green"
WORSE: Final = "orange"
BAD: Final = "red"

Kind = Literal["stat", "timeseries", "heatmap", "state-timeline", "table"]
#: From which value on which colour; the first one has no value.
Steps = tuple[tuple[float | None, str], ...]


def above(worse: float, bad: float | None = None) -> Steps:
    """Return thresholds of what should be small."""
    first: Steps = ((None, FINE), (worse, WORSE))
    return first if bad is None else (*first, (bad, BAD))


def below(fine: float) -> Steps:
    """Return thresholds of what should be at least this."""
    return (None, BAD), (fine, FINE)


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks Prometheus.

    Attributes:
        expr: PromQL with the dashboard's variables.
        legend: The name of a series, with labels as ``{{label}}``; in a table the column's.
        unit: Grafana's, where it is not the panel's: of a table's column.
        steps: Thresholds of a table's column.
    """

    expr: str
    legend: str
    unit: str = ""
    steps: Steps = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel.

    Attributes:
        id: What links refer to; it never changes.
        title: What signals refer to.
        kind: Grafana's type.
        queries: What it shows.
        unit: Grafana's.
        text: What it shows, in a sentence or two.
        good: What it looks like while all is well.
        bad: What it looks like when something is wrong, and what that is.
        width: Of 24 columns.
        height: In units of 30 pixels.
        steps: Thresholds.
        most: The top of the axis; found by the values where `None`.
        stacked: Whether series are drawn on each other, since their sum means something.
        exemplars: Whether dots lead to traces.
        colours: The name of a series -> its colour.
        words: A value -> what it is called and its colour.
        columns: A label -> the column's title, in a table.
        empty: What it says where there is nothing.
    """

    id: int
    title: str
    queries: tuple[Query, ...]
    unit: str
    text: str
    good: str
    bad: str
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 7
    steps: Steps = ()
    most: float | None = None
    stacked: bool = False
    exemplars: bool = False
    colours: dict[str, str] = field(default_factory=dict)
    words: dict[int, tuple[str, str]] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    empty: str = ""

    @property
    def description(self) -> str:
        """What Grafana shows where the mouse is over the panel's corner."""
        return f"{self.text}\n\n**Good:** {self.good}\n\n**Bad:** {self.bad}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of panels.

    Attributes:
        id: Likewise.
        title: The question that it answers.
        panels: From the left, wrapped where 24 columns are full.
    """

    id: int
    title: str
    panels: tuple[Panel, ...]
