"""Functions over instant vectors, ``histogram_quantile`` among them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

from .values import NAME, Labels, QueryError, Value, without

__all__ = ["NUMBERS", "bucket_quantiles", "label_replaced", "ordered"]


def _whole(rounded: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: float(rounded(value)) if math.isfinite(value) else value


def _or_else(function: Callable[[float], float], otherwise: Callable[[float], float]) -> _Number:
    def guarded(value: float) -> float:
        try:
            return function(value)
        except (ValueError, OverflowError):
            return otherwise(value)

    return guarded


def _log_of_none(value: float) -> float:
    return -math.inf if value == 0 else math.nan


def _round(value: float, to: float = 1.0) -> float:
    # As Prometheus does, which keeps 0.1 from becoming 0.1000000001.
    inverse = 1.0 / to
    scaled = value * inverse + 0.5
    return math.floor(scaled) / inverse if math.isfinite(scaled) else scaled


def _larger(a: float, b: float) -> float:
    if math.inf in (a, b):
        return math.inf
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def _smaller(a: float, b: float) -> float:
    if -math.inf in (a, b):
        return -math.inf
    return math.nan if math.isnan(a) or math.isnan(b) else min(a, b)


_Number = Callable[..., float]

#: Functions of each value, with the numbers that follow the vector.
NUMBERS: Final[dict[str, _Number]] = {
    "abs": abs,
    "ceil": _whole(math.ceil),
    "floor": _whole(math.floor),
    "round": _round,
    "clamp": lambda value, low, high: _larger(low, _smaller(high, value)),
    "clamp_min": _larger,
    "clamp_max": _smaller,
    "exp": _or_else(math.exp, lambda _: math.inf),
    "ln": _or_else(math.log, _log_of_none),
    "log2": _or_else(math.log2, _log_of_none),
    "log10": _or_else(math.log10, _log_of_none),
    "sqrt": _or_else(math.sqrt, lambda _: math.nan),
    "sgn": lambda value: value if math.isnan(value) else float((value > 0) - (value < 0)),
}


def ordered(values: list[Value], descending: bool) -> list[Value]:
    """Return values in order; those that are no number come last."""

    def key(each: Value) -> tuple[bool, float]:
        return math.isnan(each.value), -each.value if descending else each.value

    return sorted(values, key=key)


def label_replaced(
    values: list[Value], target: str, replacement: str, source: str, pattern: str
) -> list[Value]:
    """Set a label from what a regular expression finds in another; values that fail it stay."""
    try:
        match = re.compile(pattern).fullmatch
    except re.error as error:
        raise QueryError(f"{pattern!r} is no regular expression: {error}") from None
    found = []
    for labels, value in values:
        matched = match(labels.get(source, ""))
        if matched is not None:
            text = _expanded(replacement, matched)
            labels = {**without(labels, (target,)), **({target: text} if text else {})}
        found.append(Value(labels, value))
    return found


def _expanded(template: str, match: re.Match[str]) -> str:
    """Fill in ``$1``, ``${1}`` and ``$name``; groups that do not exist are empty."""

    def group(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if found[0] == "$$":
            return "$"
        try:
            return match[int(name) if name.isdigit() else name] or ""
        except IndexError:
            return ""

    return re.sub(r"\$(?:\$|(\w+)|\{(\w+)\})", group, template)


def bucket_quantiles(share: float, values: list[Value]) -> list[Value]:
    """Return a quantile of each histogram among buckets."""
    groups: dict[frozenset[tuple[str, str]], tuple[Labels, list[tuple[float, float]]]] = {}
    for labels, count in values:
        try:
            bound = float(labels["le"])
        except (KeyError, ValueError):
            continue
        rest = without(labels, ("le",))
        group = groups.setdefault(frozenset(rest.items()), (without(rest, (NAME,)), []))
        group[1].append((bound, count))
    return [Value(labels, _bucket_quantile(share, buckets)) for labels, buckets in groups.values()]


def _bucket_quantile(share: float, buckets: list[tuple[float, float]]) -> float:
    if math.isnan(share):
        return math.nan
    if not 0 <= share <= 1:
        return math.copysign(math.inf, share)
    bounds, counts = _cumulative(buckets)
    if bounds[-1] != math.inf or len(bounds) < 2 or not counts[-1]:
        return math.nan
    rank = share * counts[-1]
    index = next((i for i, each in enumerate(counts[:-1]) if each >= rank), len(counts) - 1)
    if index == len(counts) - 1:
        return bounds[-2]
    if index == 0:
        if bounds[0] <= 0:
            return bounds[0]
        return bounds[0] * (rank / counts[0]) if counts[0] else math.nan
    low, below = bounds[index - 1], counts[index - 1]
    return low + (bounds[index] - low) * ((rank - below) / (counts[index] - below))


def _cumulative(buckets: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return bounds and counts in order: equal bounds as one, no count below the one before it."""
    bounds: list[float] = []
    counts: list[float] = []
    for bound, count in sorted(buckets, key=lambda each: each[0]):
        if bounds and bounds[-1] == bound:
            counts[-1] += count
        else:
            bounds.append(bound)
            counts.append(count)
    for i in range(1, len(counts)):
        counts[i] = max(counts[i], counts[i - 1])
    return bounds, counts
