"""Answers to queries, compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

Answer = dict[frozenset[tuple[str, str]], float]


def answer(values: Iterable[tuple[Mapping[str, str], float]]) -> Answer:
    """Return values by their labels."""
    found = list(values)
    by_labels = {frozenset(labels.items()): value for labels, value in found}
    assert len(found) == len(by_labels)
    return by_labels


def near(expected: float, actual: float, slack: float) -> bool:
    """Return whether two numbers are one, but for what is lost in sums."""
    if math.isnan(expected) or math.isnan(actual):
        return math.isnan(expected) and math.isnan(actual)
    return math.isclose(expected, actual, rel_tol=1e-9, abs_tol=slack)


def assert_same(expected: Answer, actual: Answer, slack: float = 1e-12) -> None:
    """Assert that two answers have the same labels and values.

    Args:
        expected: What Prometheus says.
        actual: What we say.
        slack: What differences of large numbers may leave.
    """
    assert expected.keys() == actual.keys()
    assert {} == {
        key: (value, actual[key])
        for key, value in expected.items()
        if not near(value, actual[key], slack)
    }
