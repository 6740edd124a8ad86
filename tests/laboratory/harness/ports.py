"""Ports that stay free while nobody listens: below those that the kernel gives to clients."""

from __future__ import annotations

import random
import socket
import threading

__all__ = ["stable_port"]

_handed_out: set[int] = set()
_lock = threading.Lock()


def stable_port() -> int:
    """Return a port for something that may be away for a while and come back on it."""
    with _lock:
        while True:
            port = random.randint(12_000, 31_000)
            if port not in _handed_out and _is_free(port):
                _handed_out.add(port)
                return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
