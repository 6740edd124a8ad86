"""Selectors: matchers, the newest sample, ranges and subqueries."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, cast

import promql_parser as ast

from .samples import Series, Test
from .values import (
    NAME,
    Labels,
    Moment,
    QueryError,
    UnsupportedError,
    Value,
    Vector,
    Window,
    milliseconds,
    unnamed,
)

__all__ = ["instant", "milliseconds_of", "ranged", "subquery"]

Windows = Callable[[Moment], Iterator[Window]]


def milliseconds_of(duration: timedelta | None) -> int:
    """Return a duration of the parser in milliseconds; 0 for none."""
    return 0 if duration is None else milliseconds(duration.total_seconds())


def instant(node: ast.VectorSelector) -> Vector:
    """Return the plan that reads the newest samples."""
    select = _selection(node)
    offset = milliseconds_of(node.offset)

    def run(moment: Moment) -> list[Value]:
        at = moment.at - offset
        oldest = at - moment.lookback
        found = []
        for series in select(moment):
            times = series.times
            index = -1 if times[-1] <= at else bisect_right(times, at) - 1
            if (index == -1 and times[-1] > at) or times[index] < oldest:
                continue
            value = series.values[index]
            if value is not None:
                found.append(Value(series.labels, value))
        return found

    return Vector(run)


def ranged(node: ast.MatrixSelector) -> Windows:
    """Return what reads the samples of a range, series by series."""
    select = _selection(node.vector_selector)
    offset = milliseconds_of(node.vector_selector.offset)
    length = milliseconds_of(node.range)

    def run(moment: Moment) -> Iterator[Window]:
        end = moment.at - offset
        start = end - length
        for series in select(moment):
            first, last = bisect_left(series.times, start), bisect_right(series.times, end)
            times, values = series.times[first:last], series.values[first:last]
            if series.ends:
                pairs = [pair for pair in zip(times, values, strict=True) if pair[1] is not None]
                times, values = [each[0] for each in pairs], [each[1] for each in pairs]
            if times:
                numbers = cast(list[float], values)
                labels, bare, falls = series.labels, series.bare, series.falls
                yield Window(labels, bare, times, numbers, start, end, moment.at, falls)

    return run


def subquery(node: ast.SubqueryExpr, inner: Vector) -> Windows:
    """Return what evaluates a query again and again, at multiples of its step."""
    _no_at(node.at)
    offset, length = milliseconds_of(node.offset), milliseconds_of(node.range)
    own_step = milliseconds_of(node.step)

    def run(moment: Moment) -> Iterator[Window]:
        end = moment.at - offset
        start = end - length
        step = own_step or moment.step
        found: dict[frozenset[tuple[str, str]], tuple[Labels, list[int], list[float]]] = {}
        for at in range(-(-start // step) * step, end + 1, step):
            for labels, value in inner.run(replace(moment, at=at)):
                key = frozenset(labels.items())
                kept = found.get(key)
                if kept is None:
                    kept = found[key] = (labels, [], [])
                kept[1].append(at)
                kept[2].append(value)
        for labels, times, values in found.values():
            yield Window(labels, unnamed(labels), times, values, start, end, moment.at, True)

    return run


def _selection(node: ast.VectorSelector) -> Callable[[Moment], list[Series]]:
    """Return what finds the series of a selector."""
    _no_at(node.at)
    if node.matchers.or_matchers:
        raise UnsupportedError("`or` between matchers")
    name, tests, key = node.name, [], [node.name]
    for matcher in node.matchers.matchers:
        kind = str(matcher.op)
        if matcher.name == NAME and kind == "MatchOp.Equal":
            name = matcher.value
        tests.append(_test(matcher.name, kind, matcher.value))
        key.append(f"{matcher.name}\0{kind}\0{matcher.value}")
    kept = tuple(key)
    return lambda moment: moment.samples.select(name, tests, kept)


@lru_cache(maxsize=4096)
def _test(label: str, kind: str, wanted: str) -> Test:
    """Return a matcher as a label's name and what its value must be like."""
    if kind == "MatchOp.Equal":
        return label, wanted.__eq__
    if kind == "MatchOp.NotEqual":
        return label, wanted.__ne__
    try:
        # Its whole text must match. Few values, asked for often.
        matches = lru_cache(maxsize=1024)(re.compile(wanted).fullmatch)
    except re.error as error:
        raise QueryError(f"{wanted!r} is no regular expression: {error}") from None
    if kind == "MatchOp.Re":
        return label, lambda value: matches(value) is not None
    return label, lambda value: matches(value) is None


def _no_at(modifier: Any) -> None:
    if modifier is not None:
        raise UnsupportedError("the modifier @")
