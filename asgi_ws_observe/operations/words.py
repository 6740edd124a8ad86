"""Metrics by the words of their names, and what their samples say now."""

from __future__ import annotations

import math
import re
from typing import Final

from .pages import Family
from .promql import Value
from .promql.functions import bucket_quantiles

__all__ = ["name_of", "quantile", "total", "words_of"]

_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Words that are written apart as well.
_JOINED: Final = (("socket_io", "socketio"), ("web_socket", "websocket"), ("engine_io", "engineio"))


def name_of(family: Family) -> str:
    """Return a family's name as Prometheus has it: that of a counter with its suffix."""
    if family.type != "counter":
        return family.name
    names = [each.name for each in family.samples if not each.name.endswith("_created")]
    return names[0] if names else f"{family.name}_total"


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name, in lower case."""
    text = _HUMP.sub("_", name).lower()
    for apart, joined in _JOINED:
        text = text.replace(apart, joined)
    return tuple(word for word in re.split("[_:]+", text) if word)


def total(family: Family, suffix: str = "") -> float:
    """Return the sum of a family's samples with this suffix; what is not a number is left out."""
    name = name_of(family) + suffix
    values = [each.value for each in family.samples if each.name == name]
    return sum(value for value in values if not math.isnan(value))


def quantile(family: Family, share: float) -> float | None:
    """Return a quantile of all series of a histogram together, as Prometheus estimates it.

    Args:
        family: The histogram.
        share: Which, from 0 to 1.

    Returns:
        It, or `None` without any observation.
    """
    buckets = [
        Value({"le": each.labels["le"]}, each.value)
        for each in family.samples
        if each.name == f"{family.name}_bucket" and "le" in each.labels
    ]
    found = [value for _, value in bucket_quantiles(share, buckets) if not math.isnan(value)]
    return found[0] if found else None
