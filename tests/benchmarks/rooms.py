"""A hub in the server that is measured, and what the benchmark asks of it by HTTP."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Final

from prometheus_client import CollectorRegistry
from starlette.websockets import WebSocket

from asgi_ws_observe.fanout import Hub, Member
from asgi_ws_observe.metrics.prometheus import numbers_of
from tests.benchmarks.results import Json

__all__ = ["EVERYBODY", "Rooms"]

#: The path of those who only listen; who comes by another path also has that one as a room.
EVERYBODY: Final = "/hub/everybody"
#: Bytes of a message that fills a queue.
_LARGE: Final = 65_536


class Rooms:
    """WebSockets at ``/hub/...``, all of them in one room.

    Args:
        registry: What the hub counts in.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._made: Hub | None = None
        self._members: dict[str, Member] = {}

    @property
    def _hub(self) -> Hub:
        # Other parts measure a server without one.
        if self._made is None:
            self._made = Hub(registry=self._registry)
        return self._made

    async def talk(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a WebSocket in until its client leaves."""
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        path = scope["path"]
        async with self._hub.join(EVERYBODY, websocket), self._hub.join(path, websocket) as member:
            self._members[path] = member
            while (await websocket.receive())["type"] != "websocket.disconnect":
                pass

    async def size(self) -> Json:
        """Tell how many are in."""
        return {"open": self._hub.members(EVERYBODY)}

    async def fill(self, path: str) -> Json:
        """Send to a client that does not read until its queue is full; tell how many wait."""
        dropped = numbers_of(self._registry).store.channel("hub").dropped
        before = dropped["queue_full"]
        number = 0
        while dropped["queue_full"] == before:
            number += 1
            # Each its own, since queues share a payload.
            self._hub.send(path, f"{number}".ljust(_LARGE))
            await asyncio.sleep(0)
        return {"queued": self._members[path].queued}

    async def publish(self, number: str, interval: str) -> Json:
        """Send to everybody, one message each so many seconds, and wait for those who read."""
        began = perf_counter()
        for each in range(int(number)):
            await asyncio.sleep(began + each * float(interval) - perf_counter())
            sent = self._hub.send(EVERYBODY, f"{perf_counter():.9f}".ljust(64))
        return {"recipients": sent.recipients}
