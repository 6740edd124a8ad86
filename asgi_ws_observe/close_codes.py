"""Close codes: a code -> its bounded label, its class, and the cause that it stands for.

The numbers are those of RFC 6455 section 7.4.1 and of the IANA "WebSocket Close Code Number
Registry". 3000-3999 belong to libraries and frameworks, 4000-4999 to applications; anybody may
send any of them, so only registered and declared ones become a label of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

__all__ = [
    "CLOSE_CLASSES",
    "MAX_CODE_LABELS",
    "NO_CLOSE_FRAME",
    "NO_STATUS",
    "REASONS",
    "CloseClass",
    "CloseCodes",
]

CloseClass = Literal["normal", "going_away", "abnormal", "error", "application"]

CLOSE_CLASSES: Final[tuple[CloseClass, ...]] = (
    "normal",
    "going_away",
    "abnormal",
    "error",
    "application",
)

#: A close frame that carried no code. Never on the wire (RFC 6455 section 7.1.5).
NO_STATUS: Final = 1005
#: The connection ended without a close frame. Never on the wire (RFC 6455 section 7.1.5).
NO_CLOSE_FRAME: Final = 1006

#: Code -> (class, cause). 1004 is reserved and has no meaning, so it is not here.
_REGISTERED: Final[dict[int, tuple[CloseClass, str]]] = {
    1000: ("normal", "normal"),
    1001: ("going_away", "going_away"),
    1002: ("abnormal", "protocol_error"),
    1003: ("abnormal", "bad_data"),
    1005: ("normal", "normal"),
    1006: ("abnormal", "unknown"),
    1007: ("abnormal", "bad_data"),
    1008: ("abnormal", "policy"),
    1009: ("abnormal", "too_big"),
    1010: ("abnormal", "protocol_error"),
    1011: ("error", "handler_error"),
    1012: ("going_away", "server_shutdown"),
    1013: ("going_away", "overload"),
    1014: ("error", "unknown"),
    1015: ("abnormal", "unknown"),
    3000: ("application", "application"),
    3003: ("application", "application"),
    3008: ("application", "application"),
}

#: Every value of the label ``reason`` of an accepted connection's close: a closed set.
REASONS: Final[tuple[str, ...]] = (
    "normal",
    "going_away",
    "application",
    "tcp_reset",
    "eof",
    "ping_timeout",
    "protocol_error",
    "too_big",
    "bad_data",
    "policy",
    "overload",
    "server_shutdown",
    "handler_error",
    "no_close",
    "cancelled",
    "unknown",
)

#: No more values than these for the label ``code``, whatever clients send.
MAX_CODE_LABELS: Final = 32
_COLLECTIVE: Final = ("3xxx", "4xxx", "other")


class CloseCodes:
    """Judges close codes by the registry and by what the application declared.

    Args:
        declared: Codes from 3000 to 4999 that get a label of their own.
        errors: Codes that count as errors, of any range. They make a span an error and the
            connection's outcome ``error``.

    Raises:
        ValueError: A declared code is outside 3000-4999, or there are more than
            `max_declared()` of them.
    """

    __slots__ = ("_errors", "_labels")

    def __init__(self, declared: Iterable[int] = (), errors: Iterable[int] = (1011,)) -> None:
        labels = {code: str(code) for code in _REGISTERED}
        for code in declared:
            if not 3000 <= code <= 4999:
                raise ValueError(f"{code} is not an application's close code (3000-4999)")
            labels[code] = str(code)
        if len(labels) + len(_COLLECTIVE) > MAX_CODE_LABELS:
            raise ValueError(f"at most {self.max_declared()} close codes can be declared")
        self._labels = labels
        self._errors = frozenset(errors)

    @staticmethod
    def max_declared() -> int:
        """Return how many codes beyond the registered ones can be declared."""
        return MAX_CODE_LABELS - len(_COLLECTIVE) - len(_REGISTERED)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every value that `label` can return."""
        return (*self._labels.values(), *_COLLECTIVE)

    def label(self, code: int) -> str:
        """Return the bounded label of a code: the code itself, or ``3xxx``, ``4xxx``, ``other``."""
        known = self._labels.get(code)
        if known is not None:
            return known
        if 3000 <= code <= 4999:
            return "3xxx" if code < 4000 else "4xxx"
        return "other"

    def classify(self, code: int) -> CloseClass:
        """Return the class of a code: one of `CLOSE_CLASSES`."""
        if code in self._errors:
            return "error"
        known = _REGISTERED.get(code)
        if known is not None:
            # An error by the registry that the application does not count as one.
            return "abnormal" if known[0] == "error" else known[0]
        return "application" if 3000 <= code <= 4999 else "abnormal"

    @staticmethod
    def reason(code: int) -> str:
        """Return the cause that a code alone tells: one of `REASONS`."""
        known = _REGISTERED.get(code)
        if known is not None:
            return known[1]
        return "application" if 3000 <= code <= 4999 else "unknown"
