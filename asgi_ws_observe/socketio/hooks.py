"""What replaces the methods of a server and of its manager, the same for asyncio and threads."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Final

from socketio.packet import Packet

from .carrier import carrier_of, with_carrier
from .emits import Emitting, emitting
from .engine import count_rejection
from .events import received
from .observer import Observer
from .rooms import is_member, moved

__all__ = ["PlainHooks", "with_trace"]

# Whether managers make a list of an emit's arguments; before they take them as they are given.
_LISTS: Final = [*map(int, re.findall(r"\d+", version("python-socketio")))] >= [5, 15, 1]


class PlainHooks:
    """The methods that are plain functions in both, or return what the library awaits.

    Args:
        observer: Who observes.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def handle_event(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``_handle_event``: an event has arrived."""
        observer = self._observer

        def _handle_event(eio_sid: str, namespace: Any, id: Any, data: Any) -> Any:  # noqa: A002
            if observer.active:
                try:
                    data = received(id, data)
                except Exception as error:  # noqa: BLE001
                    observer.failed(error, "an event")
            return original(eio_sid, namespace, id, data)

        return _handle_event

    def get_participants(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``get_participants``: whom an emit is for."""
        observer = self._observer

        def get_participants(namespace: str, room: Any) -> Iterable[Any]:
            sending = emitting.get()
            # Others may look as well: the first look is the manager's.
            if sending is None or sending.recipients is not None or not observer.active:
                return original(namespace, room)  # type: ignore[no-any-return]
            found = list(original(namespace, room))
            observer.safely(sending, sending.found, found)
            return iter(found)

        return get_participants

    def generate_ack_id(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``_generate_ack_id``: a callback is kept until the client acknowledges."""
        observer = self._observer

        def _generate_ack_id(sid: Any, callback: Any) -> Any:
            sending = emitting.get()
            if observer.active and isinstance(sending, Emitting):
                callback = sending.awaited(callback)
            return original(sid, callback)

        return _generate_ack_id

    def basic_enter_room(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``basic_enter_room``: a client enters a room."""
        observer = self._observer

        def basic_enter_room(sid: Any, namespace: str, room: Any, *args: Any, **kwargs: Any) -> Any:
            counts = observer.active and room is not None and room != sid
            before = counts and is_member(observer, sid, namespace, room)
            result = original(sid, namespace, room, *args, **kwargs)
            if counts and not before:
                observer.safely("a join", moved, observer, "join", sid, namespace, room)
            return result

        return basic_enter_room

    def basic_leave_room(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``basic_leave_room``: a client leaves a room."""
        observer = self._observer

        def basic_leave_room(sid: Any, namespace: str, room: Any) -> Any:
            before = observer.active and is_member(observer, sid, namespace, room)
            result = original(sid, namespace, room)
            if before:
                observer.safely("a leave", moved, observer, "leave", sid, namespace, room)
            return result

        return basic_leave_room

    def log_error_once(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``_log_error_once`` of Engine.IO: a request that was not accepted."""
        observer = self._observer

        def _log_error_once(message: str, message_key: str) -> Any:
            if observer.active:
                observer.safely("a rejection", count_rejection, observer, message_key)
            return original(message, message_key)

        return _log_error_once


def with_trace(observer: Observer, message: Any) -> Any:
    """Return what a manager sends to its own clients, with the carrier for those that want it."""
    if not observer.injected or not observer.active:
        return message
    try:
        return _with_trace(observer, message)
    except Exception as error:  # noqa: BLE001
        observer.failed(error, "a carrier for clients")
        return message


def _with_trace(observer: Observer, message: dict[str, Any]) -> dict[str, Any]:
    carrier = carrier_of() if message.get("event") in observer.injected else None
    if not carrier:
        return message
    data, more = message["data"], {}
    if not _LISTS:
        if message.get("binary"):
            data, more = _put_together(data), {"binary": False}
        data = with_carrier(data, carrier)
    elif message.get("binary"):
        data = [_appended(data[0], carrier), *data[1:]]
    else:
        data = _appended(data, carrier)
    return message | {"data": data} | more


def _appended(data: Any, carrier: dict[str, str]) -> list[Any]:
    # A node of an earlier version publishes what `emit` was given.
    return [*data, carrier] if isinstance(data, list) else list(with_carrier(data, carrier))


def _put_together(data: list[Any]) -> Any:
    """Return the arguments that a manager has taken apart, with their bytes in place again."""
    return Packet.reconstruct_binary(data[0], [b64decode(each) for each in data[1:]])
