"""What Engine.IO tells below Socket.IO: pings, upgrades, queues, refused requests, true ends."""

from __future__ import annotations

import functools
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from engineio import packet
from engineio.async_socket import AsyncSocket
from engineio.base_socket import BaseSocket

from ..connection import Connection
from ..labels import UNMATCHED, route_template
from ..middleware import SCOPE_KEY
from ..states import judge_disconnect

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
# What the library calls "transport close" whatever happened, by the reason of the WebSocket's
# record (`asgi_ws_observe.close_codes.REASONS`).
_BY_RECORD: Final = {
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


@functools.lru_cache(maxsize=8)
def _observed(kind: Any) -> Any:
    """Return a class of sockets that tells an observer what happens; one for each of theirs."""

    class ObservedSocket(kind):  # type: ignore[misc]
        """An Engine.IO session: pings, upgrades and what closed it."""

        observer: Observer
        # When the ping that is out left the queue, of `time.perf_counter()`.
        ping_left: float | None = None
        # Whether an upgrade is being tried.
        upgrade_open = False
        close_code: int | None = None
        record: Connection | None = None

        async def receive(self, pkt: Any) -> Any:
            if pkt.packet_type == packet.PONG and self.ping_left is not None:
                left, self.ping_left = self.ping_left, None
                transport = "websocket" if self.upgraded else "polling"
                numbers = self.observer.numbers
                numbers.ping_rtt[transport].observe(perf_counter() - left)
            return await super().receive(pkt)

        async def poll(self) -> Any:
            packets = await super().poll()
            if self.upgrade_open and self.upgraded:
                self.upgrade_open = False
                self.observer.numbers.upgrades["ok"] += 1
            if self.last_ping and self.ping_left is None:
                _look_for_ping(self, packets)
            return packets

        async def _upgrade_websocket(self, environ: Any) -> Any:
            self.upgrade_open = bool(self.connected)
            try:
                _listen(self, environ)
                return await super()._upgrade_websocket(environ)
            finally:
                if self.upgrade_open:
                    self.upgrade_open = False
                    self.observer.numbers.upgrades["failed"] += 1

        async def _websocket_handler(self, ws: Any) -> Any:
            if self.record is not None:
                self.record.carries_packets()
            return await super()._websocket_handler(ws)

    return ObservedSocket


def _look_for_ping(socket: Any, packets: Any) -> None:
    """Take note of a ping that leaves the queue."""
    if any(each.packet_type == packet.PING for each in packets):
        socket.ping_left = perf_counter()
        transport = "websocket" if socket.upgraded else "polling"
        # The library's own note of when it put the ping into the queue is by that clock.
        delay = max(0.0, time.time() - socket.last_ping)
        socket.observer.numbers.ping_delay[transport].observe(delay)


def _listen(socket: Any, environ: Any) -> None:
    """Take note of the close code of a session's WebSocket, which the library drops."""
    try:
        _find_record(socket, environ)
    except Exception as error:  # noqa: BLE001
        socket.observer.failed(error, "the WebSocket of an Engine.IO session")


def _find_record(socket: Any, environ: Any) -> None:
    scope, receive = environ.get("asgi.scope"), environ.get("asgi.receive")
    if scope is None or receive is None:
        return
    record = scope.get(SCOPE_KEY)
    if isinstance(record, Connection):
        socket.record = record
        template = route_template(scope)
        if template == UNMATCHED or template.startswith("/{"):
            record.name_route(ENGINEIO_ROUTE)
        return

    async def listening() -> Any:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            socket.close_code = judge_disconnect(message).code
        return message

    environ["asgi.receive"] = listening


def adopt(observer: Observer, eio_sid: str) -> None:
    """Observe an Engine.IO session from now on, if it is one of an `AsyncServer`."""
    socket = observer.server.eio.sockets.get(eio_sid)
    if isinstance(socket, AsyncSocket) and not hasattr(type(socket), "upgrade_open"):
        kind: Any = type(socket)
        socket.__class__ = _observed(kind)
        socket.observer = observer


def release(server: Any) -> None:
    """Give all sessions of a server their own class again."""
    for socket in list(server.eio.sockets.values()):
        kind = type(socket)
        if hasattr(kind, "upgrade_open"):
            socket.__class__ = kind.__mro__[1]


def count_rejection(observer: Observer, key: str) -> None:
    """Count a request that Engine.IO did not accept."""
    rejections = observer.numbers.rejections
    rejections[key if key in rejections else "other"] += 1


def reason_of(observer: Observer, eio_sid: str | None, told: Any) -> tuple[str, int | None]:
    """Return why a client leaves, and its WebSocket's close code, `None` where there is none.

    Args:
        observer: Whose client it is.
        eio_sid: Its session.
        told: python-socketio's own reason; `None` before 5.12, which has none.
    """
    reason = _WORDS.get(told, "unknown")
    socket = _session_of(observer, eio_sid)
    record = getattr(socket, "record", None)
    code = getattr(socket, "close_code", None)
    if record is not None and record.close_code is not None:
        code = record.close_code
    if reason not in ("transport_close", "transport_error", "unknown"):
        return reason, code
    if record is not None and record.reason in _BY_RECORD:
        return _BY_RECORD[record.reason], code
    if _is_silent(observer, socket):
        return "ping_timeout", code
    if code == 1012:
        return "server_shutdown", code
    if code == 1006:
        return "transport_lost", code
    if reason == "unknown" and code is not None:
        reason = "transport_close"
    return reason, code


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
