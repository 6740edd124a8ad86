"""What was said in the rooms: in memory, or in a Redis where all nodes find it."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any, Final, Protocol

from opentelemetry import trace
from opentelemetry.trace import SpanKind

__all__ = ["Message", "Store", "opened"]

Message = dict[str, Any]

tracer = trace.get_tracer("demo_app")

#: Messages that are kept of a room, and rooms that are kept in memory.
_KEPT: Final = 50
_ROOMS: Final = 500
#: How long Redis keeps a room where nobody talks, seconds.
_EXPIRES: Final = 3600
#: How long Redis may take, seconds: the chat goes on without.
_PATIENCE: Final = 1.0


class Store(Protocol):
    """Keeps messages."""

    system: str

    async def append(self, room: str, message: Message) -> None:
        """Keep a message."""

    async def last(self, room: str) -> list[Message]:
        """Return the last messages, the oldest first."""

    async def is_up(self) -> bool:
        """Return whether it answers."""


@contextmanager
def _span(name: str, system: str) -> Iterator[None]:
    with tracer.start_as_current_span(
        name, kind=SpanKind.CLIENT, attributes={"db.system.name": system}
    ):
        yield


class _Memory:
    system = "memory"

    def __init__(self) -> None:
        self._rooms: dict[str, deque[Message]] = defaultdict(lambda: deque(maxlen=_KEPT))

    async def append(self, room: str, message: Message) -> None:
        with _span("store.append", self.system):
            if room not in self._rooms and len(self._rooms) >= _ROOMS:
                del self._rooms[next(iter(self._rooms))]
            self._rooms[room].append(message)

    async def last(self, room: str) -> list[Message]:
        with _span("store.last", self.system):
            return list(self._rooms.get(room, ()))

    async def is_up(self) -> bool:
        return True


class _Redis:
    system = "redis"

    def __init__(self, client: Any) -> None:
        self._client = client

    async def append(self, room: str, message: Message) -> None:
        with _span("store.append", self.system):
            key = _key(room)
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.rpush(key, json.dumps(message))
                pipeline.ltrim(key, -_KEPT, -1)
                pipeline.expire(key, _EXPIRES)
                await pipeline.execute()

    async def last(self, room: str) -> list[Message]:
        with _span("store.last", self.system):
            return [json.loads(each) for each in await self._client.lrange(_key(room), 0, -1)]

    async def is_up(self) -> bool:
        try:
            return bool(await self._client.ping())
        except Exception:  # noqa: BLE001
            return False


def _key(room: str) -> str:
    return f"demo_app:history:{room}"


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[Store]:
    """Open a store for the length of a block.

    Args:
        url: A Redis; `None` for one in memory.
    """
    if not url:
        yield _Memory()
        return
    client = import_module("redis.asyncio").from_url(
        url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE
    )
    try:
        yield _Redis(client)
    finally:
        await client.aclose()
