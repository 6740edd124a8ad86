"""Work of a thread that leaves the event loop its turns."""

from __future__ import annotations

import time
from typing import Final

__all__ = ["Pace"]

#: A thread lets others go on after so long, seconds: one that waits for its turn would get it only
#: after Python's switch interval, which is ten times as long.
SLICE: Final = 0.0005
PAUSE: Final = 0.00005


class Pace:
    """Rests now and then; made when the work begins."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def rest(self) -> None:
        """Let other threads go on, if it is time."""
        if time.perf_counter() - self._began > SLICE:
            time.sleep(PAUSE)
            self._began = time.perf_counter()
