"""THE table of endings: what is recorded on each server, which tests check and a page documents.

A code is what the peer's close frame said, or the server's if that came first; 1005 for a close
frame without a code, 1006 where no close frame was on the wire. Where a server hides what happened,
`closed_by` is ``unknown``.
"""

from __future__ import annotations

from typing import Final, TypeVar

__all__ = ["ENDINGS", "HANDSHAKES", "STAYS_OPEN", "ending", "handshake"]

#: Close code, closed by, reason.
Ending = tuple[int, str, str]
#: The HTTP status that the client sees, 0 for none, and the reason; empty where nothing is counted,
#: since the server calls no application.
Handshake = tuple[int, str]

#: The server does not end the connection, or does not tell that it has ended.
STAYS_OPEN: Final[Ending] = (0, "", "")

T = TypeVar("T")

_HIDDEN: Final[Ending] = (1005, "unknown", "unknown")

#: Scenario -> server -> how an accepted connection ended. ``any`` is every server without an entry
#: of its own, ``uvicorn`` all its implementations; `None`: the server has no such thing.
ENDINGS: Final[dict[str, dict[str, Ending | None]]] = {
    "client closes with 1000": {"any": (1000, "client", "normal")},
    "client closes with 1001": {"any": (1001, "client", "going_away")},
    "client closes with 4321": {"any": (4321, "client", "application")},
    "client closes without a code": {"any": (1005, "client", "normal"), "granian": _HIDDEN},
    "client closes with 1002": {"any": (1002, "client", "protocol_error")},
    "client closes with 1009": {"any": (1009, "client", "too_big")},
    "client resets the connection (RST)": {
        "any": (1006, "network", "tcp_reset"),
        "granian": _HIDDEN,
    },
    "client ends the stream (FIN)": {"any": (1006, "network", "eof"), "granian": _HIDDEN},
    "client resets, the application never receives": {
        "any": (1006, "network", "tcp_reset"),
        "granian": STAYS_OPEN,
    },
    "client answers no ping of the server": {
        "any": (1006, "network", "ping_timeout"),
        # Pings, and waits for no answer.
        "hypercorn": None,
        # Has no pings.
        "granian": None,
    },
    "message above the size limit": {
        "any": (1009, "server", "too_big"),
        "daphne": (1006, "server", "too_big"),
        "granian": _HIDDEN,
    },
    "text that is no UTF-8": {
        "any": (1006, "server", "bad_data"),
        "uvicorn/websockets-sansio": (1007, "server", "bad_data"),
        "uvicorn/websockets": (1007, "server", "bad_data"),
        "granian": _HIDDEN,
    },
    "frame without a mask": {
        "any": (1006, "server", "protocol_error"),
        "uvicorn/websockets-sansio": (1002, "server", "protocol_error"),
        "uvicorn/websockets": (1002, "server", "protocol_error"),
        "granian": _HIDDEN,
    },
    "application closes with 4000": {"any": (4000, "server", "application")},
    "application closes with 1011": {"any": (1011, "server", "handler_error")},
    "application raises": {
        "any": (1011, "server", "handler_error"),
        "uvicorn": (1006, "server", "handler_error"),
        "granian": (1005, "server", "handler_error"),
    },
    "application returns without a close": {
        "uvicorn": (1006, "server", "no_close"),
        "hypercorn": (1011, "server", "no_close"),
        "daphne": STAYS_OPEN,
        "granian": (1005, "server", "no_close"),
    },
    "server ends (SIGTERM)": {
        "uvicorn": (1012, "server", "server_shutdown"),
        "hypercorn": (1011, "server", "server_shutdown"),
        "daphne": (1006, "server", "server_shutdown"),
        # Ends before, or after, its applications have learned of it.
        "granian": None,
    },
    # Where the application's accept comes too late and is taken nevertheless.
    "client resets before the answer": {"granian": _HIDDEN},
    "client ends the stream before the answer": {"granian": _HIDDEN},
}

#: Scenario -> server -> how a handshake that was not accepted ended.
HANDSHAKES: Final[dict[str, dict[str, Handshake | None]]] = {
    "application closes before it accepts": {"any": (403, "rejected")},
    "application answers 429": {
        "any": (429, "denied"),
        # Has no such extension, so that the application's answer raises.
        "daphne": (500, "error"),
    },
    "application raises before it accepts": {"any": (500, "error"), "granian": (403, "error")},
    "application returns before it accepts": {
        "any": (500, "error"),
        "daphne": (0, "error"),
        "granian": (403, "error"),
    },
    "path without a route": {"any": (403, "not_found")},
    "client resets before the answer": {"any": (0, "abandoned"), "granian": None},
    "client ends the stream before the answer": {"any": (0, "abandoned"), "granian": None},
    "handshake without a key": {"any": (400, "")},
}


def ending(scenario: str, server: str) -> Ending | None:
    """Return how a connection ends in a scenario, `None` where the server has no such thing."""
    return _of_server(ENDINGS.get(scenario, {}), server)


def handshake(scenario: str, server: str) -> Handshake | None:
    """Return how a handshake fails in a scenario, `None` where it does not."""
    return _of_server(HANDSHAKES.get(scenario, {}), server)


def _of_server(row: dict[str, T | None], server: str) -> T | None:
    """Return the entry of a server (``uvicorn/IMPLEMENTATION/LOOP``), the nearest first."""
    while server not in row and "/" in server:
        server = server.rpartition("/")[0]
    return row.get(server, row.get("any"))
