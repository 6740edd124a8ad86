"""What lies between two ends: a relay that delays, cuts, swallows or leads astray; and nginx."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from tests.laboratory.harness.loops import LoopThread
from tests.laboratory.harness.ports import stable_port
from tests.laboratory.harness.programs import Program
from tests.servers.nginx import nginx_command

__all__ = ["Relay", "nginx"]

_Writers = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class Relay:
    """Forwards TCP connections.

    Args:
        loop: Where it runs.
        upstream: Where it leads, ``host:port``.

    Attributes:
        address: Its own ``host:port``.
        upstream: Where new connections lead.
        delay: How long every byte takes in each direction, seconds.
        delays: Says of what a connection's client has sent whether the delay is for it. Default: it
            is for all.
        swallows: Says of what a connection's client has sent whether more of it is dropped; what
            the other end sends still comes through.
    """

    def __init__(self, loop: LoopThread, upstream: str) -> None:
        self.upstream = upstream
        self.delay = 0.0
        self.delays: Callable[[bytes], bool] = lambda sent: True
        self.swallows: Callable[[bytes], bool] = lambda sent: False
        self._loop = loop
        self._open: dict[_Writers, bytearray] = {}
        port = stable_port()
        self.address = f"127.0.0.1:{port}"
        self._server = loop.run(asyncio.start_server(self._serve, "127.0.0.1", port))

    def cut(self, which: Callable[[bytes], bool] = lambda sent: True) -> None:
        """Cut the connections whose clients have sent what this says yes to."""
        self._loop.run(self._cut(which))

    def close(self) -> None:
        """Listen no more, and cut all connections."""
        self._loop.loop.call_soon_threadsafe(self._server.close)
        self.cut()

    async def _cut(self, which: Callable[[bytes], bool]) -> None:
        for writers, sent in list(self._open.items()):
            if which(bytes(sent)):
                for writer in writers:
                    writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.upstream.partition(":")
        try:
            far_reader, far = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        sent = self._open[writer, far] = bytearray()
        try:
            await asyncio.gather(
                self._forward(reader, far, sent, is_up=True),
                self._forward(far_reader, writer, sent, is_up=False),
            )
        finally:
            del self._open[writer, far]
            for each in (writer, far):
                each.close()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sent: bytearray,
        *,
        is_up: bool,
    ) -> None:
        """Forward one direction; the beginning of what the client sends is kept in `sent`."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if is_up and len(sent) < 4096:
                    sent += data
                if is_up and self.swallows(bytes(sent)):
                    continue
                if self.delay and self.delays(bytes(sent)):
                    loop.call_later(self.delay, _write, writer, data)
                else:
                    writer.write(data)
                    await writer.drain()
        # The other direction may have more to say, but nobody here half-closes on purpose.
        loop.call_later(self.delay, writer.close)


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)


def nginx(directory: Path, upstreams: list[str], timeout: int) -> Program:
    """Return nginx in front of nodes, which cuts what is idle for so many seconds."""
    port = stable_port()
    command = nginx_command(directory, port, upstreams, timeout)
    return Program(command, port, directory / "nginx.log")
