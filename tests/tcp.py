"""What the tests of the kernel's view need: TCP connections by hand."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

HOSTS = ["127.0.0.1", "::1"]


def listen(opened: ExitStack, host: str = "127.0.0.1") -> socket.socket:
    """Return a listening socket, which is closed with the stack; skip where there is no IPv6."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")
    except (OSError, ValueError):
        if family == socket.AF_INET:
            raise
        pytest.skip("there is no IPv6 here")
    return opened.enter_context(sock)


def connect(
    opened: ExitStack, listener: socket.socket, host: str
) -> tuple[socket.socket, socket.socket]:
    """Return the server's and the client's socket of a new connection."""
    port = listener.getsockname()[1]
    client = opened.enter_context(socket.create_connection((host, port), timeout=10))
    listener.settimeout(10)
    server = opened.enter_context(listener.accept()[0])
    return server, client


def fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more; return how much it took."""
    sock.setblocking(False)
    taken = 0
    while True:
        try:
            taken += sock.send(bytes(65536))
        except BlockingIOError:
            return taken
