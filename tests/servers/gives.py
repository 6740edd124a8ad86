"""What each server gives besides the ends of connections: tests check it, a page documents it."""

from __future__ import annotations

from typing import Final

__all__ = ["GIVES", "gives"]

#: What is given -> the servers that do not give it.
GIVES: Final[dict[str, tuple[str, ...]]] = {
    "round trip of the server's own pings": ("granian",),
    "round trip of pings of ours": ("granian",),
    "write buffer": (),
    "receive queue": ("granian",),
    "bytes on the wire": (),
    "the kernel's round trip": (),
    "compression": ("granian",),
    "abort()": ("granian",),
}


def gives(what: str, server: str) -> bool:
    """Return whether a server gives something."""
    return server.partition("/")[0] not in GIVES[what]
