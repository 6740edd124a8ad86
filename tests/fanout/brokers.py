"""Real brokers in processes of their own, which a test kills, stops and starts again."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.servers.processes import absent, answers, free_port
from tests.support import wait_until

__all__ = ["Line", "NatsServer", "line_to", "nats_server"]


class NatsServer:
    """A nats-server on loopback.

    Args:
        port: Where it listens.
        options: More arguments of its command line.

    Attributes:
        url: What clients connect to.
    """

    def __init__(self, port: int, *options: str) -> None:
        program = shutil.which("nats-server")
        if program is None:
            absent("no nats-server: apt-get install nats-server")
        self.port = port
        self.url = f"nats://127.0.0.1:{port}"
        self._command = [program, "-a", "127.0.0.1", "-p", str(port), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: answers(self.port))

    def pause(self) -> None:
        """Stop it as it is: its connections stay, and nobody answers."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power failure does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


@contextmanager
def nats_server(*options: str, port: int | None = None) -> Iterator[NatsServer]:
    """Run a nats-server until the end of the block.

    Args:
        options: More arguments of its command line.
        port: Where it listens. Default: where nobody does.
    """
    server = NatsServer(port or free_port(), *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class Line:
    """A way to a server that can be cut.

    Args:
        port: Where the server listens.

    Attributes:
        url: What a client connects to instead.
    """

    def __init__(self, port: int) -> None:
        self._far_port = port
        self._port = free_port()
        self.url = f"nats://127.0.0.1:{self._port}"
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Take connections."""
        self._listener = await asyncio.start_server(self._join, "127.0.0.1", self._port)

    def blink(self) -> None:
        """End all connections, and take new ones."""
        for writer in self._writers:
            writer.close()

    def cut(self) -> None:
        """End all connections, and take no more."""
        if self._listener is not None:
            self._listener.close()
        self.blink()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, out = await asyncio.open_connection("127.0.0.1", self._far_port)
        self._writers |= {writer, out}
        await asyncio.gather(_carry(reader, out), _carry(far, writer))
        self._writers -= {writer, out}


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while found := await reader.read(65536):
            writer.write(found)
    writer.close()


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """Carry connections to a port until the end of the block."""
    line = Line(port)
    await line.open()
    try:
        yield line
    finally:
        line.cut()


def permissions(path: Path, *allowed: str) -> Path:
    """Write a configuration in which everybody may use these subjects only, and return it."""
    names = ", ".join(f'"{name}"' for name in allowed)
    rights = f"default_permissions {{ publish: [{names}], subscribe: [{names}] }}"
    users = "users: [ { user: somebody, password: something } ]"
    path.write_text(f"authorization {{\n  {rights}\n  {users}\n}}\n")
    return path
