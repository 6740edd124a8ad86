"""Nodes of one application in processes of their own, and a real broker between them."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import connect

from tests.servers.processes import Process, absent, free_port, started
from tests.support import wait_until

__all__ = ["BUSES", "Broker", "Node", "broker", "nodes"]

#: Kinds of brokers: Redis by Pub/Sub and by Streams, and NATS.
BUSES: Final = ("redis", "nats", "streams")


@dataclass
class Broker:
    """A real broker that can be killed, paused and started again.

    Attributes:
        url: Where it is.
        command: What starts it.
        port: Where it listens.
        folder: Where its output goes.
    """

    url: str
    command: list[str]
    port: int
    folder: Path
    _stack: ExitStack = field(default_factory=ExitStack)
    _process: Any = None

    def start(self) -> None:
        """Start it, again on the same port."""
        log = self.folder / "broker.log"
        self._process = self._stack.enter_context(started(self.command, self.port, log))

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it for good."""
        self._stack.close()


@contextmanager
def broker(bus: str, folder: Path) -> Iterator[Broker]:
    """Run a broker until the end of the block."""
    name = "nats-server" if bus == "nats" else "redis-server"
    program = shutil.which(name)
    if program is None:
        absent(f"no {name}; get it: apt-get install {name}")
    port = free_port()
    if bus == "nats":
        found = Broker(
            f"nats://127.0.0.1:{port}", [program, "-a", "127.0.0.1", "-p", str(port)], port, folder
        )
    else:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
        kept = ["--appendonly", "yes", "--appendfsync", "always"] if bus == "streams" else []
        found = Broker(f"redis://127.0.0.1:{port}", [program, *options, *kept], port, folder)
    found.start()
    try:
        yield found
    finally:
        found.stop()


@dataclass
class Node:
    """One node.

    Attributes:
        server: Its process.
        spans: Where its spans are.
    """

    server: Process
    spans: Path

    def connect(self) -> connect:
        """Return what connects a client to it."""
        return connect(f"ws://{self.server.address}/ws")

    def number(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples."""
        return self.server.total(name, **labels)

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the finished spans of a name."""
        lines = self.spans.read_text().splitlines() if self.spans.exists() else []
        return [span for span in map(json.loads, lines) if span["name"] == name]


@contextmanager
def nodes(bus: str, url: str, folder: Path) -> Iterator[tuple[Node, Node]]:
    """Run two nodes until the end of the block."""
    with ExitStack() as stack:
        found = []
        for name in ("a", "b"):
            port, spans = free_port(), folder / f"{name}.spans"
            command = [sys.executable, "-m", "uvicorn", "tests.servers.node_app:app"]
            process = stack.enter_context(
                started(
                    [*command, "--port", str(port)],
                    port,
                    folder / f"{name}.log",
                    NODE_BUS=url,
                    NODE_SPANS=str(spans),
                    NODE_MODE="streams" if bus == "streams" else "pubsub",
                )
            )
            server = Process(f"127.0.0.1:{port}", process, folder / f"{name}.log")
            found.append(Node(server, spans))
        for node in found:
            wait_until(lambda node=node: node.number("ws_fanout_listener_up"))  # type: ignore[misc]
        yield found[0], found[1]
        for node in found:
            assert [] == node.server.lines("ws_error")
            assert {} == node.server.own_errors()
            assert -signal.SIGTERM == node.server.end()
            log = node.server.log.read_text()
            assert "Application shutdown complete" in log
            assert "Traceback" not in log
