"""Numbers for the narrow columns of a live table: short, and as a line of blocks."""

from __future__ import annotations

from typing import Final

__all__ = ["amount", "sparkline"]

#: Without the full block, which would touch that of the line above.
_BLOCKS: Final = "▁▂▃▄▅▆▇"


def amount(value: float) -> str:
    """Return a number in at most five characters, such as ``0.25``, ``12.3k`` or ``4M``."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scaled = value / (limit if unit != "k" else 1e3)
            return f"{scaled:.3g}{unit}" if abs(scaled) < 1000 else f"{scaled:.0f}{unit}"
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}" if abs(value) >= 0.01 else "<.01"


def sparkline(values: list[float], width: int) -> str:
    """Return the last of these values as blocks, the highest of them as the highest.

    Args:
        values: Numbers of 0 and more, the oldest first.
        width: At most so many characters.
    """
    shown = values[-width:] if width > 0 else []
    top = max(shown, default=0.0)
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(each / top * steps) if top > 0 else 0] for each in shown)
