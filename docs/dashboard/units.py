"""Numbers with their units, about as Grafana writes them."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["written"]

#: A unit of so much a second -> what is counted.
_PER_SECOND: Final = {"cps": "/s", "mps": " msg/s", "eps": " ev/s"}
#: Below how many seconds a time is written as what. The limits of proxies stay seconds.
_TIMES: Final = ((1e-3, 1e6, "µs"), (1, 1e3, "ms"), (301, 1, "s"), (3600, 1 / 60, "min"))


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
    ending = _PER_SECOND.get(unit, "")
    for factor, letter in ((1e6, " M"), (1e3, " K")):
        if abs(value) >= factor:
            return f"{_short(value / factor)}{letter}{ending}"
    return f"{_short(value)}{ending}"


def _time(value: float) -> str:
    if not value:
        return "0 s"
    for limit, factor, name in _TIMES:
        if abs(value) < limit:
            return f"{_short(value * factor)} {name}"
    return f"{_short(value / 3600)} h"


def _bytes(value: float) -> str:
    for name in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{_short(value)} {name}"
        value /= 1024
    return f"{_short(value)} GiB"


def _short(value: float) -> str:
    """Return a number with three digits at most."""
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text
