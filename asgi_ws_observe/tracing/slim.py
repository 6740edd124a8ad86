"""Less memory for spans that are open for hours."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.trace import Span

__all__ = ["slim"]


def slim(span: Span) -> None:
    """Let a span of the SDK have its lists of events and links only when they are needed.

    The SDK gives each span two empty ones, which is more than half of what it holds: 1.5 kB, for as
    long as the connection is open. Where its private names have changed, nothing is done.
    """
    kind: Any = getattr(sys.modules.get("opentelemetry.sdk.util"), "BoundedList", type(None))
    for name in ("_events", "_links"):
        kept = getattr(span, name, None)
        if kept is not None and type(kept) is kind and _is_bare(kept):
            setattr(span, name, _late(kind)(kept))


def _is_bare(kept: Any) -> bool:
    """Return whether a list is made as it is known here, and empty."""
    return vars(kept).keys() == {"dropped", "_dq", "_lock"} and not kept._dq and not kept.dropped


def _make(kind: Any) -> Any:
    """Return a class of the SDK's lists that makes its items' container when that is asked for."""

    class Late(kind):  # type: ignore[misc]
        def __init__(self, kept: Any) -> None:
            self.dropped = 0
            self._lock = kept._lock
            self._most = kept._dq.maxlen

        def __getattr__(self, name: str) -> Any:
            if name != "_dq":
                raise AttributeError(name)
            # Of two threads that ask at once both get the same.
            return self.__dict__.setdefault("_dq", deque(maxlen=self._most))

    return Late


_late: Final[Callable[[Any], Any]] = functools.lru_cache(maxsize=1)(_make)
