"""A client over a bare socket: it chooses every byte that it sends and keeps every byte it gets."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from typing import Final

__all__ = ["Holding", "RawClient", "close_frame", "frame"]

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10


def frame(opcode: int, payload: bytes, *, masked: bool = True, size: int | None = None) -> bytes:
    """Return one final frame (RFC 6455 section 5.2), with a mask of zeros.

    Args:
        opcode: What it is.
        payload: What it carries.
        masked: Whether it says that it is masked, as a client's has to.
        size: The size that it claims, where it is not the payload's.
    """
    size = len(payload) if size is None else size
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


def first_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Return opcode, payload and the rest, `None` where there is no whole frame; none is masked."""
    if len(data) < 2:
        return None
    size, start = data[1], 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(data[2:10], "big"), 10
    if len(data) < start + size:
        return None
    return data[0] & 15, data[start : start + size], data[start + size :]


class RawClient:
    """One connection. While it reads it answers close frames and pings.

    Args:
        address: The server's ``host:port``.
        path: Where it connects.
        headers: More lines of the handshake.
        without: A header that the handshake lacks.
        pongs: Whether it answers pings.

    Attributes:
        address: The server's.
        got: Every byte received, the ``date`` header left out.
        close_code: That of the server's close frame, 1005 for one without, `None` for no frame.
        was_reset: Whether the server's end was a reset, which takes what is unread with it.
        frames: How many frames it received.
        bytes_in: How many bytes it received.
        bytes_out: How many bytes it sent.
    """

    def __init__(
        self, address: str, path: str, *headers: str, without: str = "", pongs: bool = True
    ) -> None:
        host, _, port = address.partition(":")
        self.address = address
        self._pongs = pongs
        self._received = self._unparsed = b""
        self._upgraded = self._closed = self.was_reset = False
        self.close_code: int | None = None
        self.frames = self.bytes_in = self.bytes_out = 0
        self._socket = socket.create_connection((host, int(port)), 10)
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: example.org",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        kept = (line for line in lines if not without or not line.startswith(f"{without}:"))
        self._write(("\r\n".join(kept) + "\r\n\r\n").encode())

    @property
    def got(self) -> bytes:
        return re.sub(rb"(?i)date: [^\r]*\r\n", b"", self._received)

    @property
    def status(self) -> int:
        """The HTTP status of the server's answer, 0 where there was none."""
        return int(self._received[9:12] or 0)

    def send(self, data: bytes) -> None:
        """Send one frame."""
        self._closed = self._closed or data[0] & 15 == CLOSE
        self._write(data)

    def read_until(self, needle: bytes) -> None:
        """Read until these bytes came.

        Raises:
            EOFError: The server ended the connection before.
            TimeoutError: Nothing came for 10 seconds.
        """
        while needle not in self._received:
            if not self._read():
                raise EOFError(self._received)

    def read_frames(self, number: int) -> None:
        """Read until so many frames came, all together."""
        while self.frames < number:
            if not self._read():
                raise EOFError(self._received)

    def opened(self) -> None:
        """Read until the handshake is answered."""
        self.read_until(b"\r\n\r\n")

    def read_to_end(self, deadline: float = 10.0) -> None:
        """Read until the server ends the connection.

        Raises:
            TimeoutError: It has not by the deadline, seconds.
        """
        ends = time.monotonic() + deadline
        try:
            while self._read():
                self._socket.settimeout(max(0.001, ends - time.monotonic()))
        except (BrokenPipeError, ConnectionResetError):
            # Of an answer that crossed the server's end, for example.
            self.was_reset = True

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self.send(frame(PONG, payload))

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

    def _write(self, data: bytes) -> None:
        self._socket.sendall(data)
        self.bytes_out += len(data)

    def _read(self) -> bool:
        """Take in what came and return whether the server may send more."""
        data = self._socket.recv(65536)
        self.bytes_in += len(data)
        self._received += data
        self._unparsed += data
        if not self._upgraded and self._received.startswith(b"HTTP/1.1 101"):
            _, self._upgraded, self._unparsed = _split(self._unparsed)
        while self._upgraded and (parsed := first_frame(self._unparsed)):
            opcode, payload, self._unparsed = parsed
            self.frames += 1
            if opcode == PING and self._pongs:
                self.pong(payload)
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big") or 1005
                if not self._closed:
                    self.send(close_frame())
        return bool(data)


class Holding(RawClient):
    """A client that reads in a thread of its own, and may hold each pong back.

    Args:
        address: The server's ``host:port``.
        path: Where it connects.
        hold: For how long it holds a pong back, seconds.

    Attributes:
        held: For how long it held each, seconds.
    """

    def __init__(self, address: str, path: str, hold: float = 0.0) -> None:
        super().__init__(address, path)
        self.held: list[float] = []
        self._hold = hold
        self.opened()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def pong(self, payload: bytes) -> None:
        """Answer a ping, later."""
        began = time.perf_counter()
        time.sleep(self._hold)
        super().pong(payload)
        self.held.append(time.perf_counter() - began)

    def close(self) -> None:
        """Leave, end the thread, and give the socket back."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        super().close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            self.read_to_end(60)


def _split(data: bytes) -> tuple[bytes, bool, bytes]:
    """Return the handshake's answer, whether it is whole, and what is left."""
    head, found, rest = data.partition(b"\r\n\r\n")
    return (head, True, rest) if found else (b"", False, data)
