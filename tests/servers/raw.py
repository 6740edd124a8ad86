"""A client over a bare socket: it chooses every byte that it sends and keeps every byte it gets."""

from __future__ import annotations

import re
import socket
import struct
from typing import Final

__all__ = ["RawClient", "close_frame", "frame"]

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8


def frame(opcode: int, payload: bytes, *, masked: bool = True) -> bytes:
    """Return one final frame (RFC 6455 section 5.2), with a mask of zeros."""
    size = len(payload)
    head = struct.pack("!B", 0x80 | opcode)
    bit = 0x80 if masked else 0
    if size < 126:
        head += struct.pack("!B", bit | size)
    elif size < 65536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def close_frame(code: int | None = 1000, reason: str = "") -> bytes:
    """Return a close frame, without a code where it is `None`."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


class RawClient:
    """One connection.

    Attributes:
        got: Every byte received, the ``date`` header left out.
    """

    def __init__(self, address: str, path: str, *headers: str) -> None:
        host, _, port = address.partition(":")
        self._socket = socket.create_connection((host, int(port)), 10)
        self._received = b""
        self._closed = False
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: example.org",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    @property
    def got(self) -> bytes:
        return re.sub(rb"(?i)date: [^\r]*\r\n", b"", self._received)

    def send(self, data: bytes) -> None:
        """Send one frame."""
        self._closed = self._closed or data[0] & 15 == CLOSE
        self._socket.sendall(data)

    def read_until(self, needle: bytes) -> None:
        """Read until these bytes came.

        Raises:
            EOFError: The server ended the connection before.
            TimeoutError: Nothing came for 10 seconds.
        """
        while needle not in self._received:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError(self._received)
            self._received += data

    def read_to_end(self) -> None:
        """Read until the server ends the connection; answer its close frame."""
        try:
            while data := self._socket.recv(65536):
                self._received += data
                if not self._closed and self._closing():
                    self.send(close_frame())
        except (BrokenPipeError, ConnectionResetError):
            pass  # of an answer that crossed the server's end

    def _closing(self) -> bool:
        """Return whether a close frame came."""
        head, _, data = self._received.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 101") and len(data) >= 2:
            if data[0] & 15 == CLOSE:
                return True
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            data = data[start + size :]
        return False

    def finish(self) -> None:
        """Send the end of the stream (FIN) without a close frame."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanish: send a reset (RST)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
