"""Two uvicorn processes and a real broker: one trace, true numbers, no silent death."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.servers.processes import Process, absent, free_port, started
from tests.support import until, wait_until

#: How long the broker is away at least, seconds.
AWAY: Final = float(os.environ.get("ASGI_WS_OBSERVE_TEST_AWAY", "1"))
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


@pytest.fixture(params=BUSES)
def bus(request: pytest.FixtureRequest) -> str:
    """Return the kind of broker."""
    return str(request.param)


async def hear(client: ClientConnection, within: float = 10.0) -> Any:
    """Return the next text that a client hears."""
    return json.loads(await asyncio.wait_for(client.recv(), within))["text"]


async def test_message_is_one_trace_from_a_handler_to_every_delivery(
    bus: str, tmp_path: Path
) -> None:
    """Published on A, delivered on both, in the trace of the message of A's client."""
    with broker(bus, tmp_path) as found, nodes(bus, found.url, tmp_path) as (a, b):
        async with a.connect() as speaker, b.connect() as listener:
            await until(lambda: b.number("ws_connections_active"))
            await speaker.send("hello")
            assert "hello" == await hear(listener) == await hear(speaker)
        await until(lambda: a.named("ws.upgrade /ws") and b.named("ws.deliver"))
        (upgrade,), (message,) = a.named("ws.upgrade /ws"), a.named("ws.message")
        (publish,) = a.named(f"{'nats' if bus == 'nats' else 'redis'}.publish")
        here, there = a.named("ws.deliver"), b.named("ws.deliver")
    traces = {span["trace"] for span in (upgrade, message, publish, *here, *there)}
    assert 1 == len(traces)
    assert (upgrade["span"], message["span"]) == (message["parent"], publish["parent"])
    assert [publish["span"]] * 2 == [span["parent"] for span in (*here, *there)]
    assert [("own", 1), ("other", 1)] == [
        (span["attributes"]["ws.fanout.origin"], span["attributes"]["ws.fanout.recipients"])
        for span in (*here, *there)
    ]


async def test_lag_is_what_a_clock_outside_says(bus: str, tmp_path: Path) -> None:
    """Within a tenth, while the broker is stopped for half a second and goes on."""
    with broker(bus, tmp_path) as found, nodes(bus, found.url, tmp_path) as (a, b):
        async with a.connect() as speaker:
            for round_ in range(4):
                found.signal(signal.SIGSTOP)
                try:
                    await speaker.send(f"while it is stopped {round_}")
                    await asyncio.sleep(0.3)
                finally:
                    found.signal(signal.SIGCONT)
                await until(
                    lambda number=round_ + 1: b.number("ws_fanout_delivered_total") == number  # type: ignore[misc]
                )
        for node, origin in ((a, "own"), (b, "other")):
            truth = json.loads(node.server.get("/truth"))
            assert 4 == len(truth) == node.number("ws_fanout_lag_seconds_count", origin=origin)
            lag = node.number("ws_fanout_lag_seconds_sum", origin=origin)
            assert sum(truth) == pytest.approx(lag, rel=0.1)


async def says_until_heard(speaker: ClientConnection, listener: ClientConnection) -> int:
    """Say something new until the other one hears it; return how often that took."""
    for number in range(100):
        await speaker.send(f"again {number}")
        try:
            while await hear(listener, 0.3) != f"again {number}":
                pass
        except asyncio.TimeoutError:
            continue
        return number + 1
    raise AssertionError("nothing is delivered any more")


async def outage(
    bus: str, folder: Path, begin: Callable[[Broker], None], end: Callable[[Broker], None]
) -> tuple[Node, Node]:
    """Talk from A to B before, during and after an outage, and hold what everybody has to hold."""
    with broker(bus, folder) as found, nodes(bus, found.url, folder) as (a, b):
        async with a.connect() as speaker, b.connect() as listener:
            await until(lambda: b.number("ws_connections_active"))
            await speaker.send("before")
            assert "before" == await hear(listener)
            tasks = [node.server.get("/tasks") for node in (a, b)]
            begin(found)
            ends = time.monotonic() + AWAY
            await until(lambda: all(not each.number("ws_fanout_listener_up") for each in (a, b)))
            await until(
                lambda: all(each.number("ws_fanout_probe_age_seconds") > 0.5 for each in (a, b))
            )
            for number in range(3):
                await speaker.send(f"during {number}")
            await until(lambda: time.monotonic() > ends, AWAY + 1)
            end(found)
            await until(lambda: all(each.number("ws_fanout_listener_up") for each in (a, b)), 30)
            if bus == "streams":
                assert [f"during {number}" for number in range(3)] == [
                    await hear(listener, 20) for _ in range(3)
                ]
            await says_until_heard(speaker, listener)
            await until(lambda: b.number("ws_fanout_probe_age_seconds") < 2)
            await until(lambda: a.number("ws_fanout_outbox_messages") == 0)
            said = a.number("ws_messages_total", direction="in")
            heard = b.number("ws_fanout_delivered_total")
            published = a.number("ws_fanout_published_total")
            assert said == published
            await until(lambda: b.number("ws_fanout_lost_total") == said - heard)
            assert bus != "streams" or said == heard
            assert 1 <= b.number("ws_fanout_reconnects_total")
            assert tasks == [node.server.get("/tasks") for node in (a, b)]
            for node in (a, b):
                downs = [line["event"] for line in node.server.lines() if "away" in line]
                assert downs
        return a, b


async def test_broker_that_is_killed_and_started_again(bus: str, tmp_path: Path) -> None:
    """Streams lose nothing; what Pub/Sub loses is counted exactly; nothing dies."""
    await outage(bus, tmp_path, Broker.kill, Broker.start)


async def test_network_that_pauses(bus: str, tmp_path: Path) -> None:
    """The same where the broker does not even say that it is gone."""

    def end(found: Broker) -> None:
        found.signal(signal.SIGCONT)

    def begin(found: Broker) -> None:
        found.signal(signal.SIGSTOP)

    await outage(bus, tmp_path, begin, end)
