"""Colours, and a rectangle to draw in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["BACKGROUND", "DIM", "EDGE", "GRID", "PALETTE", "PANEL", "TEXT", "Frame", "colour_of"]
__all__ += ["step_colour"]

BACKGROUND: Final = "#111217"
PANEL: Final = "#181b1f"
EDGE: Final = "#26282d"
GRID: Final = "#2c2f35"
TEXT: Final = "#ccccdc"
DIM: Final = "#8e8e9c"
#: Colours of series, in turn.
PALETTE: Final = (
    *("#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#f2495c", "#b877d9"),
    *("#8ab8ff", "#37a2a2", "#ffa6b0", "#96d98d", "#ca95e5", "#c0d8ff"),
)
_NAMED: Final = {
    "green": "#73bf69",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "yellow": "#fade2a",
    "purple": "#b877d9",
    "dark-red": "#c4162a",
    "gray": "#8e8e9c",
}


def colour_of(name: str) -> str:
    """Return Grafana's colour of a name."""
    return _NAMED[name]


def step_colour(steps: list[dict[str, Any]], value: float) -> str:
    """Return the colour that thresholds give a value."""
    found = steps[0]["color"]
    for step in steps[1:]:
        if value >= step["value"]:
            found = step["color"]
    return colour_of(found)


@dataclass(frozen=True, slots=True)
class Frame:
    """A panel's rectangle, in pixels from the lower left corner of the figure.

    Attributes:
        marks: Moments that are marked, and their colours.
    """

    figure: Figure
    left: float
    bottom: float
    width: float
    height: float
    marks: tuple[tuple[float, str], ...] = ()

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 10,
        colour: str = TEXT,
        weight: str = "normal",
        align: Literal["left", "center", "right"] = "left",
    ) -> None:
        """Write a line; `x` and `y` are pixels from the frame's lower left corner."""
        wide, high = self.figure.get_size_inches() * self.figure.dpi
        # A dollar would begin a formula.
        self.figure.text(
            (self.left + x) / wide,
            (self.bottom + y) / high,
            text.replace("$", r"\$"),
            size=size * 72 / self.figure.dpi,
            color=colour,
            weight=weight,
            ha=align,
            va="bottom",
            zorder=5,
        )

    def axes(self, left: float, bottom: float, right: float, top: float) -> Axes:
        """Return axes with these distances from the frame's edges."""
        wide, high = self.figure.get_size_inches() * self.figure.dpi
        axes = self.figure.add_axes(
            (
                (self.left + left) / wide,
                (self.bottom + bottom) / high,
                (self.width - left - right) / wide,
                (self.height - bottom - top) / high,
            ),
            facecolor="none",
        )
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, labelsize=9.5 * 72 / self.figure.dpi, labelcolor=DIM, pad=3)
        return axes
