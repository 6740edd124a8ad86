"""Metrics by the words of their names, and what their samples say now."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from .pages import Family

__all__ = ["buckets", "name_of", "quantile", "total", "words_of"]

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


def buckets(families: Iterable[Family]) -> dict[float, float]:
    """Return the cumulative counts of histograms by upper bound, all label sets together."""
    found: dict[float, float] = {}
    for family in families:
        for each in family.samples:
            if each.name == f"{family.name}_bucket" and "le" in each.labels:
                bound = float(each.labels["le"])
                found[bound] = found.get(bound, 0.0) + each.value
    return dict(sorted(found.items()))


def quantile(share: float, counts: dict[float, float]) -> float | None:
    """Return a quantile of a histogram as Prometheus estimates it.

    Args:
        share: Which, from 0 to 1.
        counts: The cumulative counts by upper bound, in rising order, with that of infinity.

    Returns:
        It, the highest finite bound where it is above that, or `None` without any observation.
    """
    bounds = list(counts)
    if len(bounds) < 2 or bounds[-1] != math.inf or not counts[math.inf] > 0:
        return None
    rank = share * counts[math.inf]
    lower, below = (0.0, 0.0) if bounds[0] > 0 else (bounds[0], 0.0)
    for bound in bounds[:-1]:
        if counts[bound] >= rank:
            inside = counts[bound] - below
            return lower + (bound - lower) * (rank - below) / inside if inside else bound
        lower, below = bound, counts[bound]
    return bounds[-2]
