"""Numbers as people read them."""

from __future__ import annotations

import math

from .signal import Unit

__all__ = ["quantity"]

_STEPS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"), (0.000001, "µs"))


def quantity(value: float, unit: Unit = "count") -> str:
    """Return a number with its unit, in three digits or so."""
    if not math.isfinite(value):
        return str(value)
    if unit == "seconds":
        size, name = next((s for s in _STEPS if abs(value) >= s[0]), (1, "s"))
        return f"{_digits(value / size)} {name}"
    if unit == "bytes":
        power = min(int(math.log2(max(abs(value), 1)) // 10), 4)
        return f"{_digits(value / 1024**power)} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
    if unit == "ratio":
        return f"{_digits(value * 100)} %"
    return _digits(value)


def _digits(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
