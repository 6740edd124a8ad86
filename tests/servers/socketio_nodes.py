"""Nodes that serve Socket.IO in processes of their own, and clients of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import aiohttp
import socketio

from tests.fanout.redis_servers import RedisServer, single
from tests.servers.nodes import Node
from tests.servers.processes import Process, free_port, started
from tests.servers.raw import TEXT, RawClient, frame

__all__ = [
    "IS_TOLD",
    "PATHS",
    "Carrier",
    "Client",
    "RawSocketIO",
    "Since",
    "Site",
    "client",
    "node",
    "pair",
]

#: Whether python-socketio says why a client left, as 5.12 was the first to do. With the oldest ones
#: goes an Engine.IO that never sees that a client polls no more.
IS_TOLD: Final = tuple(map(int, version("python-socketio").split(".")[:2])) >= (5, 12)
#: Nodes run by this; that of an environment with another version of python-socketio can be given.
PYTHON: Final = os.environ.get("SIO_PYTHON", sys.executable)
#: Where each server of a node is.
PATHS: Final = {
    "main": "/socket.io/",
    **{name: f"/{name}/socket.io/" for name in ("quick", "bare", "wild")},
}


@dataclass
class Site(Node):
    """One node.

    Attributes:
        last: Where its metrics are when it has ended.
    """

    last: Path

    def lines(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Return the log lines of an event that have at least these fields."""
        every = self.server.lines(event)
        return [line for line in every if fields.items() <= line.items()]

    def spans_of(self, name: str, **facts: Any) -> list[dict[str, Any]]:
        """Return the finished spans of a name that have at least these facts.

        Args:
            name: The whole name.
            facts: ``trace`` or ``parent``, or an attribute's last word.
        """

        def fits(span: dict[str, Any]) -> bool:
            words = {each.rpartition(".")[2]: got for each, got in span["attributes"].items()}
            return facts.items() <= (words | span).items()

        return [span for span in self.named(name) if fits(span)]


class Since:
    """By how much a node's numbers have grown.

    Args:
        site: The node.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._before = site.server.exposition()

    def __call__(self, name: str, **labels: str) -> float:
        """Return by how much the sum of a metric's samples has grown."""
        return self._site.number(name, **labels) - self._before.total(name, **labels)


@contextmanager
def node(
    folder: Path,
    name: str = "a",
    bus: str = "",
    ws: str = "auto",
    python: str = PYTHON,
    **environment: str,
) -> Iterator[Site]:
    """Run a node until the end of the block; none of our own code may have failed in it.

    Args:
        folder: Where its files are.
        name: What they are called.
        bus: Redis's URL; empty for a node that is alone.
        ws: uvicorn's implementation of WebSockets.
        python: Which interpreter.
        environment: More of its environment.
    """
    port = free_port()
    log, spans, last = (folder / f"{name}.{kind}" for kind in ("log", "spans", "last"))
    command = [python, "-m", "uvicorn", "tests.servers.socketio_app:app"]
    given = ["--port", str(port), "--timeout-graceful-shutdown", "2", "--ws", ws]
    files = {"SIO_SPANS": str(spans), "SIO_LAST": str(last), "ASGI_WS_OBSERVE_LOOK_INTERVAL": "0.2"}
    with started([*command, *given], port, log, SIO_BUS=bus, **files, **environment) as process:
        site = Site(Process(f"127.0.0.1:{port}", process, log), spans, last)
        yield site
        if process.poll() is None:
            assert {} == site.server.own_errors()


@contextmanager
def pair(folder: Path, python: str = PYTHON) -> Iterator[tuple[Site, Site, RedisServer]]:
    """Run two nodes and the Redis between them until the end of the block."""
    with ExitStack() as stack:
        redis = stack.enter_context(single(folder / "redis"))
        found = [
            stack.enter_context(node(folder, name, redis.url, python=python)) for name in ("a", "b")
        ]
        yield found[0], found[1], redis


class Carrier:
    """The trace context of a client.

    Attributes:
        trace: The trace's id.
        span: The id of the client's span.
        payload: What the client appends to an event.
    """

    def __init__(self) -> None:
        self.trace, self.span = secrets.token_hex(16), secrets.token_hex(8)
        self.payload = {"traceparent": f"00-{self.trace}-{self.span}-01"}


class Client:
    """A client of the library python-socketio.

    Attributes:
        sio: The library's own.
        heard: The arguments of each ``said``.
        answers: What it acknowledges a ``question`` with.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.sio: Any = socketio.AsyncClient(reconnection=False, http_session=session)
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.answers = "blue"
        self.sio.on("said", self._said)
        self.sio.on("question", self._question)

    @property
    def sid(self) -> str:
        """Who it is in the namespace ``/``."""
        return str(self.sio.get_sid())

    async def call(self, event: str, *args: Any, namespace: str = "/") -> Any:
        """Emit an event and return what the server acknowledges it with."""
        return await self.sio.call(event, args, namespace=namespace, timeout=10)

    async def hear(self) -> tuple[Any, ...]:
        """Return what the client is told next."""
        return await asyncio.wait_for(self.heard.get(), 10)

    async def _said(self, *args: Any) -> None:
        self.heard.put_nowait(args)

    async def _question(self, *_: Any) -> str:
        while not self.answers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return self.answers


async def _read(_: Any, __: Any, given: aiohttp.TraceRequestEndParams) -> None:
    """Read an answer that the library leaves unread, of which aiohttp would complain."""
    if given.response.status != 101:
        await given.response.read()


@asynccontextmanager
async def client(
    site: Site,
    server: str = "main",
    *,
    query: str = "",
    transports: tuple[str, ...] = ("websocket",),
    namespaces: tuple[str, ...] = ("/",),
    auth: Any = None,
    address: str = "",
) -> AsyncIterator[Client]:
    """Connect a client until the end of the block; by another address than the node's, if given."""
    reading = aiohttp.TraceConfig()
    reading.on_request_end.append(_read)
    async with aiohttp.ClientSession(trace_configs=[reading]) as session:
        found = Client(session)
        await found.sio.connect(
            f"http://{address or site.server.address}?{query}",
            transports=list(transports),
            namespaces=list(namespaces),
            socketio_path=PATHS[server],
            auth=auth,
            wait_timeout=10,
        )
        try:
            yield found
        finally:
            await found.sio.disconnect()


class RawSocketIO(RawClient):
    """A client over a bare WebSocket, which answers none of Engine.IO's pings.

    Args:
        site: The node.
        server: Which of its servers.
        more: More of the query string.
    """

    def __init__(self, site: Site, server: str = "main", more: str = "") -> None:
        path = f"{PATHS[server]}?EIO=4&transport=websocket{more}"
        super().__init__(site.server.address, path)
        self.opened()

    def say(self, packet: str) -> None:
        """Send a packet, which begins with Engine.IO's type and Socket.IO's."""
        self.send(frame(TEXT, packet.encode()))

    def skip_until(self, needle: bytes) -> None:
        """Read until these bytes came, as fast as can be, and keep nothing."""
        tail = b""
        while needle not in tail:
            data = self._socket.recv(1 << 20)
            assert data
            tail = tail[-len(needle) :] + data

    def skip(self, size: int) -> None:
        """Read so many bytes at most, and keep nothing."""
        assert self._socket.recv(size)

    def emit(self, *event: Any, number: int | str = "", namespace: str = "/") -> None:
        """Send an event; with a number, one that is to be acknowledged."""
        place = "" if namespace == "/" else f"{namespace},"
        self.say(f"42{place}{number}{json.dumps(event)}")

    def call(self, *event: Any, number: int, namespace: str = "/") -> None:
        """Send an event and wait for its acknowledgement."""
        self.emit(*event, number=number, namespace=namespace)
        place = "" if namespace == "/" else f"{namespace},"
        self.read_until(f"43{place}{number}[".encode())

    def enter(self, namespace: str = "/", auth: Any = None) -> str:
        """Connect to a namespace, and return who the client is there."""
        place = "" if namespace == "/" else f"{namespace},"
        self.say(f"40{place}{'' if auth is None else json.dumps(auth)}")
        self.read_until(f'40{place}{{"sid"'.encode())
        found = re.search(rf'40{place}{{"sid":"([^"]+)"'.encode(), self.got)
        assert found is not None
        return found[1].decode()
