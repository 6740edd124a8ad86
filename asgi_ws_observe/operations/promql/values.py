"""What an evaluation is made of: values, moments, plans, and what may be wrong with a query."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from ..pages import AskError

if TYPE_CHECKING:
    from .samples import Samples

__all__ = [
    "LOOKBACK",
    "NAME",
    "STEP",
    "Labels",
    "Moment",
    "QueryError",
    "Scalar",
    "UnsupportedError",
    "Value",
    "Vector",
    "Window",
    "milliseconds",
    "unique",
    "unnamed",
    "without",
]

Labels = Mapping[str, str]

#: The label that is a series' name.
NAME: Final = "__name__"
#: Prometheus' defaults, seconds.
LOOKBACK: Final = 300.0
STEP: Final = 60.0


class QueryError(AskError):
    """A query is none, or has no single answer."""


class UnsupportedError(QueryError):
    """A query has something that only a Prometheus evaluates.

    Args:
        what: What it is.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not supported over sampled pages; ask a Prometheus")


class Value(NamedTuple):
    """One element of an answer.

    Attributes:
        labels: Its labels; ``__name__`` is the name, where it has one.
        value: Its value.
    """

    labels: Labels
    value: float


class Window(NamedTuple):
    """The samples of one series in a range; there is at least one.

    Attributes:
        labels: The series' labels with its name.
        bare: The same without its name.
        times: Milliseconds since 1970, ascending.
        values: As many values.
        start: Where the range begins, milliseconds.
        end: Where it ends; before `at` where the query has an offset.
        at: When the query is evaluated.
        falls: Whether a value may be smaller than the one before it.
    """

    labels: Labels
    bare: Labels
    times: Sequence[int]
    values: Sequence[float]
    start: int
    end: int
    at: int
    falls: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """When and over what a plan runs; times are milliseconds.

    Attributes:
        samples: The samples.
        at: The time.
        lookback: For how long a series keeps its last sample.
        step: The resolution of subqueries that name none.
    """

    samples: Samples
    at: int
    lookback: int
    step: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A part of a query that is a number.

    Attributes:
        run: Evaluates it.
    """

    run: Callable[[Moment], float]


@dataclass(frozen=True, slots=True)
class Vector:
    """A part of a query that is an instant vector.

    Attributes:
        run: Evaluates it.
    """

    run: Callable[[Moment], list[Value]]


def milliseconds(seconds: float) -> int:
    """Return seconds in whole milliseconds, which Prometheus counts in."""
    return round(seconds * 1000)


def without(labels: Labels, names: Collection[str]) -> dict[str, str]:
    """Return labels without some."""
    return {name: value for name, value in labels.items() if name not in names}


def unnamed(labels: Labels) -> Labels:
    """Return labels without the name."""
    return without(labels, (NAME,)) if NAME in labels else labels


def unique(values: list[Value]) -> list[Value]:
    """Return the values as they are.

    Raises:
        QueryError: Two of them have the same labels.
    """
    if len({frozenset(labels.items()) for labels, _ in values}) < len(values):
        raise QueryError("several series have the same labels once their names are dropped")
    return values
