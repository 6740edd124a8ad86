"""uvicorn's default implementation, on the sans-I/O layer of websockets."""

from __future__ import annotations

from typing import Any

from ..states import Ending
from .uvicorn import KeepaliveProbe

__all__ = ["SansIOProbe"]

_PONG = 10  # RFC 6455 section 5.2


class SansIOProbe(KeepaliveProbe):
    """The probe of a `WebSocketsSansIOProtocol`."""

    __slots__ = ()
    kind = "uvicorn-websockets-sansio"
    arrival = "send_receive_event_to_app"
    reader = "recv_frame"

    def reading_pongs(self, original: Any) -> Any:
        def recv_frame(frame: Any) -> Any:
            if frame.opcode == _PONG:
                self.pong(frame.data)
            return original(frame)

        return recv_frame

    def ending(self) -> Ending:
        return self.frames_ending(self.server.conn)

    def compression(self) -> str | None:
        return ",".join(str(each.name) for each in self.server.conn.extensions)

    def ping(self, payload: bytes) -> None:
        self.begin_ping(payload)
        server = self.server
        server.conn.send_ping(payload)
        server.transport.write(b"".join(server.conn.data_to_send()))

    def fail(self) -> None:
        server = self.server
        self.cause = "ping_timeout"
        server.conn.fail(1011, "heartbeat timeout")
        server.transport.write(b"".join(server.conn.data_to_send()))
        server.close_sent = True
        server.transport.close()
