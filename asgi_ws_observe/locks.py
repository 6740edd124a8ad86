"""Locks that a forked process can still take."""

from __future__ import annotations

import os
import threading

__all__ = ["fork_safe_lock"]


def fork_safe_lock() -> threading.Lock:
    """Return a lock that no other thread holds when the process forks.

    A thread that has it does not exist in the child, which would wait for it forever. It is for
    locks that are held briefly and live as long as the process.
    """
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock
