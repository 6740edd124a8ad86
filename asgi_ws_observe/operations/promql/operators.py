"""Binary operators, and how the series of two vectors find each other."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from .values import NAME, Labels, QueryError, Value, unique, unnamed, without

__all__ = ["ARITHMETIC", "COMPARISONS", "SETS", "Matching", "matched", "with_number"]


def _divide(a: float, b: float) -> float:
    try:
        return a / b
    except ZeroDivisionError:
        if a == 0 or math.isnan(a):
            return math.nan
        return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _modulo(a: float, b: float) -> float:
    try:
        return math.fmod(a, b)
    except ValueError:
        return math.nan


def _power(a: float, b: float) -> float:
    odd = b % 2 == 1 if math.isfinite(b) else False
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and odd else math.inf
    except ValueError:
        # A root of a negative number, or one divided by zero.
        if a:
            return math.nan
        return math.copysign(math.inf, a) if odd else math.inf


ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _modulo,
    "^": _power,
}
COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Matching:
    """How the series of two vectors find each other.

    Attributes:
        on: Whether only `labels` count, not all others.
        labels: The labels of ``on`` or ``ignoring``.
        many: The side of which several series may find the same one; ``""`` for neither.
        include: Labels that the other side gives to the result.
    """

    on: bool = False
    labels: tuple[str, ...] = ()
    many: str = ""
    include: tuple[str, ...] = ()

    def key(self, labels: Labels) -> Hashable:
        """Return what is equal for series that find each other."""
        if self.on:
            return tuple([labels.get(name, "") for name in self.labels])
        return frozenset(without(labels, (NAME, *self.labels)).items())

    def result(self, many: Labels, one: Labels) -> dict[str, str]:
        """Return the labels of a result."""
        if self.many:
            given = {name: one[name] for name in self.include if name in one}
            return {**without(many, self.include), **given}
        if self.on:
            return {name: many[name] for name in self.labels if name in many}
        return without(many, self.labels)


#: ``bool`` and no ``bool``: what is kept of a comparison.
_NUMBERS: Final = {True: 1.0, False: 0.0}


def with_number(
    values: list[Value], number: float, sign: str, *, swapped: bool, as_bool: bool
) -> list[Value]:
    """Return each value, with a number on the right; on the left where `swapped`."""
    if sign in ARITHMETIC:
        count = ARITHMETIC[sign]
        return unique(
            [
                Value(unnamed(labels), count(number, value) if swapped else count(value, number))
                for labels, value in values
            ]
        )
    compare = COMPARISONS[sign]
    holds = [compare(number, each[1]) if swapped else compare(each[1], number) for each in values]
    if not as_bool:
        return [each for each, kept in zip(values, holds, strict=True) if kept]
    pairs = zip(values, holds, strict=True)
    return unique([Value(unnamed(each.labels), _NUMBERS[kept]) for each, kept in pairs])


def matched(
    left: list[Value], right: list[Value], sign: str, matching: Matching, as_bool: bool
) -> list[Value]:
    """Return what an operator makes of the series that find each other.

    Raises:
        QueryError: A series finds several, and the query does not say that it may.
    """
    many, one = (right, left) if matching.many == "right" else (left, right)
    others: dict[Hashable, Value] = {}
    if many:
        for each in one:
            key = matching.key(each.labels)
            if key in others:
                raise QueryError(
                    f"{_shown(each.labels)} and {_shown(others[key].labels)} are on the same side "
                    f"of {sign} and match the same series; match on more labels, or aggregate"
                )
            others[key] = each
    found: list[Value] = []
    seen: set[Hashable] = set()
    for each in many if others else ():
        key = matching.key(each.labels)
        other = others.get(key)
        if other is None:
            continue
        a, b = (other, each) if matching.many == "right" else (each, other)
        value = _operated(sign, a.value, b.value, as_bool)
        if value is None:
            continue
        labels = matching.result(each.labels, other.labels)
        if sign in ARITHMETIC or as_bool:
            labels.pop(NAME, None)
        identity = frozenset(labels.items()) if matching.many else key
        if identity in seen:
            raise QueryError(
                f"several series match {_shown(other.labels)} in {sign}; "
                "say group_left or group_right, with labels that tell the results apart"
            )
        seen.add(identity)
        found.append(Value(labels, value))
    return found


def _operated(sign: str, left: float, right: float, as_bool: bool) -> float | None:
    """Return the result for two numbers, `None` where a comparison drops it."""
    if sign in ARITHMETIC:
        return ARITHMETIC[sign](left, right)
    holds = COMPARISONS[sign](left, right)
    if as_bool:
        return _NUMBERS[holds]
    return left if holds else None


def _shown(labels: Labels) -> str:
    inner = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{{{inner}}}"


def _and(left: list[Value], right: list[Value], matching: Matching) -> list[Value]:
    keys = {matching.key(each.labels) for each in right}
    return [each for each in left if matching.key(each.labels) in keys]


def _unless(left: list[Value], right: list[Value], matching: Matching) -> list[Value]:
    keys = {matching.key(each.labels) for each in right}
    return [each for each in left if matching.key(each.labels) not in keys]


#: Operators of sets of series.
SETS: Final[dict[str, Callable[[list[Value], list[Value], Matching], list[Value]]]] = {
    "and": _and,
    "unless": _unless,
    "or": lambda left, right, matching: [*left, *_unless(right, left, matching)],
}
