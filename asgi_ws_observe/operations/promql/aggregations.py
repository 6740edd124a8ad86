"""Aggregations: ``sum by (job)`` and the like."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Final

from .functions import ordered
from .over_time import deviation, mean, quantile, total
from .values import NAME, Labels, QueryError, Value, without

__all__ = ["AGGREGATIONS", "CHOICES", "aggregated", "chosen"]

#: What tells a group from another, and its labels.
Grouping = Callable[[Labels], tuple[Hashable, Labels]]


def _extreme(choose: Callable[[list[float]], float]) -> Callable[[list[float], float], float]:
    def extreme(values: list[float], _: float) -> float:
        numbers = [each for each in values if not math.isnan(each)]
        return choose(numbers) if numbers else math.nan

    return extreme


#: Functions of a group's values and of the aggregation's parameter.
AGGREGATIONS: Final[dict[str, Callable[[list[float], float], float]]] = {
    "sum": lambda values, _: total(values),
    "avg": lambda values, _: mean(values),
    "min": _extreme(min),
    "max": _extreme(max),
    "count": lambda values, _: float(len(values)),
    "group": lambda values, _: 1.0,
    "stdvar": lambda values, _: deviation(values),
    "stddev": lambda values, _: math.sqrt(deviation(values)),
    "quantile": lambda values, share: quantile(share, values),
}
#: Aggregations that keep some of a group's values, and whether these are the largest.
CHOICES: Final = {"topk": True, "bottomk": False}


def grouping(names: list[str] | None, by: bool) -> Grouping:
    """Return what puts labels into groups.

    Args:
        names: The labels of the clause; `None` where there is none.
        by: Whether it says ``by``, not ``without``.
    """
    if not by:
        dropped = frozenset((NAME, *(names or ())))

        def rest(labels: Labels) -> tuple[Hashable, Labels]:
            kept = without(labels, dropped)
            return frozenset(kept.items()), kept

        return rest
    wanted = tuple(names or ())

    def only(labels: Labels) -> tuple[Hashable, Labels]:
        return tuple([labels.get(name, "") for name in wanted]), {
            name: labels[name] for name in wanted if name in labels
        }

    return only


def aggregated(
    values: list[Value],
    group: Grouping,
    function: Callable[[list[float], float], float],
    parameter: float,
) -> list[Value]:
    """Return one value for each group."""
    groups: dict[Hashable, tuple[Labels, list[float]]] = {}
    for labels, value in values:
        key, kept = group(labels)
        found = groups.get(key)
        if found is None:
            groups[key] = (kept, [value])
        else:
            found[1].append(value)
    return [Value(labels, function(found, parameter)) for labels, found in groups.values()]


def chosen(values: list[Value], group: Grouping, largest: bool, count: float) -> list[Value]:
    """Return the `count` largest or smallest values of each group, in order."""
    if not math.isfinite(count):
        raise QueryError(f"got {count} values to choose, expected a number")
    groups: dict[Hashable, list[Value]] = {}
    for each in values:
        groups.setdefault(group(each.labels)[0], []).append(each)
    wanted = max(int(count), 0)
    return [each for found in groups.values() for each in ordered(found, largest)[:wanted]]
