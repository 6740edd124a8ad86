"""A picture of the dashboard, from what a Prometheus answers: no Grafana is needed for it.

It reads the dashboard's JSON, so it shows the panels that Grafana shows, where it shows them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from asgi_ws_observe.operations.dashboard import dashboard_text

from .answers import Prometheus
from .drawing import KINDS
from .drawing_style import BACKGROUND, DIM, EDGE, PANEL, TEXT, Frame, colour_of

__all__ = ["README_ROWS", "draw"]

#: Rows that the picture of the README has.
README_ROWS: Final = (100, 200, 300, 400, 600)

#: Pixels: of the picture, of one column and one line of the grid, around and between panels.
WIDTH: Final = 1280
LINE: Final = 27
MARGIN: Final = 14
GAP: Final = 8
HEAD: Final = 58
#: Pixels of an inch, in the layout and in the file.
_DPI: Final = 100
_SHARP: Final = 130


def draw(url: str, file: Path, *, minutes: float = 15, rows: Collection[int] = README_ROWS) -> None:
    """Draw the last minutes.

    Args:
        url: A Prometheus's.
        file: Where the PNG goes.
        minutes: How many.
        rows: Ids of the rows to draw.

    Raises:
        ValueError: Nothing answers there.
    """
    rcParams["font.family"] = ["Liberation Sans", "DejaVu Sans"]
    end = time.time()
    with closing(Prometheus(url, end - 60 * minutes, end)) as prometheus:
        figure = _figure(prometheus, rows)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=_SHARP, facecolor=BACKGROUND)
    # A third of the size, and nobody sees a difference.
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file)


def _figure(prometheus: Prometheus, rows: Collection[int]) -> Figure:
    dashboard = json.loads(dashboard_text())
    chosen, lines = _chosen(dashboard["panels"], rows)
    height = HEAD + lines * LINE + MARGIN
    figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    _head(figure, dashboard, prometheus, height)
    marks = tuple(_marks(dashboard["annotations"]["list"], prometheus))
    for panel, line in chosen:
        place = panel["gridPos"]
        column = (WIDTH - 2 * MARGIN + GAP) / 24
        frame = Frame(
            figure,
            MARGIN + place["x"] * column,
            height - HEAD - (line + place["h"]) * LINE,
            place["w"] * column - GAP,
            place["h"] * LINE - GAP,
            marks,
        )
        if panel["type"] == "row":
            frame.write(4, 1, f"⌄  {panel['title']}", size=14, weight="bold")
        else:
            _box(frame)
            frame.write(10, frame.height - 20, panel["title"], size=11.5)
            KINDS[panel["type"]](frame, panel, prometheus)
    return figure


def _chosen(
    panels: list[dict[str, Any]], rows: Collection[int]
) -> tuple[list[tuple[dict[str, Any], int]], int]:
    """Return the panels of these rows with their lines, without the gaps of the others."""
    found, lines, shift, wanted = [], 0, 0, False
    for panel in panels:
        place = panel["gridPos"]
        if panel["type"] == "row":
            wanted = panel["id"] in rows
            shift = place["y"] - lines
        if wanted:
            found.append((panel, place["y"] - shift))
            lines = max(lines, place["y"] - shift + place["h"])
    return found, lines


def _marks(
    annotations: list[dict[str, Any]], prometheus: Prometheus
) -> Iterator[tuple[float, str]]:
    """Yield when each annotation begins, and its colour."""
    for annotation in annotations:
        for series in prometheus.over_time(annotation["target"]):
            before = -math.inf
            for at in series.times:
                if at > before + 1.5 * prometheus.step:
                    yield at, colour_of(annotation["iconColor"])
                before = at


def _head(figure: Figure, dashboard: dict[str, Any], prometheus: Prometheus, height: float) -> None:
    frame = Frame(figure, 0, height - HEAD, WIDTH, HEAD)
    frame.write(MARGIN + 4, 22, dashboard["title"], size=17, weight="bold")
    chosen = "Job  All      Instance  All      Route  All"
    frame.write(230, 24, chosen, size=11, colour=DIM)
    begin, end = (
        datetime.fromtimestamp(each).strftime("%H:%M:%S")
        for each in (prometheus.start, prometheus.end)
    )
    frame.write(WIDTH - MARGIN - 4, 24, f"{begin} to {end}", size=11, colour=TEXT, align="right")


def _box(frame: Frame) -> None:
    width, height = frame.figure.get_size_inches() * _DPI
    frame.figure.patches.append(
        FancyBboxPatch(
            (frame.left / width, frame.bottom / height),
            frame.width / width,
            frame.height / height,
            boxstyle="square,pad=0",
            transform=frame.figure.transFigure,
            facecolor=PANEL,
            edgecolor=EDGE,
            linewidth=1,
            # Below the axes.
            zorder=-1,
        )
    )
