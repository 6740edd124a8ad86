"""hypercorn, over HTTP/1.1 and HTTP/2.

Seen on hypercorn 0.18. A connection over HTTP/2 shares its TCP connection with others, so nothing
of the latter is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from .base import ServerProbe, guarded, spawn
from .wsproto import close_event

__all__ = ["HypercornProbe"]


class HypercornProbe(ServerProbe):
    """The probe of a `WSStream`."""

    __slots__ = ("_blocked_since", "_paused", "_put", "_tcp")
    kind = "hypercorn"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._blocked_since = self._paused = 0.0
        # The server's own way to the application, once it is replaced.
        self._put: Any = None
        protocol = getattr(self.server.send, "__self__", None)
        tcp = getattr(getattr(protocol, "send", None), "__self__", None)
        alone = type(protocol).__name__ == "H11Protocol" and hasattr(tcp, "writer")
        # asyncio's server of one TCP connection.
        self._tcp: Any = tcp if alone else None

    @staticmethod
    def make_observed(cls: Any) -> Any:
        return _observed(cls)

    def find_transport(self) -> Any:
        return None if self._tcp is None else self._tcp.writer.transport

    def _freeze(self, error: BaseException | None) -> None:
        if self._tcp is not None:
            reader = self._tcp.reader
            error = error or reader.exception()
            if reader.at_eof():
                self.lost_by = "eof"
        super()._freeze(error)
        # What the application is cancelled for, if it has not ended by itself.
        stopped = self.server.context.terminated.is_set()
        unexplained = self.connection.reason in ("", "cancelled") and not self.cause
        if stopped and unexplained and not (self.lost_by or self.received):
            self.cause = "server_shutdown"

    # wsproto's events, which the server drops in part.

    @guarded
    def watch_events(self) -> None:
        """Listen to the events of the server's connection, once there is one."""
        if self._put is None:
            conn = self.server.connection
            conn.events = self._watching(conn, conn.events)
            self._put = self.server.app_put
            # trio's has another kind of queue.
            if isinstance(getattr(self._put, "__self__", None), asyncio.Queue):
                self.server.app_put = self.make_waiting_put(self._put)

    def _watching(self, conn: Any, original: Any) -> Any:
        def events() -> Iterator[Any]:
            for event in original():
                kind = type(event).__name__
                if kind == "Pong":
                    self.pong(event.payload)
                elif kind == "CloseConnection":
                    close_event(self, event, conn.state, sent=self.sent is not None)
                yield event

        return events

    @guarded
    def sending(self, event: Any) -> None:
        """Take in an event that the server is about to write."""
        kind = type(event).__name__
        if kind == "Ping" and not event.payload:
            self.begin_server_ping()
        elif kind == "CloseConnection" and self.sent is None and self.received is None:
            self.sent = (int(event.code), event.reason or "")

    def is_server_ping(self, payload: bytes) -> bool:
        return not payload

    def detach(self) -> None:
        if self.server is not None and self._put is not None:
            del self.server.connection.events
            self.server.app_put = self._put
        super().detach()

    # The queue to the application has ten places; when they are taken, the server stops reading.

    def make_waiting_put(self, original: Any) -> Any:
        """Return what puts a message into that queue and measures how long it has to wait."""

        async def put(message: Any) -> None:
            if not original.__self__.full():
                await original(message)
                return
            self._blocked_since = perf_counter()
            try:
                await original(message)
            finally:
                self._paused += perf_counter() - self._blocked_since
                self._blocked_since = 0.0

        return put

    def paused_time(self, now: float) -> float:
        return self._paused + (now - self._blocked_since if self._blocked_since else 0.0)

    def is_paused(self) -> bool:
        return bool(self._blocked_since)

    def is_closing(self) -> bool:
        return self.sent is not None or (self.transport is not None and super().is_closing())

    def write_buffer(self) -> int | None:
        return None if self.transport is None else super().write_buffer()

    def queue(self) -> int | None:
        queue = getattr(self._put or self.server.app_put, "__self__", None)
        return queue.qsize() if isinstance(queue, asyncio.Queue) else None

    def compression(self) -> str | None:
        proto = self.server.connection._proto
        return ",".join(str(each.name) for each in proto.extensions if each.enabled())

    def ping(self, payload: bytes) -> None:
        from wsproto.events import Ping

        self.begin_ping(payload)
        spawn(self.server._send_wsproto_event(Ping(payload=payload)))

    def fail(self) -> None:
        from wsproto.events import CloseConnection

        self.cause = "ping_timeout"
        event = CloseConnection(1011, "heartbeat timeout")
        spawn(self.server._send_wsproto_event(event))


def _observed(cls: Any) -> Any:
    class Observed(cls):  # type: ignore[misc]
        ws_probe: Any

        async def handle(self, event: Any) -> None:
            original = super().handle
            probe = self.ws_probe
            if type(event).__name__ == "StreamClosed" and not self.closed:
                probe.freeze(None)
                probe.end()
            await original(event)

        async def _handle_events(self) -> None:
            self.ws_probe.watch_events()
            await super()._handle_events()

        async def _send_wsproto_event(self, event: Any) -> None:
            self.ws_probe.sending(event)
            await super()._send_wsproto_event(event)

    return Observed
