"""All rows of the dashboard, from the overview down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .closes import CLOSES, LIFETIMES
from .engineio import ENGINE
from .fanout import FANOUT
from .monitoring import MONITORING
from .network import NETWORK, WITHIN
from .overview import OVERVIEW
from .panels import Panel, Row
from .red import RED
from .socketio import SOCKETIO
from .use import USE

__all__ = ["ROWS", "places"]

ROWS: Final[tuple[Row, ...]] = (
    OVERVIEW,
    RED,
    CLOSES,
    LIFETIMES,
    USE,
    NETWORK,
    WITHIN,
    FANOUT,
    SOCKETIO,
    ENGINE,
    MONITORING,
)

#: Columns of Grafana's grid.
_COLUMNS: Final = 24


def places() -> Iterator[tuple[Row | Panel, int, int]]:
    """Yield every row and panel with its column and its line."""
    line = 0
    for row in ROWS:
        yield row, 0, line
        line, column, height = line + 1, 0, 0
        for panel in row.panels:
            if column + panel.width > _COLUMNS:
                line, column, height = line + height, 0, 0
            yield panel, column, line
            column, height = column + panel.width, max(height, panel.height)
        line += height
