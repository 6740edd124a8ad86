"""What both ends of the Socket.IO chat agree on; imports nothing, as the load needs no server.

A client connects to ``/`` with ``{token, name}``, and with ``watch: true`` if it wants to know who
is there. It emits, each with an acknowledgement that is an object, with ``error`` where something
went wrong: ``join`` (``room``), ``leave``, ``say`` (``text``), ``whisper`` (``to``: a name, and
``text``), ``ping-user`` (``to``: a sid), ``statistics``, ``slow`` (``seconds``) and ``crash``,
whose handler raises and which has none. It hears ``said``, ``announced``, ``present`` and, to be
acknowledged, ``whispered`` and ``poke``.

The namespace ``/admin`` takes ``{token}``; there are ``announce`` (``text``) and ``kick``
(``sid``).
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADMIN",
    "ADMIN_TOKEN",
    "INJECTED",
    "PRESENT",
    "TOKEN",
    "WATCHERS",
    "ChatError",
    "room_of",
    "user_of",
]

#: What lets a client in, and into the namespace of the administrators.
TOKEN: Final = "demo"  # noqa: S105
ADMIN_TOKEN: Final = "admin"  # noqa: S105
ADMIN: Final = "/admin"

#: What tells pages who is there; nothing of it is counted.
PRESENT: Final = "present"
#: The room of those who want to know.
WATCHERS: Final = "watchers"
#: What carries trace context to the page.
INJECTED: Final = ("said", "whispered", "poke", "announced")


class ChatError(RuntimeError):
    """Raised by the handler of ``crash``."""


def room_of(name: str) -> str:
    """Return what Socket.IO calls a room of the chat."""
    return f"room:{name}"


def user_of(name: str) -> str:
    """Return the room of all clients of one user."""
    return f"user:{name}"
