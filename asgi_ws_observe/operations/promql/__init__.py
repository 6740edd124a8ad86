"""PromQL over samples taken by ourselves, as Prometheus 2 evaluates it.

Both ends belong to a window, as they do up to Prometheus 2; Prometheus 3 leaves its start out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from .compiler import compiled
from .samples import Samples
from .values import (
    LOOKBACK,
    STEP,
    Labels,
    Moment,
    QueryError,
    Scalar,
    UnsupportedError,
    Value,
    milliseconds,
)

__all__ = ["Labels", "QueryError", "Samples", "UnsupportedError", "Value", "evaluate"]

#: Who asks, asks the same again.
_compiled: Final = lru_cache(maxsize=1024)(compiled)


def evaluate(
    query: str, samples: Samples, at: float, *, lookback: float = LOOKBACK, step: float = STEP
) -> list[Value]:
    """Return what a query says at a time; a scalar is one value without labels.

    Args:
        query: PromQL.
        samples: What it asks.
        at: The time, seconds since 1970.
        lookback: For how long a series that got no new sample keeps its last, seconds.
        step: The resolution of subqueries that name none, seconds.

    Raises:
        QueryError: It is no query, or there is no single answer.
        UnsupportedError: It has something that only a Prometheus evaluates.
    """
    plan = _compiled(query)
    times = (milliseconds(each) for each in (at, lookback, step))
    moment = Moment(samples, *times)
    if isinstance(plan, Scalar):
        return [Value({}, plan.run(moment))]
    return [Value(dict(labels), value) for labels, value in plan.run(moment)]
