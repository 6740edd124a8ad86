"""What the record and the shell know of a probe, and the probe that knows nothing.

A probe reads off the server's own object of one connection what ASGI does not carry. Those that
know a server are in `asgi_ws_observe.transports`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from .connection import Connection
    from .states import Ending, Verdict

__all__ = ["Probe", "Watcher"]


class Watcher(Protocol):
    """What looks at the probes of open connections from time to time."""

    def add(self, probe: Probe) -> None:
        """Begin to look at it."""
        ...

    def remove(self, probe: Probe) -> None:
        """Look at it no more; does nothing where it never began."""
        ...


class Probe:
    """The probe of a connection whose server is unknown or hides itself: it gives nothing.

    Attributes:
        connection: The record that it tells.
        watcher: What looks at it while the connection is open.
        waiting: Whether a ping of our own has no answer yet.
        pinged_at: When the last one was written, of `time.perf_counter()`.
    """

    __slots__ = ("connection", "pinged_at", "waiting", "watcher")

    #: The value of the label ``transport``.
    kind: ClassVar[str] = "unknown"
    #: Whether it calls `Connection.lost`, which then ends the connection.
    tells_end: ClassVar[bool] = False
    #: Whether `ping` works.
    can_ping: bool = False
    #: How often the server pings by itself and ends a connection that does not answer, seconds.
    server_heartbeat: float | None = None

    def __init__(self, connection: Connection, watcher: Watcher) -> None:
        self.connection = connection
        self.watcher = watcher
        self.waiting = False
        self.pinged_at = 0.0

    def opened(self) -> None:
        """Act when the handshake was accepted."""
        self.watcher.add(self)

    def finished(self) -> None:
        """Act when the connection is over or its handshake failed."""
        self.watcher.remove(self)

    def detach(self) -> None:
        """Leave the server's object as it was."""

    def ending(self) -> Ending | None:
        """Return what is known of the connection's end until now, `None` where nothing can be."""
        return None

    def correct(self, verdict: Verdict) -> Verdict:
        """Return what ASGI's word means on this server, where it means something of its own."""
        return verdict

    def look(self) -> None:
        """Count what the kernel says since the last time."""

    def write_buffer(self) -> int | None:
        """Return the bytes that were sent and have not reached the peer, `None` where unknown.

        They wait in the transport and, where it can be had, in the kernel.
        """
        return None

    def queue(self) -> int | None:
        """Return the messages that the server has and the application has not."""
        return None

    def compression(self) -> str | None:
        """Return the extension that compresses messages, empty for none, `None` where unknown."""
        return None

    def is_closing(self) -> bool:
        """Return whether the server is done with the transport, which may not have ended."""
        return False

    def is_paused(self) -> bool:
        """Return whether the server reads nothing now, so that no answer can be seen."""
        return False

    def peer_is_gone(self) -> bool:
        """Return whether the kernel knows that the peer has ended the TCP connection."""
        return False

    def ping(self, payload: bytes) -> None:
        """Write a ping. Its answer arrives at `Connection.heartbeat`."""

    def fail(self) -> None:
        """Close with 1011, since the peer does not answer, and end the transport when written."""

    def abort(self) -> bool:
        """End the TCP connection at once, whatever is unsent; return whether that was possible."""
        return False
