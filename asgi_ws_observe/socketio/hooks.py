"""What replaces the methods of a server and of its manager, the same for asyncio and threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .carrier import carrier_of, with_carrier
from .emits import Emitting, emitting
from .engine import count_rejection
from .events import received
from .observer import Observer
from .rooms import is_member, moved

__all__ = ["PlainHooks", "with_trace"]


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
    if not observer.active or message.get("event") not in observer.injected:
        return message
    carrier, data = carrier_of(), message["data"]
    if not carrier:
        return message
    if "binary" not in message:
        # Before 5.14 it is what `emit` was given.
        data = with_carrier(data, carrier)
    elif message["binary"]:
        data = [[*data[0], carrier], *data[1:]]
    else:
        data = [*data, carrier]
    return message | {"data": data}
