"""How many message spans the process makes a second."""

from __future__ import annotations

from math import inf
from typing import Final

__all__ = ["ALWAYS", "NEVER", "TokenBucket"]


class TokenBucket:
    """Lets so many through a second, and one second's worth at once after a quiet time.

    Kept as the one time from which it is open (the generic cell rate algorithm), so that the hot
    path compares two numbers.

    Args:
        rate: How many a second.

    Attributes:
        opens_at: From when on `take` may be called, of `time.perf_counter()`.
    """

    __slots__ = ("_full_at", "_step", "opens_at")

    def __init__(self, rate: float) -> None:
        self._step = 1.0 / rate
        self._full_at = self.opens_at = -inf

    def take(self, now: float) -> None:
        """Take one, at a time when it is open."""
        self._full_at = max(self._full_at, now) + self._step
        # Open again while another step fits into the second.
        self.opens_at = self._full_at + self._step - max(1.0, self._step)


class _Fixed(TokenBucket):
    """One that is always open, or never."""

    __slots__ = ()

    def __init__(self, opens_at: float) -> None:
        self.opens_at = opens_at

    def take(self, now: float) -> None:
        pass


#: For those who want every span, and for those who want only what is kept afterwards.
ALWAYS: Final = _Fixed(-inf)
NEVER: Final = _Fixed(inf)
