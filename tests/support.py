"""What several test files need: a server by hand, spans in memory, samples of a registry."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

import httpx
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

CONNECT: dict[str, Any] = {"type": "websocket.connect"}
NO_HEADERS: Final[Mapping[str, str]] = {}
ACCEPT: dict[str, Any] = {"type": "websocket.accept"}


def text(payload: str) -> dict[str, Any]:
    """Return a message as uvicorn hands it to an application."""
    return {"type": "websocket.receive", "text": payload}


def disconnect(code: int = 1000, reason: str | None = "") -> dict[str, Any]:
    """Return a disconnect; without the key ``reason`` where it is `None`."""
    event: dict[str, Any] = {"type": "websocket.disconnect", "code": code}
    return event if reason is None else event | {"reason": reason}


def scope(path: str = "/ws", **more: Any) -> dict[str, Any]:
    """Return the scope of a WebSocket."""
    return {
        "type": "websocket",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"example.org:8000")],
        "scheme": "ws",
        "client": ("192.0.2.7", 51000),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
        "extensions": {},
    } | more


class Server:
    """Stands in for a server towards an ASGI application: hands out events, keeps what it gets.

    Args:
        events: What `receive` hands out, in order. After the last one it repeats the last, as
            uvicorn's legacy implementation does.
    """

    def __init__(self, events: Iterable[dict[str, Any]]) -> None:
        self.events = list(events)
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        return self.events.pop(0) if len(self.events) > 1 else self.events[0]

    async def send(self, message: Any) -> None:
        self.sent.append(message)


class Spans:
    """A tracer provider with what it exported.

    Attributes:
        provider: The provider.
    """

    def __init__(self, **arguments: Any) -> None:
        self.provider = TracerProvider(**arguments)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def all(self) -> list[ReadableSpan]:
        """Return every finished span, in the order of their ends."""
        return list(self._exporter.get_finished_spans())

    def named(self, prefix: str) -> list[ReadableSpan]:
        """Return the finished spans whose names begin so."""
        return [span for span in self.all() if span.name.startswith(prefix)]


def talk(app: ASGIApp, path: str = "/ws") -> None:
    """Say something to an application that answers."""
    server = Server([CONNECT, text("hello"), disconnect()])

    async def connect() -> None:
        await app(scope(path), server.receive, server.send)

    asyncio.run(connect())
    assert ["hello"] == [message["text"] for message in server.sent if message.get("text")]


def get(app: ASGIApp, path: str, headers: Mapping[str, str] = NO_HEADERS) -> httpx.Response:
    """Ask an application once, without following redirects."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.get(path, headers=dict(headers))

    return asyncio.run(ask())


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Return one sample's value, `None` where it does not exist."""
    return registry.get_sample_value(name, labels)


def total(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """Return the sum of the samples of this name that have at least these labels."""
    return sum(
        each.value
        for family in registry.collect()
        for each in family.samples
        if each.name == name and labels.items() <= each.labels.items()
    )


def counted(registry: CollectorRegistry, name: str, *labels: str) -> dict[Any, float]:
    """Return what is not zero of a metric, by the value of one label, or by those of several."""
    found = {}
    for family in registry.collect():
        for each in family.samples:
            if each.name == name and each.value:
                key = tuple(each.labels[label] for label in labels)
                found[key if len(key) > 1 else key[0]] = each.value
    return found


async def until(condition: Callable[[], object], deadline: float = 10.0) -> None:
    """Wait for a condition, on an event loop.

    Raises:
        TimeoutError: It does not hold by the deadline, seconds.
    """

    async def holds() -> None:
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    await asyncio.wait_for(holds(), deadline)


def wait_until(condition: Callable[[], object], deadline: float = 10.0) -> None:
    """Wait for a condition, from a thread that is no event loop's.

    Raises:
        AssertionError: It does not hold by the deadline, seconds.
    """
    ends = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < ends, "the condition does not hold by the deadline"
        time.sleep(0.01)


@contextmanager
def posts(take: Callable[[str, dict[str, str], bytes], None]) -> Iterator[int]:
    """Take the path, the headers and the body of each request to the port that this yields."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            take(self.path, dict(self.headers.items()), body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def get_from(address: str, path: str) -> str:
    """Return what a server answers to a GET."""
    return httpx.get(f"http://{address}{path}", timeout=60).text
