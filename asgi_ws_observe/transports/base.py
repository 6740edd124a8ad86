"""What the probes of several servers share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from ..close_codes import NO_STATUS
from ..hooks import OwnErrors
from ..kernel import CLOSE_WAIT, CLOSED, TcpInfo, tcp_info, unsent_bytes
from ..probe import Probe, Watcher
from ..states import Ending

if TYPE_CHECKING:
    from ..connection import Connection

__all__ = ["CODE_CAUSES", "ServerProbe", "guarded", "observed_class", "spawn"]

#: Close code -> cause, where a server fails a connection with it and sends no close frame.
CODE_CAUSES: Final = {1002: "protocol_error", 1007: "bad_data", 1009: "too_big"}

_observed: dict[type, type] = {}


def observed_class(cls: type, make: Callable[[Any], Any]) -> Any:
    """Return the subclass of a server's class that tells its probe, made once for each class.

    It is put on single instances. Methods set on each instance instead would cost a kibibyte a
    connection and be in the way of others who do the same.
    """
    observed = _observed.get(cls)
    if observed is None:
        observed = make(cls)
        # Whoever logs the class sees the server's own.
        observed.__name__, observed.__qualname__ = cls.__name__, cls.__qualname__
        observed.__module__ = cls.__module__
        _observed[cls] = observed
    return observed


_tasks: set[asyncio.Future[Any]] = set()


def spawn(work: Coroutine[Any, Any, Any]) -> None:
    """Let a server write what it writes in a coroutine only.

    The connection may end first; whatever the coroutine raises then says no more than that.
    """
    task = asyncio.ensure_future(work)
    _tasks.add(task)
    task.add_done_callback(_done)


def _done(task: asyncio.Future[Any]) -> None:
    _tasks.discard(task)
    if not task.cancelled():
        task.exception()


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of a probe report what it raises: it is called by the server."""

    @functools.wraps(method)
    def safe(self: ServerProbe, *arguments: Any, **named: Any) -> Any:
        try:
            return method(self, *arguments, **named)
        except Exception as error:  # noqa: BLE001
            self.failed(error)
            return None

    return safe


class ServerProbe(Probe):
    """A probe of a server whose object of the connection is at hand.

    Args:
        connection: The record that it tells.
        watcher: What looks at it while the connection is open.
        server: The server's object.
        errors: Where failures of the probe go.
    """

    __slots__ = (
        *("_class", "_errors", "_payload", "_paused_before", "_received_first", "_server_paused"),
        *(
            "_server_pinged",
            "aborted",
            "cause",
            "lost_by",
            "lower",
            "received",
            "sent",
            "server",
            "socket",
        ),
        *("transport",),
    )
    tells_end = True
    can_ping = True

    def __init__(
        self, connection: Connection, watcher: Watcher, server: Any, errors: OwnErrors
    ) -> None:
        super().__init__(connection, watcher)
        self.server = server
        self._class: type | None = None
        self._errors = errors
        # The ping of our own and the server's that have no answer yet.
        self._payload = b""
        self._paused_before = self._server_paused = self._server_pinged = 0.0
        # For `Ending`.
        self.received: tuple[int, str] | None = None
        self.sent: tuple[int, str] | None = None
        self._received_first = False
        self.cause = self.lost_by = ""
        self.aborted = False
        self.transport: Any = None
        self.socket: Any = None
        # asyncio's TLS: the transport below, which holds what is encrypted already.
        self.lower: Any = None

    # How it is put on the server's object.

    @staticmethod
    def make_observed(cls: Any) -> Any:
        """Return the subclass of the server's class that tells the probe."""
        raise NotImplementedError

    def attach(self) -> None:
        """Begin to listen to the server's object.

        Raises:
            TypeError: The class cannot be replaced.
        """
        server, cls = self.server, type(self.server)
        if not hasattr(cls, "ws_probe"):
            server.__class__ = observed_class(cls, self.make_observed)
            self._class = cls
        server.ws_probe = self

    def detach(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            with suppress(AttributeError):  # it was not put on
                del server.ws_probe
            # The opt-in class stays.
            if self._class is not None:
                server.__class__ = self._class

    def find_transport(self) -> Any:
        """Return the asyncio transport, `None` where there is none."""
        return getattr(self.server, "transport", None)

    @guarded
    def opened(self) -> None:
        super().opened()
        self._use_transport()

    def _use_transport(self) -> None:
        self.transport = transport = self.find_transport()
        if transport is not None:
            self.socket = transport.get_extra_info("socket")
            below = getattr(transport, "_ssl_protocol", None)
            self.lower = getattr(below, "_transport", None)

    # What the server's methods tell, between the server and its own work: nothing may be raised.

    @guarded
    def freeze(self, error: BaseException | None) -> None:
        """Take down what is known when the TCP connection has ended, before the server forgets."""
        self._freeze(error)

    def _freeze(self, error: BaseException | None) -> None:
        connection = self.connection
        if isinstance(error, OSError):
            self.lost_by = "tcp_reset" if isinstance(error, ConnectionError) else "unknown"
        if self.aborted:
            # What looks like the peer's end is the server's own.
            self.lost_by = ""
        if self.transport is None:
            return
        if not self.aborted:
            connection.write_buffer = self.write_buffer()
        connection.compression = self.compression()
        self.look()
        if not (self.lost_by or self.aborted) and self.peer_is_gone():
            # The server read nothing any more, or it would know.
            self.lost_by = "eof"

    def end(self) -> None:
        """Tell the record that the TCP connection has ended, and leave the server's object."""
        ending = Ending()
        try:
            ending = self.ending()
            self.detach()
        except Exception as failure:  # noqa: BLE001
            self.failed(failure)
        try:
            self.connection.lost(ending, perf_counter())
        except Exception as failure:  # noqa: BLE001
            self.failed(failure)

    def failed(self, error: Exception) -> None:
        """Report a failure of the probe."""
        self._errors.report("probe", error, type(self), "what the server shows is incomplete")

    @guarded
    def frame_received(self, code: int | None, text: str | None, *, first: bool) -> None:
        """Take in the peer's close frame.

        Args:
            code: Its code, `None` for none.
            text: Its reason.
            first: Whether the server has sent none before.
        """
        if self.received is None:
            self.received = (NO_STATUS if code is None else int(code), text or "")
            self._received_first = first

    def ending(self) -> Ending:
        return Ending(self.received, self.sent, self._received_first, self.cause, self.lost_by)

    # Heartbeat.

    def watch_reading(self) -> None:
        """Begin to measure how long the server reads nothing: a ping is about to be written."""

    def unwatch_reading(self) -> None:
        """Measure it no more: no ping waits for an answer."""

    def paused_time(self, now: float) -> float:
        """Return how long the server has read nothing while it was watched, seconds."""
        return 0.0

    def begin_ping(self, payload: bytes) -> None:
        """Remember a ping of our own that is about to be written."""
        self.watch_reading()
        self._payload = payload
        self.waiting = True
        self.pinged_at = perf_counter()
        self._paused_before = self.paused_time(self.pinged_at)

    @guarded
    def begin_server_ping(self) -> None:
        """Take in that the server is about to write a ping of its own."""
        self.watch_reading()
        self._server_pinged = now = perf_counter()
        self._server_paused = self.paused_time(now)

    def is_server_ping(self, payload: bytes) -> bool:
        """Return whether a payload is that of the server's last ping."""
        return False

    @guarded
    def pong(self, answer: Any) -> None:
        """Take in a pong before the server does; one that answers no ping means nothing."""
        now, payload = perf_counter(), bytes(answer)
        if self.waiting and payload == self._payload:
            began, before, self.waiting = self.pinged_at, self._paused_before, False
        elif self._server_pinged and self.is_server_ping(payload):
            began, self._server_pinged, before = self._server_pinged, 0.0, self._server_paused
        else:
            return
        self.connection.heartbeat(now - began, self.paused_time(now) - before)
        if not (self.waiting or self._server_pinged):
            self.unwatch_reading()

    @guarded
    def timed_out(self) -> None:
        """Take in that the server ends the connection, since a ping had no answer."""
        self.cause = "ping_timeout"
        self.connection.heartbeat_missed()

    # What can be looked at.

    def look(self) -> None:
        if (known := self._known()) is not None:
            self.connection.wired(known.bytes_in, known.bytes_out, known.rtt)

    def write_buffer(self) -> int | None:
        size: int = self._in_kernel()
        if self.lower is not None:
            size += self.lower.get_write_buffer_size()
            if self.transport._ssl_protocol is None:  # closing: nothing is left above
                return size
        return size + int(self.transport.get_write_buffer_size())

    def _in_kernel(self) -> int:
        return 0 if self.socket is None else unsent_bytes(self.socket.fileno()) or 0

    def is_closing(self) -> bool:
        return bool(self.transport.is_closing())

    def _known(self) -> TcpInfo | None:
        return None if self.socket is None else tcp_info(self.socket)

    def peer_is_gone(self) -> bool:
        known = self._known()
        return known is not None and known.state in (CLOSED, CLOSE_WAIT)

    def abort(self) -> bool:
        if self.transport is None or self.server is None:
            return False
        self.aborted = True
        try:
            # Transports forget at once what they have not sent.
            self.connection.write_buffer = self.write_buffer()
        except Exception as failure:  # noqa: BLE001
            self.failed(failure)
        self._abort_transport()
        return True

    def _abort_transport(self) -> None:
        self.transport.abort()
