"""A histogram in plain numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Final

from .locks import fork_safe_lock

__all__ = ["MOST_PENDING", "Buckets", "Exemplar"]

#: So many values of a histogram are counted together.
MOST_PENDING: Final = 256

#: A span context, the observed value, and the wall time in seconds since the epoch.
Exemplar = tuple[Any, float, float]

# Held for microseconds, by whoever counts what is pending.
_counting: Final = fork_safe_lock()


class Buckets:
    """A histogram in plain numbers.

    Keeping a value is cheaper than finding its bucket, and many are counted together for little
    more than one; so values wait in `pending` until there are `MOST_PENDING`, or somebody reads.

    Attributes:
        bounds: Upper bounds, ascending, without infinity.
        pending: Observations that are not counted yet. The hot path appends to it, always the same
            list, and calls `settle` when it is long.
        exemplars: The last exemplar of each bucket.
    """

    __slots__ = ("_counts", "_sum", "bounds", "exemplars", "pending")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.pending: list[float] = []
        self.exemplars: dict[int, Exemplar] = {}
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Take one observation."""
        self.pending.append(value)
        if len(self.pending) >= MOST_PENDING:
            self.settle()

    def settle(self) -> None:
        """Count what is pending, unless another thread is doing that just now."""
        if _counting.acquire(blocking=False):
            try:
                self._settle()
            finally:
                _counting.release()

    def read(self) -> tuple[list[int], float]:
        """Return the counts and the sum of the same observations.

        Returns:
            Observations per bucket, not cumulative, the last one above every bound; and the sum of
            all observations.
        """
        with _counting:
            self._settle()
            return self._counts.copy(), self._sum

    @property
    def counts(self) -> list[int]:
        """Observations per bucket, not cumulative; the last one is above every bound."""
        return self.read()[0]

    @property
    def sum(self) -> float:
        """Sum of all observations."""
        return self.read()[1]

    def _settle(self) -> None:
        # What is appended meanwhile stays behind.
        values = self.pending[:]
        del self.pending[: len(values)]
        if not values:
            return
        total = sum(values)
        self._sum += total
        bounds, counts = self.bounds, self._counts
        # None is negative: where their sum is within the first bound, all are.
        if total <= bounds[0]:
            counts[0] += len(values)
            return
        values.sort()
        first, last = bisect_left(bounds, values[0]), bisect_left(bounds, values[-1])
        counted = 0
        for place in range(first, last):
            below = bisect_right(values, bounds[place], counted)
            counts[place] += below - counted
            counted = below
        counts[last] += len(values) - counted
