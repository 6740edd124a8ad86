"""What Engine.IO tells below Socket.IO: pings, upgrades, queues, refused requests, true ends."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from engineio import packet
from engineio.async_socket import AsyncSocket
from engineio.base_socket import BaseSocket

from ..close_codes import NO_CLOSE_FRAME
from ..connection import Connection
from ..current import current_connection
from ..labels import UNMATCHED, route_template
from ..middleware import SCOPE_KEY
from ..states import Verdict, judge_disconnect

if TYPE_CHECKING:
    from .observer import Observer

__all__ = [
    "adopt",
    "connection_id_of",
    "count_rejection",
    "eio_sid_of",
    "reason_of",
    "release",
]

#: The label ``route`` of Engine.IO's WebSockets where the router knows none.
ENGINEIO_ROUTE: Final = "/socket.io/"
# python-socketio's words, as its disconnect handlers get them, -> ours.
_WORDS: Final = {
    "client disconnect": "client_disconnect",
    "server disconnect": "server_disconnect",
    "ping timeout": "ping_timeout",
    "transport close": "transport_close",
    "transport error": "transport_error",
}
# What the library calls "transport close" whatever happened, by the reason of the WebSocket's end
# (`asgi_ws_observe.close_codes.REASONS`).
_BY_END: Final = {
    "ping_timeout": "ping_timeout",
    "server_shutdown": "server_shutdown",
    "tcp_reset": "transport_lost",
    "eof": "transport_lost",
    "protocol_error": "transport_error",
    "too_big": "transport_error",
    "bad_data": "transport_error",
}
# A ping that is as old as this share of the timeout had its time: the library measures from the
# last thing that it received, which may be a moment before.
_SPENT: Final = 0.9


def _observed(observer: Observer, kind: Any) -> Any:
    """Return a class of sockets that tells an observer what happens.

    What is on its instances, and every coroutine of its own that waits, is memory of each
    connection. So its methods are plain where the library awaits what they return, and what is
    true of few sessions at a time is kept beside them.
    """
    numbers, pings, upgrading = observer.numbers, observer.pings, observer.upgrading

    class ObservedSocket(kind):  # type: ignore[misc]
        """An Engine.IO session: pings, upgrades and what closed it.

        Its methods wait long, and may go on when `release` has given the session its class back.
        """

        is_observed = True
        # How its WebSocket ended, where no middleware has a record of it.
        verdict: Verdict | None = None
        record: Connection | None = None

        def receive(self, pkt: Any) -> Any:
            if pkt.packet_type == packet.PONG and (left := pings.pop(self.sid, None)) is not None:
                transport = "websocket" if self.upgraded else "polling"
                numbers.ping_rtt[transport].observe(perf_counter() - left)
            return kind.receive(self, pkt)

        async def poll(self) -> Any:
            packets = await kind.poll(self)
            if not observer.active:
                return packets
            if upgrading and self.upgraded and self.sid in upgrading:
                upgrading.discard(self.sid)
                numbers.upgrades["ok"] += 1
            if self.last_ping and self.sid not in pings:
                _look_for_ping(observer, self, packets)
            return packets

        def close(self, *args: Any, **kwargs: Any) -> Any:
            pings.pop(self.sid, None)
            return kind.close(self, *args, **kwargs)

        def _upgrade_websocket(self, environ: Any) -> Any:
            _listen(observer, self, environ)
            if not self.connected:
                return kind._upgrade_websocket(self, environ)
            return self._try_upgrade(environ)

        async def _try_upgrade(self, environ: Any) -> Any:
            upgrading.add(self.sid)
            try:
                return await kind._upgrade_websocket(self, environ)
            finally:
                if self.sid in upgrading:
                    upgrading.discard(self.sid)
                    numbers.upgrades["failed"] += observer.active

        def _websocket_handler(self, ws: Any) -> Any:
            if self.record is not None:
                self.record.carries_packets()
            return kind._websocket_handler(self, ws)

    return ObservedSocket


def _look_for_ping(observer: Observer, socket: Any, packets: Any) -> None:
    """Have a ping tell when it leaves: after the others, which a slow client may have wait."""
    for each in packets:
        if each.packet_type == packet.PING:
            each.encode = functools.partial(_leave, observer, socket, each.encode)


def _leave(
    observer: Observer, socket: Any, encode: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Encode a ping, which is done when its turn has come, and take note of that."""
    if socket.last_ping and not socket.closed and socket.sid not in observer.pings:
        observer.pings[socket.sid] = perf_counter()
        transport = "websocket" if socket.upgraded else "polling"
        # The library's own note of when it put the ping into the queue is by that clock.
        delay = max(0.0, time.time() - socket.last_ping)
        observer.numbers.ping_delay[transport].observe(delay)
    return encode(*args, **kwargs)


def _listen(observer: Observer, socket: Any, environ: Any) -> None:
    """Take note of the close code of a session's WebSocket, which the library drops."""
    try:
        _find_record(socket, environ)
    except Exception as error:  # noqa: BLE001
        observer.failed(error, "the WebSocket of an Engine.IO session")


def _find_record(socket: Any, environ: Any) -> None:
    scope, receive = environ.get("asgi.scope"), environ.get("asgi.receive")
    if scope is None or receive is None:
        return
    record = scope.get(SCOPE_KEY)
    if isinstance(record, Connection):
        socket.record = record
        _name_route(record)
        return

    environ["asgi.receive"] = _Listening(socket, receive)


class _Listening:
    """A session's ``receive()``, which sees the close code; each connection keeps one.

    Args:
        socket: The session.
        receive: What the server gave.
    """

    __slots__ = ("_receive", "_socket")

    def __init__(self, socket: Any, receive: Callable[[], Awaitable[Any]]) -> None:
        self._socket = socket
        self._receive = receive

    async def __call__(self) -> Any:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._socket.verdict = judge_disconnect(message)
        return message


def _name_route(record: Connection) -> None:
    template = route_template(record.scope)
    if template == UNMATCHED or template.startswith("/{"):
        record.name_route(ENGINEIO_ROUTE)


def adopt(observer: Observer, eio_sid: str) -> None:
    """Observe an Engine.IO session from now on, if it is one of an `AsyncServer`."""
    socket = observer.server.eio.sockets.get(eio_sid)
    if isinstance(socket, AsyncSocket) and not hasattr(type(socket), "is_observed"):
        kind: Any = type(socket)
        classes = observer.socket_classes
        socket.__class__ = classes.get(kind) or classes.setdefault(kind, _observed(observer, kind))
        # Python reads the attributes of an object that changed its class slowly until its
        # dictionary, which it shared in part with others of the class before, is its own.
        socket.__dict__ = {**vars(socket)}


def release(server: Any) -> None:
    """Give all sessions of a server their own class again."""
    for socket in list(server.eio.sockets.values()):
        kind = type(socket)
        if hasattr(kind, "is_observed"):
            socket.__class__ = kind.__mro__[1]


def count_rejection(observer: Observer, key: str) -> None:
    """Count a request that Engine.IO did not accept."""
    rejections = observer.numbers.rejections
    rejections[key if key in rejections else "other"] += 1
    record = current_connection()
    if record.id:
        # A WebSocket that is about to be refused.
        _name_route(record)


def reason_of(observer: Observer, eio_sid: str | None, told: Any) -> tuple[str, int | None]:
    """Return why a client leaves, and its WebSocket's close code, `None` where there is none.

    Args:
        observer: Whose client it is.
        eio_sid: Its session.
        told: python-socketio's own reason; `None` before 5.12, which has none.
    """
    reason = _WORDS.get(told, "unknown")
    socket = _session_of(observer, eio_sid)
    code, closed_by, cause = _end_of(socket)
    if reason not in ("transport_close", "transport_error", "unknown"):
        return reason, code
    if cause in _BY_END:
        return _BY_END[cause], code
    if closed_by != "client" and _is_silent(observer, socket):
        return "ping_timeout", code
    if code == NO_CLOSE_FRAME:
        return "transport_lost", code
    if reason == "unknown" and code is not None:
        reason = "transport_close"
    return reason, code


def _end_of(socket: Any) -> tuple[int | None, str, str]:
    """Return how a session's WebSocket has ended: code, by whom, why; `None` where it has not."""
    record: Connection | None = getattr(socket, "record", None)
    if record is not None and record.close_code is not None:
        return record.close_code, record.closed_by, record.reason
    verdict: Verdict | None = getattr(socket, "verdict", None)
    if verdict is not None:
        return verdict.code, verdict.closed_by, verdict.reason
    return None, "", ""


def eio_sid_of(server: Any, sid: str | None) -> str | None:
    """Return a client's Engine.IO session; no two namespaces have a client of the same name."""
    for rooms in list(server.manager.rooms.values()):
        eio_sid: str | None = rooms.get(None, {}).get(sid)
        if eio_sid is not None:
            return eio_sid
    return None


def connection_id_of(observer: Observer, eio_sid: str | None) -> str | None:
    """Return the id of the WebSocket's record, `None` where the middleware has none."""
    record = getattr(_session_of(observer, eio_sid), "record", None)
    return None if record is None else record.id


def _session_of(observer: Observer, eio_sid: str | None) -> BaseSocket | None:
    """Return an Engine.IO session; a mock has everything, and is none."""
    found = observer.server.eio.sockets.get(eio_sid)
    return found if isinstance(found, BaseSocket) else None


def _is_silent(observer: Observer, socket: Any) -> bool:
    """Return whether a ping had no answer for as long as the server waits."""
    last: float = getattr(socket, "last_ping", None) or 0.0
    waits: float = observer.server.eio.ping_timeout
    return last > 0.0 and time.time() - last >= _SPENT * waits
