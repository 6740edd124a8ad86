"""How many connections the process may have."""

from __future__ import annotations

import resource
from typing import Final

__all__ = ["most_connections", "raise_limit"]

#: Files that a process has open beside its connections.
_OTHERS: Final = 100


def raise_limit() -> None:
    """Let the process, and those that it starts, open as many files as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections(wanted: int) -> int:
    """Return how many of the wanted connections the limit on open files permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - _OTHERS)
