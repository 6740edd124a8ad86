"""Servers of python-socketio that are compared, and clients of theirs without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import socketio
from engineio.async_socket import AsyncSocket
from engineio.packet import Packet
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings
from asgi_ws_observe.socketio import instrument_server
from tests.benchmarks.cases import Dropped

__all__ = [
    *("ACK", "ALL", "BARE", "BODY", "CAPPED", "CONNECT", "EVENT", "MODES", "NO_SDK", "OUT"),
    *("Mode", "Node", "make_server"),
]

BARE: Final = "python-socketio alone"
NO_SDK: Final = "asgi_ws_observe: no SDK"
OUT: Final = "asgi_ws_observe: all events traced, sampled out"
CAPPED: Final = "asgi_ws_observe: default settings with an SDK, a flood"
ALL: Final = "asgi_ws_observe: all events traced, sampled"

BODY: Final = {"room": "general", "name": "ada", "text": "hello, everybody"}
#: Engine.IO's packets: a client asks for the namespace ``/``; sends an event, the acknowledgement
#: of which it waits for; gets that.
CONNECT: Final = "40"
EVENT: Final = '421["chat",{"room":"general","name":"ada","text":"hello, everybody"}]'
ACK: Final = '431["ok"]'


@dataclass(frozen=True)
class Mode:
    """How a server is observed.

    Attributes:
        sampled: What the SDK does with spans; `None` without one.
        event_spans: As of `instrument_server`.
        spans: What has spans: ``"none"``, ``"some"`` (as many a second as are allowed), ``"all"``.
    """

    sampled: bool | None
    event_spans: Literal["all", "capped"] = "capped"
    spans: Literal["none", "some", "all"] = "none"

    def observe(self, server: Any, registry: CollectorRegistry, processor: SpanProcessor) -> None:
        """Observe a server; its spans go to the processor."""
        provider = None
        if self.sampled is not None:
            # Sampled by the SDK's own default.
            provider = TracerProvider() if self.sampled else TracerProvider(sampler=ALWAYS_OFF)
            provider.add_span_processor(processor)
        instrument_server(
            server,
            registry=registry,
            tracer_provider=provider,
            event_spans=self.event_spans,
            settings=Settings(log_handler="off", log_open=False, log_close=False),
        )


#: Name -> how it is observed; `None` is not at all.
MODES: Final[dict[str, Mode | None]] = {
    BARE: None,
    NO_SDK: Mode(None),
    OUT: Mode(False, "all"),
    CAPPED: Mode(True, "capped", "some"),
    ALL: Mode(True, "all", "all"),
}


def make_server(**options: Any) -> Any:
    """Return a server whose one handler acknowledges."""
    server = socketio.AsyncServer(async_mode="asgi", **options)

    async def chat(sid: str, data: Any) -> str:
        return "ok"

    server.on("chat", chat)
    return server


class Node:
    """A server with clients whose packets come from nowhere and wait in their queues.

    Args:
        mode: How it is observed.
        manager: Its manager.

    Attributes:
        server: The python-socketio server.
        registry: Its metrics.
        sids: Its clients.
    """

    def __init__(self, mode: Mode | None, manager: Any = None) -> None:
        self.server = make_server(client_manager=manager)
        self.registry = CollectorRegistry()
        self.sids: list[str] = []
        self._dropped = Dropped()
        self._sockets: list[Any] = []
        if mode is not None:
            mode.observe(self.server, self.registry, self._dropped)

    @property
    def spans(self) -> int:
        """How many spans have ended."""
        return self._dropped.number

    async def connect(self, clients: int) -> None:
        """Connect so many clients to the namespace ``/``."""
        engine = self.server.eio
        for _ in range(clients):
            socket = AsyncSocket(engine, engine.generate_id())
            engine.sockets[socket.sid] = socket
            socket.connected = socket.upgraded = True
            # No ping is out.
            socket.last_ping = None
            await engine._trigger_event("connect", socket.sid, {}, run_async=False)
            await socket.receive(Packet(encoded_packet=CONNECT))
            self._sockets.append(socket)
            self.sids.append(self.server.manager.sid_from_eio_sid(socket.sid, "/"))
        assert clients == self.drain()

    async def enter(self, room: str, clients: int) -> None:
        """Let the first so many clients enter a room."""
        for sid in self.sids[:clients]:
            await self.server.enter_room(sid, room)

    def drain(self) -> int:
        """Empty the queues; return how many packets waited there."""
        return sum(1 for socket in self._sockets for _ in _taken(socket.queue))

    async def events(self, number: int) -> None:
        """Let clients send events, one after the other, and take their acknowledgements."""
        sockets = self._sockets
        for each in range(number):
            socket = sockets[each % len(sockets)]
            await socket.receive(Packet(encoded_packet=EVENT))
            assert (await socket.queue.get()).encode() == ACK

    async def emits(self, number: int, to: str | None) -> None:
        """Emit so many events to a room, or to a client."""
        for _ in range(number):
            await self.server.emit("chat", BODY, to=to)


def _taken(queue: asyncio.Queue[Any]) -> Iterator[Any]:
    while not queue.empty():
        yield queue.get_nowait()
