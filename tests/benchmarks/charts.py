"""Plots as SVG: text stays text, and its greys are readable on white and on black."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final, NamedTuple

from tests.benchmarks.results import Spread

__all__ = ["OURS", "PEER", "PLAIN", "Line", "Row", "lines", "rows"]

OURS: Final = "#2f81f7"
PEER: Final = "#d1773b"
PLAIN: Final = "#8b949e"
_TEXT: Final = "#768390"
_WIDTH: Final = 760
_LEFT: Final = 330
_RIGHT: Final = 90
_STEP: Final = 22
_TOP: Final = 52
_LEGEND: Final = ((OURS, "asgi_ws_observe"), (PEER, "others"), (PLAIN, "nothing, or nearly"))


class Row(NamedTuple):
    """One bar; without a value, a heading."""

    label: str
    value: Spread | None = None
    colour: str = PLAIN
    said: str = ""


class Line(NamedTuple):
    """One line: a value for each place."""

    label: str
    values: Sequence[float]
    colour: str = PLAIN


def rows(title: str, given: Sequence[Row], *, logarithmic: bool = False, mark: float = 0) -> str:
    """Return horizontal bars with their quartiles.

    Args:
        title: What is shown, with its unit.
        given: The bars, from top to bottom.
        logarithmic: Whether each grid line is ten times the one before.
        mark: Where a dashed line stands, in the unit of the values.
    """
    values = [row.value for row in given if row.value is not None]
    top = max(value.third for value in values) * 1.02
    low = _decade(min(value.median for value in values)) if logarithmic else 0.0
    room = _WIDTH - _LEFT - _RIGHT

    def x(value: float) -> float:
        if logarithmic:
            return _LEFT + room * math.log10(max(value, low) / low) / math.log10(top / low)
        return _LEFT + room * value / top

    bottom = _TOP + _STEP * len(given)
    parts = _head(title)
    for grid in _decades(low, top) if logarithmic else _even(top):
        parts.append(_stroke(x(grid), _TOP - 4, x(grid), bottom))
        parts.append(_text(x(grid), bottom + 14, f"{grid:,g}", anchor="middle"))
    for number, row in enumerate(given):
        y = _TOP + _STEP * number
        if row.value is None:
            parts.append(_text(8, y + 14, row.label, bold=True))
            continue
        median, first, third = row.value
        width = x(median) - _LEFT
        parts.append(_text(_LEFT - 8, y + 14, row.label, anchor="end"))
        parts.append(
            f'<rect x="{_LEFT}" y="{y + 4}" width="{width:.1f}" height="13" fill="{row.colour}"/>'
        )
        parts.append(_stroke(x(first), y + 10.5, x(third), y + 10.5, _TEXT, 2))
        parts.append(_text(max(x(third), x(median)) + 6, y + 14, row.said))
    if mark:
        parts.append(_stroke(x(mark), _TOP - 4, x(mark), bottom, _TEXT, dashes="4 3"))
    return _svg(bottom + 22, parts)


def lines(
    title: str,
    places: Sequence[str],
    given: Sequence[Line],
    *,
    logarithmic: bool = False,
    said: Callable[[float], str] = "{:,g}".format,
) -> str:
    """Return lines over places that are evenly apart.

    Args:
        title: What is shown, with its unit.
        places: What stands below.
        given: The lines.
        logarithmic: Whether each grid line is ten times the one before.
        said: Writes a value.
    """
    top = max(value for line in given for value in line.values) * 1.08
    lowest = min(value for line in given for value in line.values)
    low = _decade(lowest) if logarithmic else 0.0
    left, right, above, height = 60, 260, _TOP, 190

    def x(number: int) -> float:
        return left + (_WIDTH - left - right) * number / max(1, len(places) - 1)

    def y(value: float) -> float:
        part = math.log10(value / low) / math.log10(top / low) if logarithmic else value / top
        return above + height * (1 - part)

    parts = _head(title)
    for grid in _decades(low, top) if logarithmic else _even(top):
        parts.append(_stroke(left, y(grid), _WIDTH - right, y(grid)))
        parts.append(_text(left - 6, y(grid) + 4, f"{grid:,g}", anchor="end"))
    for number, place in enumerate(places):
        parts.append(_text(x(number), above + height + 16, place, anchor="middle"))
    ends = _apart([y(line.values[-1]) for line in given], above + height)
    for line, end in zip(given, ends, strict=True):
        points = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in enumerate(line.values))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2"/>'
        )
        for number, value in enumerate(line.values):
            parts.append(
                f'<circle cx="{x(number):.1f}" cy="{y(value):.1f}" r="3" fill="{line.colour}"/>'
            )
        label = f"{line.label}: {said(line.values[-1])}"
        parts.append(_text(_WIDTH - right + 10, end + 4, label, colour=line.colour))
    return _svg(above + height + 26, parts)


def _head(title: str) -> list[str]:
    """Return the title, and below it what the colours mean."""
    parts = [_text(8, 18, title, bold=True)]
    x = 8
    for colour, name in _LEGEND:
        parts.append(f'<rect x="{x}" y="29" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 15, 38, name))
        x += 35 + 7 * len(name)
    return parts


def _apart(places: Sequence[float], lowest: float) -> list[float]:
    """Return the places, moved up where labels would meet each other or what is below."""
    moved = dict.fromkeys(range(len(places)), 0.0)
    below = lowest + 15
    for number in sorted(moved, key=lambda each: -places[each]):
        below = moved[number] = min(places[number], below - 15)
    return list(moved.values())


def _decade(value: float) -> float:
    return float(10 ** math.floor(math.log10(value)))


def _even(top: float) -> list[float]:
    size = 10 ** math.floor(math.log10(top))
    step = next(size * part for part in (0.1, 0.2, 0.25, 0.5, 1, 2) if top / (size * part) <= 6)
    return [round(step * number, 6) for number in range(int(top / step) + 1)]


def _decades(low: float, top: float) -> list[float]:
    return [low * 10**power for power in range(int(math.log10(top / low)) + 1)]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False, colour: str = _TEXT
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(text)}</text>"
    )


def _stroke(
    x1: float, y1: float, x2: float, y2: float, colour: str = "", width: float = 1, dashes: str = ""
) -> str:
    style = f'stroke="{colour}"' if colour else f'stroke="{PLAIN}" stroke-opacity="0.3"'
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}'
        f' stroke-width="{width}"{dashed}/>'
    )


def _svg(height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}"'
        f' width="{_WIDTH}" height="{height:.0f}" font-family="system-ui, sans-serif"'
        ' font-size="12">'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"
