"""A hub on real servers: one client that stops reading, and many that do not notice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from asgi_ws_observe.fanout import Hub
from tests.servers.harness import IMPLEMENTATIONS, serving
from tests.servers.raw import RawClient
from tests.support import get_from, sample, total, until, wait_until

SERVERS: Final = (*((each, "asyncio") for each in IMPLEMENTATIONS), ("websockets-sansio", "uvloop"))
pytestmark = [
    # uvicorn's oldest implementation, and the part of websockets that it is made of
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
    pytest.mark.parametrize(("implementation", "loop"), SERVERS),
]

READERS: Final = 5
#: Together more than the kernel and the server hold for a client that does not read.
MESSAGES, SIZE = 240, 65_536
QUEUE: Final = 16


class Room:
    """An application with a hub, on a server.

    Args:
        policy: The hub's.
        arguments: More of the hub's.

    Attributes:
        registry: What it counts.
        hub: The hub.
        address: Where it is served.
        left: How many handlers have ended.
        most_queued: The longest queue after a message.
    """

    def __init__(self, policy: Any, **arguments: Any) -> None:
        self.registry = CollectorRegistry()
        self.hub = Hub(queue=QUEUE, policy=policy, registry=self.registry, **arguments)
        self.address = ""
        self.left = self.most_queued = 0

    async def join(self, websocket: WebSocket) -> None:
        """Be in the room until the client leaves, as a handler is."""
        await websocket.accept()
        async with self.hub.join("room", websocket) as member:
            self.members.append(member)
            async for _ in websocket.iter_text():
                pass
        self.left += 1

    async def publish(self, request: Any) -> Any:
        """Send all messages, each when all who read have the one before."""
        for number in range(MESSAGES):
            sent = self.hub.send("room", f"{number:06}".ljust(SIZE, "x"))
            await until(lambda: sent.delivered >= READERS)  # noqa: B023
            self.most_queued = max(self.most_queued, *(each.queued for each in self.members))
        return PlainTextResponse("published")

    @contextmanager
    def served(self, implementation: str, loop: str) -> Iterator[Room]:
        """Serve it until the end of the block."""
        self.members: list[Any] = []
        app = Starlette(
            routes=[WebSocketRoute("/room", self.join), Route("/publish", self.publish)]
        )
        app.add_middleware(
            WebSocketObserveMiddleware,
            registry=self.registry,
            settings=Settings(log_handler="off", look_interval=0.05),
        )
        with serving(app, implementation, loop=loop) as self.address:
            yield self

    def closes(self) -> dict[tuple[str, ...], float]:
        """Return how often connections ended in which way."""
        return {
            tuple(each.labels[name] for name in ("code", "closed_by", "reason")): each.value
            for family in self.registry.collect()
            for each in family.samples
            if each.name == "ws_closes_total" and each.value
        }

    def dropped(self, reason: str) -> float | None:
        """Return how many messages were dropped for a reason."""
        return sample(self.registry, "ws_messages_dropped_total", channel="hub", reason=reason)


async def read_all(room: Room) -> list[list[int]]:
    """Return the numbers of the messages that each client got that reads, published meanwhile."""
    async with AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(
                connect(f"ws://{room.address}/room", compression=None, max_size=None)
            )
            for _ in range(READERS)
        ]
        await until(lambda: room.hub.members("room") == READERS + 1)
        publishing = asyncio.create_task(asyncio.to_thread(get_from, room.address, "/publish"))
        got = await asyncio.gather(*map(read, readers))
        await publishing
        return got


async def read(reader: ClientConnection) -> list[int]:
    """Return the numbers of the messages."""
    return [int((await asyncio.wait_for(reader.recv(), 30))[:6]) for _ in range(MESSAGES)]


def test_client_that_stops_reading_misses_what_is_counted(implementation: str, loop: str) -> None:
    """The others get all in order; it gets the newest later, and not one is unaccounted for."""
    room = Room("drop_oldest")
    with room.served(implementation, loop), closing(RawClient(room.address, "/room")) as slow:
        slow.opened()
        assert [[*range(MESSAGES)]] * READERS == asyncio.run(read_all(room))
        depth = {"route": "/room", "direction": "out"}
        wait_until(lambda: sample(room.registry, "ws_queue_depth_max", **depth) == QUEUE + 1)
        dropped = int(room.dropped("queue_full") or 0)
        assert dropped > QUEUE
        assert QUEUE == room.most_queued
        slow.read_frames(MESSAGES - dropped)
        got = [int(each) for each in re.findall(rb"(\d{6})x", slow.got)]
        assert sorted({*got, *range(MESSAGES - QUEUE, MESSAGES)}) == got
        assert MESSAGES - dropped == len(got)
        wait_until(
            lambda: (
                dropped + total(room.registry, "ws_messages_total", direction="out")
                == MESSAGES * (READERS + 1)
            )
        )
        recipients = sample(room.registry, "ws_fanout_recipients_sum", channel="hub")
        assert MESSAGES * (READERS + 1) == recipients


def test_client_that_stops_reading_is_closed(implementation: str, loop: str) -> None:
    """Its handler ends though nothing reaches it any more; the others get all in order."""
    room = Room("close", close_timeout=0.5)
    with room.served(implementation, loop), closing(RawClient(room.address, "/room")) as slow:
        slow.opened()
        assert [[*range(MESSAGES)]] * READERS == asyncio.run(read_all(room))
        wait_until(lambda: room.left == READERS + 1)
        assert 1 == room.dropped("queue_full")
        # What waited, and the one whose `send()` was waiting.
        assert QUEUE + 1 == room.dropped("closed")
        wait_until(lambda: sum(room.closes().values()) == READERS + 1)
        code = "1013" if implementation == "websockets" else "1006"
        assert {(code, "server", "overload"): 1, ("1000", "client", "normal"): READERS} == (
            room.closes()
        )


def test_client_that_reads_again_is_told_to_come_later(implementation: str, loop: str) -> None:
    """The close frame with 1013 comes after what the server had of messages."""
    room = Room("close")
    with room.served(implementation, loop), closing(RawClient(room.address, "/room")) as slow:
        slow.opened()
        asyncio.run(read_all(room))
        wait_until(lambda: room.dropped("queue_full"))
        slow.read_to_end()
        assert 1013 == slow.close_code
        slow.close()
        wait_until(lambda: room.left == READERS + 1)
        wait_until(lambda: ("1013", "server", "overload") in room.closes())
