"""Replaces methods of single objects, never of classes, and puts back what was there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["Patches"]

_ABSENT: Final[Any] = object()


class Patches:
    """What was replaced where.

    python-socketio looks its own methods up on the object whenever it calls them, so an attribute
    of the object is all that it takes, and other servers of the process keep theirs.
    """

    def __init__(self) -> None:
        self._made: list[tuple[Any, str, Any, Any]] = []

    def put(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace a method, if the object has it.

        Args:
            owner: The object.
            name: The method's name.
            make: Gets what is there and returns what replaces it.
        """
        original = getattr(owner, name, None)
        if original is not None:
            replacement = make(original)
            of_class = getattr(original, "__func__", original) is getattr(type(owner), name, None)
            before = _ABSENT if of_class else original
            setattr(owner, name, replacement)
            self._made.append((owner, name, replacement, before))

    def undo(self) -> None:
        """Put everything back; where somebody else has replaced ours, theirs stays."""
        while self._made:
            owner, name, replacement, before = self._made.pop()
            if getattr(owner, name, None) is not replacement:
                continue
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
