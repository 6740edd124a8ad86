"""uvicorn on wsproto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..states import Ending
from .base import CODE_CAUSES, ServerProbe, guarded
from .uvicorn import KeepaliveProbe, observed_keepalive

__all__ = ["WSProtoProbe"]


class WSProtoProbe(KeepaliveProbe):
    """The probe of a `WSProtocol`."""

    __slots__ = ()
    kind = "uvicorn-wsproto"
    arrival = "handle_message"
    reader = "events"

    @staticmethod
    def make_observed(cls: Any) -> Any:
        return _observed(cls)

    def reading_pongs(self, original: Any) -> Any:
        def events() -> Iterator[Any]:
            for event in original():
                if type(event).__name__ == "Pong":
                    self.pong(event.payload)
                yield event

        return events

    def ending(self) -> Ending:
        known, buffer = self.connection, getattr(self.server, "buffer", None)
        if self.sent is None and self.server.close_sent:
            # What the application sent, the record knows.
            if known.closed_by == "server" and known.close_code:
                self.sent = (known.close_code, known.close_text)
            elif buffer is not None and buffer.length > buffer.max_length:
                self.sent = (1009, "")
        return super().ending()

    def compression(self) -> str | None:
        proto = self.server.conn.connection._proto
        return ",".join(str(each.name) for each in proto.extensions if each.enabled())

    def ping(self, payload: bytes) -> None:
        from wsproto.events import Ping

        self.begin_ping(payload)
        self.server.transport.write(self.server.conn.send(Ping(payload=payload)))

    def fail(self) -> None:
        from wsproto.events import CloseConnection

        server = self.server
        self.cause = "ping_timeout"
        server.transport.write(server.conn.send(CloseConnection(1011, "heartbeat timeout")))
        server.close_sent = True
        server.transport.close()


@guarded
def close_event(probe: ServerProbe, event: Any, state: Any, *, sent: bool) -> None:
    """Take in wsproto's close event.

    Args:
        probe: The probe to tell.
        event: The event.
        state: wsproto's state of the connection. While it is still open, the event is wsproto's own
            finding that the peer broke the protocol, and no close frame is sent.
        sent: Whether the server has sent a close frame before.
    """
    if state.name == "OPEN":
        probe.cause = probe.cause or CODE_CAUSES.get(int(event.code), "protocol_error")
    else:
        probe.frame_received(event.code, event.reason, first=not sent)


def _observed(cls: Any) -> Any:
    class Observed(observed_keepalive(cls)):  # type: ignore[misc]
        __slots__ = ()

        def handle_close(self, event: Any) -> None:
            close_event(self.ws_probe, event, self.conn.state, sent=self.close_sent)
            super().handle_close(event)

        def shutdown(self) -> None:
            if not self.close_sent:
                self.ws_probe.sent = (1012, "")
            super().shutdown()

    return Observed
