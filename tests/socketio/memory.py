"""Managers whose bus is in memory: the base class's own paths, without a broker."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

from socketio import PubSubManager
from socketio.async_pubsub_manager import AsyncPubSubManager

__all__ = ["AsyncMemoryManager", "MemoryBus", "MemoryManager"]


class MemoryBus:
    """Gives everything that is published to everybody who listens, as text.

    Attributes:
        published: All of it.
        failure: What publishing raises, if anything.
        result: What publishing returns.
        loses: Whether what is published gets lost.
    """

    def __init__(self) -> None:
        self.published: list[Any] = []
        self.failure: Exception | None = None
        self.result: Any = None
        self.loses = False
        self.queues: list[Any] = []

    def publish(self, data: Any) -> Any:
        """Give it to all, unless told otherwise."""
        if self.failure is not None:
            raise self.failure
        self.published.append(data)
        if not self.loses:
            for each in self.queues:
                each.put_nowait(json.dumps(data))
        return self.result

    def inject(self, raw: Any) -> None:
        """Give something else to all."""
        for each in self.queues:
            each.put_nowait(raw)


class AsyncMemoryManager(AsyncPubSubManager):
    """For asyncio."""

    name = "asyncmemory"

    def __init__(self, bus: MemoryBus, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.bus = bus

    async def _publish(self, data: Any) -> Any:
        return self.bus.publish(data)

    async def _listen(self) -> AsyncIterator[Any]:
        mine: asyncio.Queue[Any] = asyncio.Queue()
        self.bus.queues.append(mine)
        while True:
            yield await mine.get()


class MemoryManager(PubSubManager):
    """For threads; `None` ends its listener."""

    name = "memory"

    def __init__(self, bus: MemoryBus, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.bus = bus

    def _publish(self, data: Any) -> Any:
        return self.bus.publish(data)

    def _listen(self) -> Iterator[Any]:
        mine: queue.Queue[Any] = queue.Queue()
        self.bus.queues.append(mine)
        while (raw := mine.get()) is not None:
            yield raw
