"""uvicorn: what its three implementations share, and the opt-in class ``Auto``.

Seen on uvicorn 0.30 to 0.54. What is overridden is asyncio's protocol interface, which transports
look up at each call, and methods that uvicorn calls on itself; one that a version does not have is
never called.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, ClassVar
from weakref import WeakSet

from ..connection import Connection
from ..observation import Observation
from ..states import Ending
from .base import ServerProbe
from .find import EXTENSION

__all__ = [
    "KeepaliveProbe",
    "UvicornProbe",
    "observations",
    "observed_keepalive",
    "observed_protocol",
]


class _Nobody:
    """What an observed object without a connection tells: before the application is called."""

    def __getattr__(self, name: str) -> Any:
        return _nothing

    def __setattr__(self, name: str, value: object) -> None:
        pass


def _nothing(*_: object) -> None:
    pass


_NOBODY = _Nobody()


class UvicornProbe(ServerProbe):
    """The probe of one of uvicorn's protocol objects."""

    __slots__ = ("_arrived", "_paused", "eof")
    #: The method of the server's that a message goes through.
    arrival: ClassVar[str]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.eof = False
        # When reading was paused last, and how long it was paused before, seconds.
        self._arrived = self._paused = 0.0

    @property
    def server_heartbeat(self) -> float | None:  # type: ignore[override]
        # The attributes came with the heartbeat.
        interval = getattr(self.server, "ping_interval", None)
        timeout = getattr(self.server, "ping_timeout", None)
        return float(interval) if interval and timeout else None

    def _freeze(self, error: BaseException | None) -> None:
        if self.eof or (error is None and self._is_unexplained()):
            self.lost_by = "eof"
        super()._freeze(error)

    def _is_unexplained(self) -> bool:
        """Return whether neither side of the server has ended the connection.

        uvloop's TLS passes the end of a stream on as nothing but the end of the connection.
        """
        seen = self.ending()
        known = seen.received or seen.sent or seen.cause or self.connection.closed_by
        return not (known or self.aborted)

    def detach(self) -> None:
        if self.server is not None:
            self.unwatch_reading()
        super().detach()

    # The server reads nothing from when it has a message until the application has taken it, which
    # the record knows. Watched while a ping is under way only: it would cost every message.

    def watch_reading(self) -> None:
        original = getattr(self.server, self.arrival, None)
        if original is not None and self.arrival not in vars(self.server):
            self._paused = 0.0
            self._arrived = perf_counter() if self.is_paused() else 0.0
            setattr(self.server, self.arrival, self.watched(original))

    def unwatch_reading(self) -> None:
        vars(self.server).pop(self.arrival, None)

    def watched(self, original: Any) -> Any:
        """Return the method that a message goes through before the server stops reading."""
        server = self.server

        def arrived(*arguments: Any) -> None:
            if not server.read_paused:
                if self._arrived:
                    self._paused += max(0.0, self.connection.received_at - self._arrived)
                self._arrived = perf_counter()
            original(*arguments)

        return arrived

    def paused_time(self, now: float) -> float:
        if not self._arrived:
            return 0.0
        until = now if self.is_paused() else self.connection.received_at
        return self._paused + max(0.0, until - self._arrived)

    def is_paused(self) -> bool:
        return bool(self.server.read_paused)

    def is_closing(self) -> bool:
        # A peer that does not answer a close frame is not pinged.
        return bool(self.server.close_sent) or super().is_closing()

    def queue(self) -> int | None:
        size: int = self.server.queue.qsize()
        return size

    def is_server_ping(self, payload: bytes) -> bool:
        return bool(payload == self.server.pending_ping_payload)

    def frames_ending(self, conn: Any) -> Ending:
        """Return the ending by an object of websockets' that keeps the close frames."""
        received, sent = conn.close_rcvd, conn.close_sent
        return Ending(
            None if received is None else (int(received.code), received.reason),
            None if sent is None else (int(sent.code), sent.reason),
            bool(received is not None and (sent is None or conn.close_rcvd_then_sent)),
            self.cause,
            self.lost_by,
        )


class KeepaliveProbe(UvicornProbe):
    """The probe of an implementation that has a heartbeat of uvicorn's own, in later versions."""

    __slots__ = ()
    #: The method of the protocol's ``conn`` that yields, or is given, what was read.
    reader: ClassVar[str]

    @staticmethod
    def make_observed(cls: Any) -> Any:
        return observed_keepalive(cls)

    def attach(self) -> None:
        super().attach()
        # Before 0.44 (wsproto: 0.50) there is no heartbeat, and pongs are read and dropped.
        if not hasattr(self.server, "pending_ping_payload"):
            conn = self.server.conn
            setattr(conn, self.reader, self.reading_pongs(getattr(conn, self.reader)))

    def detach(self) -> None:
        server = self.server
        super().detach()
        if server is not None:
            vars(server.conn).pop(self.reader, None)

    def reading_pongs(self, original: Any) -> Any:
        """Return the reader that tells of pongs as well."""


#: The observations of this process's middlewares, for handshakes that reach no application.
observations: WeakSet[Observation] = WeakSet()


def observed_protocol(cls: Any) -> Any:
    """Return a subclass of any of uvicorn's protocol classes that tells the probe of its end."""

    class Observed(cls):  # type: ignore[misc]
        __slots__ = ()
        ws_probe: Any = _NOBODY

        def connection_lost(self, exc: Exception | None) -> None:
            probe = self.ws_probe
            probe.freeze(exc)
            try:
                super().connection_lost(exc)
            finally:
                probe.end()

        def eof_received(self) -> Any:
            self.ws_probe.eof = True
            return super().eof_received()

    return Observed


def observed_keepalive(cls: Any) -> Any:
    """Return the same for the two implementations with a heartbeat of uvicorn's own."""

    class Observed(observed_protocol(cls)):  # type: ignore[misc]
        __slots__ = ()

        def shutdown(self) -> None:
            if not self.close_sent:
                self.ws_probe.cause = "server_shutdown"
            super().shutdown()

        def send_keepalive_ping(self) -> None:
            self.ws_probe.begin_server_ping()
            super().send_keepalive_ping()

        # Its absence is the sign of a version that drops pongs.
        if hasattr(cls, "handle_pong"):

            def handle_pong(self, event: Any) -> None:
                self.ws_probe.pong(_payload(event))
                super().handle_pong(event)

        def keepalive_timeout(self) -> None:
            before = self.close_sent
            super().keepalive_timeout()
            if self.close_sent and not before:
                self.ws_probe.timed_out()

    return Observed


def _payload(event: Any) -> Any:
    """Return a pong's payload, of websockets' frame or of wsproto's event."""
    return event.data if hasattr(event, "data") else event.payload


def __getattr__(name: str) -> Any:
    """Return ``Auto``, made when it is asked for, since it needs uvicorn.

    ``uvicorn --ws asgi_ws_observe.transports.uvicorn:Auto`` takes what ``--ws auto`` takes, and
    puts the server's object where the probe finds it behind anything. On websockets' sans-I/O
    layer it also counts handshakes that uvicorn refuses before it calls the application.
    """
    if name != "Auto":
        raise AttributeError(name)
    from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

    from . import observed_by_name

    # None where neither websockets nor wsproto is installed, which uvicorn reports itself.
    protocol: Any = AutoWebSocketsProtocol
    return None if protocol is None else _announcing(observed_by_name(protocol))


def _announcing(cls: Any) -> Any:
    class Auto(cls):  # type: ignore[misc]
        async def run_asgi(self) -> None:
            self.scope.setdefault("extensions", {})[EXTENSION] = self
            await super().run_asgi()

        def handle_connect(self, event: Any) -> None:
            began = perf_counter()
            super().handle_connect(event)
            status = getattr(getattr(self, "response", None), "status_code", 101)
            if status != 101:
                _refused(self, event, status, began)

    return Auto


def _refused(server: Any, request: Any, status: int, began: float) -> None:
    """Count a handshake that reaches no application."""
    for observation in tuple(observations):
        try:
            headers = [(k.lower().encode(), v.encode()) for k, v in request.headers.raw_items()]
            scope = {
                "type": "websocket",
                "scheme": server.scheme,
                "path": request.path.partition("?")[0],
                "headers": headers,
                "client": server.client,
                "server": server.server,
            }
            Connection(observation, scope, began).refused(status, perf_counter())
        except Exception as error:  # noqa: BLE001
            observation.errors.report("probe", error, "Auto", "refused handshakes are not counted")
