"""Functions over the samples of a range; Prometheus' ``rate`` and its kin extrapolate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

from .values import Window

__all__ = ["KEEP_NAME", "OVER_TIME", "deviation", "mean", "quantile", "total"]

#: A function of a window and of its parameter; `None` where the window has too few samples.
OverTime = Callable[[Window, float], "float | None"]


def total(values: Sequence[float]) -> float:
    """Return the sum, as exact as can be."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # Infinities of both signs, or a sum that is too large.
        return sum(values)


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return total(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """Return the variance of the values, which are all there are."""
    middle = mean(values)
    return total([(each - middle) * (each - middle) for each in values]) / len(values)


def quantile(share: float, values: Sequence[float]) -> float:
    """Return a quantile, linear between neighbours."""
    if not values or math.isnan(share):
        return math.nan
    if not 0 <= share <= 1:
        return math.copysign(math.inf, share)
    ordered = sorted(values, key=lambda each: (not math.isnan(each), each))
    rank = share * (len(ordered) - 1)
    lower = math.floor(rank)
    upper = min(lower + 1, len(ordered) - 1)
    weight = rank - lower
    return ordered[lower] * (1 - weight) + ordered[upper] * weight


def _extrapolated(window: Window, _: float, counter: bool, per_second: bool) -> float | None:
    """Return how much a range grew, continued to both its ends where samples are near them."""
    times, values = window.times, window.values
    if len(times) < 2:
        return None
    grown = values[-1] - values[0]
    if counter and window.falls:
        last = values[0]
        for each in values:
            if each < last:
                grown += last
            last = each
    covered = (times[-1] - times[0]) / 1000
    between = covered / (len(times) - 1)
    before, after = (times[0] - window.start) / 1000, (window.end - times[-1]) / 1000
    if counter and grown > 0 and values[0] >= 0:
        # A counter was not below zero before.
        before = min(before, covered * (values[0] / grown))
    near = between * 1.1
    whole = covered
    whole += before if before < near else between / 2
    whole += after if after < near else between / 2
    factor = whole / covered
    if per_second:
        factor /= (window.end - window.start) / 1000
    return grown * factor


def _last_two(window: Window, _: float, counter: bool) -> float | None:
    """Return the growth between the last two samples, of counters per second."""
    times, values = window.times, window.values
    if len(times) < 2:
        return None
    grown = values[-1] - values[-2]
    if not counter:
        return grown
    if values[-1] < values[-2]:
        grown = values[-1]
    return grown / ((times[-1] - times[-2]) / 1000)


def _line(window: Window, origin: int) -> tuple[float, float] | None:
    """Return the slope per second and the value at a time of the line nearest to all samples."""
    values = window.values
    if len(values) < 2:
        return None
    if all(each == values[0] for each in values):
        # The sums would leave a tiny slope.
        return (math.nan, math.nan) if math.isinf(values[0]) else (0.0, values[0])
    moments = [(each - origin) / 1000 for each in window.times]
    count, x, y = len(values), total(moments), total(values)
    xy = total([a * b for a, b in zip(moments, values, strict=True)])
    xx = total([a * a for a in moments])
    slope = (xy - x * y / count) / (xx - x * x / count)
    return slope, y / count - slope * x / count


def _deriv(window: Window, _: float) -> float | None:
    line = _line(window, window.times[0])
    return None if line is None else line[0]


def _predict(window: Window, ahead: float) -> float | None:
    line = _line(window, window.at)
    return None if line is None else line[0] * ahead + line[1]


def _changes(window: Window, _: float) -> float:
    pairs = pairwise(window.values)
    return float(sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairs))


def _resets(window: Window, _: float) -> float:
    return float(sum(b < a for a, b in pairwise(window.values)))


def _extreme(window: Window, _: float, choose: Callable[[list[float]], float]) -> float:
    numbers = [each for each in window.values if not math.isnan(each)]
    return choose(numbers) if numbers else math.nan


OVER_TIME: Final[dict[str, OverTime]] = {
    "rate": partial(_extrapolated, counter=True, per_second=True),
    "increase": partial(_extrapolated, counter=True, per_second=False),
    "delta": partial(_extrapolated, counter=False, per_second=False),
    "irate": partial(_last_two, counter=True),
    "idelta": partial(_last_two, counter=False),
    "deriv": _deriv,
    "predict_linear": _predict,
    "changes": _changes,
    "resets": _resets,
    "min_over_time": partial(_extreme, choose=min),
    "max_over_time": partial(_extreme, choose=max),
    "sum_over_time": lambda window, _: total(window.values),
    "avg_over_time": lambda window, _: mean(window.values),
    "count_over_time": lambda window, _: float(len(window.values)),
    "last_over_time": lambda window, _: window.values[-1],
    "present_over_time": lambda window, _: 1.0,
    "stdvar_over_time": lambda window, _: deviation(window.values),
    "stddev_over_time": lambda window, _: math.sqrt(deviation(window.values)),
    "quantile_over_time": lambda window, share: quantile(share, window.values),
}
#: Their values are still of the metric.
KEEP_NAME: Final = frozenset({"last_over_time"})
