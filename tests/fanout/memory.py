"""A broker in memory, which does what a test wants of one at a certain moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from asgi_ws_observe.fanout.broker import Broker, Name, Received

__all__ = ["Bus", "MemoryBroker"]


class Bus:
    """What brokers of one test are connected to.

    Attributes:
        listeners: Those that listen.
        log: Everything that was published: topic, payload, headers.
        problem: Raised by whatever is asked of it, where it is set.
        mute: Whether it takes everything and delivers nothing.
        silent: Whether it does not even answer pings.
        slow: Set by a test: publishing waits for it.
    """

    def __init__(self) -> None:
        self.listeners: list[MemoryBroker] = []
        self.log: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.problem: Exception | None = None
        self.mute = self.silent = False
        self.slow: asyncio.Event | None = None

    def check(self) -> None:
        """Raise what is wrong."""
        if self.problem is not None:
            raise self.problem

    def deliver(self, topic: str, payload: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Hand a payload to all who listen to its topic; return how many do."""
        taken = 0
        for listener in [] if self.mute else self.listeners:
            for name in listener.names:
                if topic == name.text or (name.is_pattern and topic.startswith(name.text[:-1])):
                    listener.queue.put_nowait(Received(name, topic, payload, headers, "7"))
                    taken += 1
        return taken

    def cut(self, error: Exception | None = None) -> None:
        """Cut the connections of all who listen."""
        for listener in list(self.listeners):
            listener.queue.put_nowait(error or ConnectionResetError("cut"))


class MemoryBroker(Broker):
    """One process's way to the bus.

    Attributes:
        names: What it is subscribed to.
        queue: What it has not received yet.
        calls: What was asked of it.
        unanswered: Subscriptions that it does not confirm.
    """

    system: ClassVar[str] = "memory"

    def __init__(self, bus: Bus, *, keeps: bool = False) -> None:
        self.bus = bus
        self.keeps = keeps
        self.names: set[Name] = set()
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.calls: list[str] = []
        self.unanswered: Callable[[Name], bool] = lambda _: False

    async def publish(
        self, topic: str, payload: bytes, headers: Mapping[str, str] | None, *, brief: bool = False
    ) -> int | None:
        self.calls.append("brief" if brief else "publish")
        if self.bus.slow is not None:
            await self.bus.slow.wait()
        self.bus.check()
        self.bus.log.append((topic, payload, headers or {}))
        return self.bus.deliver(topic, payload, headers)

    async def open(self) -> None:
        self.calls.append("open")
        self.bus.check()
        self.bus.listeners.append(self)

    async def subscribe(self, names: Collection[Name]) -> None:
        self.calls.append("subscribe")
        self.bus.check()
        self.names |= set(names)
        for name in names:
            if not self.unanswered(name):
                self.confirmed(name)

    async def unsubscribe(self, names: Collection[Name]) -> None:
        self.calls.append("unsubscribe")
        self.bus.check()
        self.names -= set(names)

    async def receive(self, timeout: float) -> list[Received] | None:
        try:
            found = await asyncio.wait_for(self.queue.get(), timeout)
        except asyncio.TimeoutError:
            return None
        if isinstance(found, Exception):
            raise found
        return [] if found == "pong" else [found]

    async def ping(self) -> None:
        self.calls.append("ping")
        if not self.bus.silent:
            self.queue.put_nowait("pong")

    async def shut(self) -> None:
        self.calls.append("shut")
        self.names.clear()
        self.queue = asyncio.Queue()
        if self in self.bus.listeners:
            self.bus.listeners.remove(self)

    def refuses(self, error: Exception) -> bool:
        return super().refuses(error) or isinstance(error, PermissionError)

    async def aclose(self) -> None:
        self.calls.append("aclose")
