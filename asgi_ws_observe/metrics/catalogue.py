"""THE table of metrics: what the collector exposes, the reference documents and the tests check."""

from __future__ import annotations

from typing import Final

from . import (
    of_connections,
    of_engineio,
    of_errors,
    of_fanout,
    of_network,
    of_process,
    of_socketio,
)
from .instruments import LABELS, Instrument, Label, Point

__all__ = ["CATALOGUE", "LABELS", "Instrument", "Label", "Point"]

CATALOGUE: Final[tuple[Instrument, ...]] = (
    *of_connections.INSTRUMENTS,
    *of_network.INSTRUMENTS,
    *of_errors.INSTRUMENTS,
    *of_fanout.INSTRUMENTS,
    *of_socketio.INSTRUMENTS,
    *of_engineio.INSTRUMENTS,
    *of_process.INSTRUMENTS,
)
