"""Nodes of one application in processes of their own, and a real broker between them."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from websockets.asyncio.client import connect

from tests.fanout.brokers import nats_server
from tests.fanout.redis_servers import single
from tests.servers.processes import Process, free_port, started
from tests.support import wait_until

__all__ = ["BUSES", "Broker", "Node", "broker", "nodes"]

#: Kinds of brokers: Redis by Pub/Sub and by Streams, and NATS.
BUSES: Final = ("redis", "nats", "streams")


class Broker(Protocol):
    """A real broker that can be killed, paused and started again."""

    url: str

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


def broker(bus: str, folder: Path) -> AbstractContextManager[Broker]:
    """Return what runs a broker until the end of the block."""
    return nats_server() if bus == "nats" else single(folder / "broker", durable=bus == "streams")


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
