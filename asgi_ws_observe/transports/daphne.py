"""daphne, which is autobahn on Twisted.

Seen on daphne 4.2 with autobahn 26.
"""

from __future__ import annotations

import sys
from typing import Any

from ..close_codes import NO_STATUS
from .base import CODE_CAUSES, ServerProbe, guarded

__all__ = ["DaphneProbe"]


class DaphneProbe(ServerProbe):
    """The probe of a daphne `WebSocketProtocol`."""

    __slots__ = ("_server_payload",)
    kind = "daphne"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._server_payload: bytes | None = None

    @property
    def server_heartbeat(self) -> float | None:  # type: ignore[override]
        interval, timeout = self.server.server.ping_interval, self.server.autoPingTimeout
        return float(interval) if interval and timeout else None

    @staticmethod
    def make_observed(cls: Any) -> Any:
        return _observed(cls)

    def _use_transport(self) -> None:
        self.transport = transport = self.server.transport
        # Twisted's TLS is a protocol, around the transport that has the socket.
        self.lower = getattr(transport, "transport", transport)
        if hasattr(self.lower, "getHandle"):
            self.socket = self.lower.getHandle()

    def begin_server_ping(self) -> None:
        super().begin_server_ping()
        self._server_payload = self.server.autoPingPending

    def is_server_ping(self, payload: bytes) -> bool:
        return payload == self._server_payload

    def write_buffer(self) -> int | None:
        transport = self.lower
        if not hasattr(transport, "dataBuffer"):
            return None
        # Twisted's tcp.Connection: what it writes now, and what waits for that.
        size: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return size + self._in_kernel()

    def queue(self) -> int | None:
        size: int = self.server.application_queue.qsize()
        return size

    def compression(self) -> str | None:
        compress = self.server._perMessageCompress
        return "" if compress is None else str(compress.EXTENSION_NAME)

    def is_closing(self) -> bool:
        return bool(self.sent is not None or self.transport.disconnecting)

    def ping(self, payload: bytes) -> None:
        self.begin_ping(payload)
        self.server.sendPing(payload)

    def fail(self) -> None:
        self.cause = "ping_timeout"
        self.server.sendCloseFrame(1011, b"heartbeat timeout")
        self.transport.loseConnection()

    def _abort_transport(self) -> None:
        self.transport.abortConnection()

    @guarded
    def lost_for(self, failure: Any) -> None:
        """Take in Twisted's reason for the end of the TCP connection."""
        kind = type(getattr(failure, "value", failure)).__name__
        # A reactor that stops ends every connection as if it had been lost.
        if getattr(sys.modules.get("twisted.internet.reactor"), "_stopped", False):
            self.cause = self.cause or ("" if self.sent else "server_shutdown")
        elif not self.server.droppedByMe:
            self.lost_by = {"ConnectionDone": "eof", "ConnectionLost": "tcp_reset"}.get(kind, "")
        self.freeze(None)

    @guarded
    def closed(self, code: int | None, reason: bytes | None) -> None:
        """Take in the peer's close frame."""
        # Twisted closes the socket before it tells of the end.
        self.look()
        text = (reason or b"").decode("utf-8", "replace")
        self.frame_received(code, text, first=self.sent is None)

    @guarded
    def closing(self, code: int | None, reason: bytes | None) -> None:
        """Take in a close frame that the server is about to write, if it is not the answer."""
        server = self.server
        if self.sent is None and self.received is None and server.state == server.STATE_OPEN:
            text = (reason or b"").decode("utf-8", "replace")
            self.sent = (NO_STATUS if code is None else code, text)

    @guarded
    def failing(self, code: int) -> None:
        """Take in that the server is about to end the connection for what the peer did."""
        self.cause = self.cause or CODE_CAUSES.get(code, "protocol_error")


def _observed(cls: Any) -> Any:
    class Observed(cls):  # type: ignore[misc]
        ws_probe: Any

        def sendPing(self, payload: Any = None) -> None:  # noqa: N802
            if payload == self.autoPingPending:
                self.ws_probe.begin_server_ping()
            super().sendPing(payload)

        def onPong(self, payload: Any) -> None:  # noqa: N802
            self.ws_probe.pong(payload)
            super().onPong(payload)

        def onAutoPingTimeout(self) -> None:  # noqa: N802
            self.ws_probe.timed_out()
            super().onAutoPingTimeout()

        def onCloseFrame(self, code: Any, reasonRaw: Any) -> Any:  # noqa: N802, N803
            self.ws_probe.closed(code, reasonRaw)
            return super().onCloseFrame(code, reasonRaw)

        def sendCloseFrame(  # noqa: N802
            self,
            code: Any = None,
            reasonUtf8: Any = None,  # noqa: N803
            isReply: bool = False,  # noqa: N803
        ) -> None:
            self.ws_probe.closing(code, reasonUtf8)
            super().sendCloseFrame(code, reasonUtf8, isReply)

        def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
            self.ws_probe.failing(code)
            super()._fail_connection(code, reason)

        def connectionLost(self, reason: Any) -> None:  # noqa: N802
            probe = self.ws_probe
            probe.lost_for(reason)
            try:
                super().connectionLost(reason)
            finally:
                probe.end()

    return Observed
