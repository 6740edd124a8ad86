"""What a server's live tables say when somebody asks: numbers that cannot drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..socketio_numbers import SocketIOLook

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["looker"]

# Somebody who reads from another thread may find a table just being changed.
_TRIES = 5


def looker(
    observer: Observer, is_listening: Callable[[], bool | None]
) -> Callable[[SocketIOLook], None]:
    """Return what adds a server's tables to a look.

    Args:
        observer: Whose server.
        is_listening: Says whether its manager listens to the bus, `None` where it has none.
    """

    def look(found: SocketIOLook) -> None:
        for _ in range(_TRIES):
            mine = SocketIOLook()
            try:
                _look(observer, mine)
            except RuntimeError:
                continue
            except Exception as error:  # noqa: BLE001
                observer.failed(error, "the tables of a server")
                return
            with suppress(Exception):
                up = is_listening()
                if up is not None:
                    mine.listeners.append(up)
            _add(found, mine)
            return

    return look


def _look(observer: Observer, look: SocketIOLook) -> None:
    manager = observer.manager
    transports = _look_at_sessions(look, observer.server.eio.sockets)
    for namespace, rooms in list(manager.rooms.items()):
        label = observer.names.namespace(namespace)
        clients = rooms.get(None, {})
        _look_at_clients(look, label, clients, transports)
        _look_at_rooms(observer, look, label, rooms, clients)
    # The first entry of each client counts its acknowledgements.
    look.acks_pending = sum(max(0, len(each) - 1) for each in list(manager.callbacks.values()))
    _forget(observer)


def _look_at_sessions(look: SocketIOLook, sockets: Mapping[str, Any]) -> dict[str, str]:
    """Return the transport of each that is open.

    Each is asked everything at once: of thousands, none is in the processor's caches.
    """
    transports = {}
    total = longest = 0
    for socket in list(sockets.values()):
        depth = socket.queue.qsize()
        if depth:
            total += depth
            longest = max(longest, depth)
        if not socket.closed:
            transports[socket.sid] = "websocket" if socket.upgraded else "polling"
    look.queue, look.queue_max = total, longest
    return transports


def _look_at_clients(
    look: SocketIOLook, label: str, clients: Mapping[str, str], transports: Mapping[str, str]
) -> None:
    found = Counter(map(transports.get, list(clients.values())))
    for transport in ("polling", "websocket"):
        key = (label, transport)
        look.connections[key] = look.connections.get(key, 0) + found[transport]
    look.orphans[label] = look.orphans.get(label, 0) + found[None]


def _look_at_rooms(
    observer: Observer,
    look: SocketIOLook,
    label: str,
    rooms: Mapping[Any, Any],
    clients: Mapping[str, str],
) -> None:
    # Most rooms are those of single clients.
    for room in set(rooms).difference(clients, (None,)):
        members = rooms.get(room)
        if members is None:
            continue
        key, size = (label, observer.names.category(room)), len(members)
        look.rooms[key] = look.rooms.get(key, 0) + 1
        look.members[key] = look.members.get(key, 0) + size
        look.largest[key] = max(look.largest.get(key, 0), size)


def _forget(observer: Observer) -> None:
    """Forget clients that are in no table any more: their end was told to nobody."""
    kept = observer.connections
    here = [rooms.get(None, {}) for rooms in list(observer.manager.rooms.values())]
    if len(kept) > sum(map(len, here)):
        for sid in [sid for sid in list(kept) if not any(sid in each for each in here)]:
            kept.pop(sid, None)


def _add(found: SocketIOLook, mine: SocketIOLook) -> None:
    for name in ("connections", "orphans", "rooms", "members"):
        total, more = getattr(found, name), getattr(mine, name)
        for key, number in more.items():
            total[key] = total.get(key, 0) + number
    for key, size in mine.largest.items():
        found.largest[key] = max(found.largest.get(key, 0), size)
    found.acks_pending += mine.acks_pending
    found.queue += mine.queue
    found.queue_max = max(found.queue_max, mine.queue_max)
    found.listeners += mine.listeners
