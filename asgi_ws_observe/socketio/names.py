"""Names that clients and applications choose -> label values that are bounded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from socketio import AsyncNamespace, Namespace

from ..hooks import OwnErrors
from ..labels import safe_text
from ..socketio_numbers import OTHER_NAME, SocketIONumbers

__all__ = ["ALL", "NO_ROOM", "SID", "Categories", "Names"]

#: The categories of what is for all clients of a namespace, for one client, and for no room.
ALL: Final = "_all"
SID: Final = "_sid"
NO_ROOM: Final = "_none"

# What Engine.IO generates: 20 characters of base64 for URLs. A client of another node can only be
# told from a room by that.
_SID_SHAPED: Final = re.compile(r"[A-Za-z0-9_-]{20}")
_PREFIXED: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,31}):.")
_PLACE: Final = re.compile(r"\\\{\w*\\\}")
# So many rooms' categories are kept: working one out takes as long as all else of a join.
_MOST_KEPT: Final = 20_000
# A name that is longer is not kept as it is: a client may choose one of a megabyte.
_LONGEST: Final = 128


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else safe_text(name, _LONGEST)


class Categories:
    """Room -> category.

    Args:
        given: `ServerSettings.room_category`.
        numbers: Bounds them.
        errors: Where a failure of the application's function goes.
    """

    def __init__(
        self,
        given: Sequence[str] | Callable[[Any], Any] | None,
        numbers: SocketIONumbers,
        errors: OwnErrors,
    ) -> None:
        self._numbers = numbers
        self._errors = errors
        self._find: Callable[[Any], Any] = _prefix
        self._given: Any = None
        if callable(given):
            self._find = self._given = given
        elif given is not None:
            self._find = _matcher(given)
        self._kept: dict[Any, str] = {}

    def of(self, room: Any) -> str:
        """Return the category of a room; a name that is no text counts as its text."""
        known = self._kept.get(room)
        if known is None:
            known = self._bounded(room)
            if not isinstance(room, (str, bytes)) or len(room) <= _LONGEST:
                if len(self._kept) >= _MOST_KEPT:
                    self._kept.clear()
                self._kept[room] = known
        return known

    def _bounded(self, room: Any) -> str:
        try:
            found = self._find(room if self._given is not None else str(room))
        except Exception as error:  # noqa: BLE001
            self._errors.report("socketio", error, self._given, "the room's category is _other")
            found = None
        return OTHER_NAME if found is None else self._numbers.category_label(_short(str(found)))


def _prefix(room: str) -> str | None:
    found = _PREFIXED.match(room)
    return None if found is None else f"{found[1]}:{{id}}"


def _matcher(templates: Sequence[str]) -> Callable[[str], str | None]:
    patterns = [
        (re.compile(_PLACE.sub("(?s:.+)", re.escape(each))), safe_text(each)) for each in templates
    ]

    def find(room: str) -> str | None:
        return next((name for pattern, name in patterns if pattern.fullmatch(room)), None)

    return find


class Names:
    """The names of one server's namespaces, events and rooms.

    What a client chose counts by its name only where the application has registered that.

    Args:
        server: The python-socketio server, asked anew every time: handlers come and go.
        numbers: Bounds what applications choose.
        categories: Bounds the rooms.
    """

    def __init__(self, server: Any, numbers: SocketIONumbers, categories: Categories) -> None:
        self._server = server
        self._numbers = numbers
        self._categories = categories

    def namespace(self, name: str) -> str:
        """Return the label of a namespace."""
        server = self._server
        if server is None or (
            name in server.handlers or name in server.namespace_handlers or self._listed(name)
        ):
            return self._numbers.namespace_label(_short(name))
        return OTHER_NAME

    def _listed(self, name: str) -> bool:
        server = self._server
        return (
            server.namespaces == "*"
            or name in server.namespaces
            or "*" in server.handlers
            or "*" in server.namespace_handlers
        )

    def is_known(self, name: str) -> bool:
        """Return whether the server takes clients that connect to this namespace."""
        server = self._server
        return (
            name in server.handlers
            or name in server.namespace_handlers
            or server.namespaces == "*"
            or name in server.namespaces
        )

    def received(self, namespace: str, event: str) -> tuple[str, bool]:
        """Return the label of an event that a client sent, and whether something handles it."""
        handlers = self._server.handlers
        if namespace in handlers and event in handlers[namespace]:
            return self._numbers.received_label(event), True
        here, everywhere = handlers.get(namespace, ()), handlers.get("*", ())
        if event in here or event in everywhere:
            return self._numbers.received_label(event), True
        if "*" in here or "*" in everywhere:
            return OTHER_NAME, True
        known = self._server.namespace_handlers
        handler = known.get(namespace) or known.get("*")
        if handler is None:
            return OTHER_NAME, False
        if hasattr(handler, "on_" + event):
            return self._numbers.received_label(event), True
        # One that dispatches by itself handles whatever it likes.
        own = type(handler).trigger_event
        return OTHER_NAME, own not in (AsyncNamespace.trigger_event, Namespace.trigger_event)

    def emitted(self, event: Any) -> str:
        """Return the label of an event that the application emits."""
        return self._numbers.emitted_label(_short(str(event)))

    def target(self, rooms: dict[Any, Any], room: Any) -> tuple[str, str]:
        """Return whom an emit is for, and the category of that.

        Args:
            rooms: The namespace's local rooms.
            room: As given to the manager: `None`, a room or a sid, or several of them.
        """
        if room is None:
            return "broadcast", ALL
        if isinstance(room, str):
            if room in rooms.get(None, ()):
                return "sid", SID
            if room not in rooms and _SID_SHAPED.fullmatch(room):
                return "sid", SID
            return "room", self._categories.of(room)
        if hasattr(room, "__len__"):
            return "rooms", self._of_several(rooms, room)
        return "room", self._categories.of(room)

    def _of_several(self, rooms: dict[Any, Any], names: Sequence[Any]) -> str:
        if not len(names):
            return NO_ROOM
        first = names[0]
        return SID if first in rooms.get(None, ()) else self._categories.of(first)

    def category(self, room: Any) -> str:
        """Return the category of a room that somebody joins or leaves."""
        return self._categories.of(room)
