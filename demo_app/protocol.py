"""What both ends of the chat agree on; imports nothing, so that the load needs no web framework.

A message is a JSON object in one text frame, with its kind in ``type``.

From the client: ``join`` (``name``), which must come first, then ``chat`` (``text``), ``typing``,
``slow`` (``seconds``: how long the handler takes), ``crash`` (the handler raises) and ``kick-me``
(the server closes). From the server: ``welcome``, ``join``, ``leave``, ``members`` (who is there,
when another node appeared or vanished), ``chat``, ``typing``, ``notice``; what goes to all has the
name of the speaker's node in ``node``.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CLOSE_CODES",
    "DEFAULT_SLOW",
    "MAX_NAME",
    "MAX_SLOW",
    "MAX_TEXT",
    "PRIVATE_ROOM",
    "ROOMS",
    "CrashRequestedError",
]

#: The application's close codes and the text that goes with them.
CLOSE_CODES: Final = {
    4000: "the first message must be a join with a name",
    4001: "you asked to be kicked",
    4002: "somebody in this room has that name",
    4008: "too slow",  # The hub's own words.
    4100: "bored",  # The load's clients say so.
}

#: The rooms that the page offers.
ROOMS: Final = ("lobby", "tea-kitchen", "night-shift")
#: The room whose handshake is refused.
PRIVATE_ROOM: Final = "private"

#: Characters of a name, and of a room's.
MAX_NAME: Final = 24
#: Characters of a chat message.
MAX_TEXT: Final = 2000
#: Seconds that a slow handler takes, unless the message says otherwise, and at most.
DEFAULT_SLOW: Final = 0.8
MAX_SLOW: Final = 5.0


class CrashRequestedError(RuntimeError):
    """Raised by the handler of ``crash``."""
