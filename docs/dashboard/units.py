"""Numbers with their units, about as Grafana writes them."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["written"]

#: A unit of so much a second -> what is counted.
_PER_SECOND: Final = {"cps": "/s", "mps": " msg/s", "eps": " ev/s"}


def written(value: float, unit: str) -> str:
    """Return a value as text.

    Args:
        value: The value.
        unit: Grafana's.
    """
    if not math.isfinite(value):
        return "-"
    if unit == "s":
        return _time(value)
    if unit == "percentunit":
        return f"{_short(value * 100)}%"
    if unit in ("bytes", "Bps"):
        return _bytes(value) + ("/s" if unit == "Bps" else "")
    for factor, letter in ((1e6, " M"), (1e3, " K")):
        if abs(value) >= factor:
            return f"{_short(value / factor)}{letter}{_PER_SECOND.get(unit, '')}"
    return f"{_short(value)}{_PER_SECOND.get(unit, '')}"


def _time(value: float) -> str:
    for limit, factor, name in (
        (1e-3, 1e6, "µs"),
        (1, 1e3, "ms"),
        (301, 1, "s"),
        (3600, 1 / 60, "min"),
        (math.inf, 1 / 3600, "h"),
    ):
        if abs(value) < limit:
            return f"{_short(value * factor)} {name}" if value else "0 s"
    raise AssertionError


def _bytes(value: float) -> str:
    for name in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024 or name == "GiB":
            return f"{_short(value)} {name}"
        value /= 1024
    raise AssertionError


def _short(value: float) -> str:
    return (
        f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}".rstrip("0").rstrip(
            "."
        )
        if abs(value) < 100
        else f"{value:.0f}"
    )
