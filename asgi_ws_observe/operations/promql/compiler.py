"""From PromQL's text to a plan: functions that call each other, without the parser's nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch
from typing import Any, cast

import promql_parser as ast

from .aggregations import AGGREGATIONS, CHOICES, aggregated, chosen, grouping
from .functions import NUMBERS, bucket_quantiles, label_replaced, ordered
from .operators import ARITHMETIC, COMPARISONS, SETS, Matching, matched, with_number
from .over_time import KEEP_NAME, OVER_TIME
from .selectors import Windows, instant, ranged, subquery
from .values import (
    NAME,
    Moment,
    QueryError,
    Scalar,
    UnsupportedError,
    Value,
    Vector,
    unique,
    unnamed,
)

__all__ = ["compiled"]

Plan = Scalar | Vector


def compiled(query: str) -> Plan:
    """Return the plan of a query.

    Raises:
        QueryError: It is none.
        UnsupportedError: It has something that only a Prometheus evaluates.
    """
    try:
        node = ast.parse(query)
    except ValueError as error:
        raise QueryError(f"{query!r} is no PromQL: {error}") from None
    return _plan(node)


@singledispatch
def _plan(node: Any) -> Plan:
    raise UnsupportedError(f"a {type(node).__name__} as a result or argument")


@_plan.register
def _(node: ast.NumberLiteral) -> Plan:
    number = node.val
    return Scalar(lambda _: number)


@_plan.register
def _(node: ast.ParenExpr) -> Plan:
    return _plan(node.expr)


@_plan.register
def _(node: ast.VectorSelector) -> Plan:
    return instant(node)


@_plan.register
def _(node: ast.UnaryExpr) -> Plan:
    inner = _plan(node.expr)
    if isinstance(inner, Scalar):
        return Scalar(lambda moment: -inner.run(moment))
    return Vector(lambda moment: unique([Value(unnamed(a), -b) for a, b in inner.run(moment)]))


@_plan.register
def _(node: ast.AggregateExpr) -> Plan:
    kind = str(node.op)
    inner, parameter = _vector(node.expr), _parameter(node)
    modifier = node.modifier
    names = None if modifier is None else list(modifier.labels)
    by = modifier is None or str(modifier.type) == "AggModifierType.By"
    group = grouping(names, by)
    if kind in CHOICES:
        largest = CHOICES[kind]
        return Vector(lambda at: chosen(inner.run(at), group, largest, parameter(at)))
    if kind not in AGGREGATIONS:
        raise UnsupportedError(f"the aggregation {kind}")
    function = AGGREGATIONS[kind]
    return Vector(lambda at: aggregated(inner.run(at), group, function, parameter(at)))


@_plan.register
def _(node: ast.BinaryExpr) -> Plan:
    sign, as_bool = str(node.op), node.modifier is not None and node.modifier.return_bool
    if sign not in ARITHMETIC and sign not in COMPARISONS and sign not in SETS:
        raise UnsupportedError(f"the operator {sign}")
    left, right = _plan(node.lhs), _plan(node.rhs)
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        a, b = left.run, right.run
        count = ARITHMETIC.get(sign) or COMPARISONS[sign]
        return Scalar(lambda at: float(count(a(at), b(at))))
    if isinstance(left, Vector) and isinstance(right, Vector):
        return _of_vectors(left.run, right.run, sign, _matching(node.modifier), as_bool)
    swapped = isinstance(left, Scalar)
    number = cast(Scalar, left if swapped else right).run
    values = cast(Vector, right if swapped else left).run
    return Vector(
        lambda at: with_number(values(at), number(at), sign, swapped=swapped, as_bool=as_bool)
    )


@_plan.register
def _(node: ast.Call) -> Plan:
    name, arguments = node.func.name, list(node.args)
    if name in OVER_TIME:
        return _over_time(name, arguments)
    if name in NUMBERS:
        return _each_number(name, arguments)
    if name in _CALLS:
        return _CALLS[name](arguments)
    raise UnsupportedError(f"the function {name}")


def _of_vectors(
    left: Callable[[Moment], list[Value]],
    right: Callable[[Moment], list[Value]],
    sign: str,
    matching: Matching,
    as_bool: bool,
) -> Vector:
    if sign in SETS:
        combine = SETS[sign]
        return Vector(lambda at: combine(left(at), right(at), matching))
    return Vector(lambda at: matched(left(at), right(at), sign, matching, as_bool))


def _matching(modifier: ast.BinModifier | None) -> Matching:
    if modifier is None:
        return Matching()
    if modifier.fill_values.lhs is not None or modifier.fill_values.rhs is not None:
        raise UnsupportedError("fill")
    card = str(modifier.card).rpartition(".")[2]
    labels = modifier.matching
    return Matching(
        on=labels is not None and str(labels.type) == "LabelModifierType.Include",
        labels=() if labels is None else tuple(labels.labels),
        many={"ManyToOne": "left", "OneToMany": "right"}.get(card, ""),
        include=tuple(modifier.group_labels or ()),
    )


def _vector(node: Any) -> Vector:
    # The parser has checked the types of arguments.
    return cast(Vector, _plan(node))


def _scalar(node: Any) -> Callable[[Moment], float]:
    return cast(Scalar, _plan(node)).run


def _parameter(node: ast.AggregateExpr) -> Callable[[Moment], float]:
    if node.param is None or isinstance(node.param, ast.StringLiteral):
        return lambda _: 0.0
    return _scalar(node.param)


def _bare(node: Any) -> Any:
    while isinstance(node, ast.ParenExpr):
        node = node.expr
    return node


def _windows(node: Any) -> Windows:
    node = _bare(node)
    if isinstance(node, ast.SubqueryExpr):
        return subquery(node, _vector(node.expr))
    return ranged(node)


def _over_time(name: str, arguments: list[Any]) -> Vector:
    function, keeps = OVER_TIME[name], name in KEEP_NAME
    at_range = 1 if name == "quantile_over_time" else 0
    windows = _windows(arguments[at_range])
    number = _scalar(arguments[1 - at_range]) if len(arguments) > 1 else None

    def run(moment: Moment) -> list[Value]:
        parameter = 0.0 if number is None else number(moment)
        found = []
        for window in windows(moment):
            value = function(window, parameter)
            if value is not None:
                found.append(Value(window.labels if keeps else window.bare, value))
        return unique(found)

    return Vector(run)


def _each_number(name: str, arguments: list[Any]) -> Vector:
    function, inner = NUMBERS[name], _vector(arguments[0]).run
    numbers = [_scalar(each) for each in arguments[1:]]

    def run(moment: Moment) -> list[Value]:
        more = [each(moment) for each in numbers]
        if name == "clamp" and more[0] > more[1]:
            return []
        return unique([Value(unnamed(a), function(b, *more)) for a, b in inner(moment)])

    return Vector(run)


def _to_scalar(arguments: list[Any]) -> Scalar:
    inner = _vector(arguments[0]).run

    def run(moment: Moment) -> float:
        values = inner(moment)
        return values[0].value if len(values) == 1 else math.nan

    return Scalar(run)


def _to_vector(arguments: list[Any]) -> Vector:
    number = _scalar(arguments[0])
    return Vector(lambda moment: [Value({}, number(moment))])


def _absent(arguments: list[Any]) -> Vector:
    node, inner = _bare(arguments[0]), _vector(arguments[0]).run
    known: dict[str, str] = {}
    if isinstance(node, ast.VectorSelector):
        matchers = node.matchers.matchers
        names = [each.name for each in matchers]
        known = {
            each.name: each.value
            for each in matchers
            if str(each.op) == "MatchOp.Equal"
            and each.name != NAME
            and each.value
            and names.count(each.name) == 1
        }
    return Vector(lambda moment: [] if inner(moment) else [Value(known, 1.0)])


def _histogram_quantile(arguments: list[Any]) -> Vector:
    share, inner = _scalar(arguments[0]), _vector(arguments[1]).run
    return Vector(lambda moment: unique(bucket_quantiles(share(moment), inner(moment))))


def _label_replace(arguments: list[Any]) -> Vector:
    inner, texts = _vector(arguments[0]).run, [each.val for each in arguments[1:]]
    return Vector(lambda moment: unique(label_replaced(inner(moment), *texts)))


def _sort(descending: bool) -> Callable[[list[Any]], Vector]:
    def sort(arguments: list[Any]) -> Vector:
        inner = _vector(arguments[0]).run
        return Vector(lambda moment: ordered(inner(moment), descending))

    return sort


_CALLS: dict[str, Callable[[list[Any]], Plan]] = {
    "absent": _absent,
    "histogram_quantile": _histogram_quantile,
    "label_replace": _label_replace,
    "scalar": _to_scalar,
    "sort": _sort(False),
    "sort_desc": _sort(True),
    "time": lambda _: Scalar(lambda moment: moment.at / 1000),
    "vector": _to_vector,
}
