"""The rooms of several nodes: Redis or NATS between them, by the library's channels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from asgi_ws_observe.fanout import FanoutChannel, Subscription

from .presence import EVERY
from .rooms import Event, Rooms

__all__ = ["Bus", "sharing", "system_of"]

logger = logging.getLogger("demo_app.bus")

#: Scheme of a URL -> the broker.
_SYSTEMS: Final = {
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "nats": "nats",
    "tls": "nats",
}
_CHANNELS: Final = {"redis": "RedisChannel", "nats": "NatsChannel"}

#: What a room's events are published to; its name follows, so encoded that it is one word for Redis
#: and for NATS.
_ROOM: Final = "demo_app.room."
_PRESENCE: Final = "demo_app.presence"
#: Between two words about who is there, seconds, however many come and go.
_REST: Final = 0.05


def system_of(url: str) -> str | None:
    """Return which broker a URL is of, ``redis`` or ``nats``; `None` for any other."""
    return _SYSTEMS.get(urlsplit(url).scheme)


class Bus:
    """What a node says to the others and hears from them.

    Args:
        url: The broker's.
        rooms: The rooms of this node.

    Attributes:
        system: ``redis`` or ``nats``.
    """

    def __init__(self, url: str, rooms: Rooms) -> None:
        self._rooms = rooms
        self.system = system_of(url) or ""
        # Here, since a demo without a bus needs neither package.
        module = import_module(f"asgi_ws_observe.fanout.{self.system}")
        channel: Callable[..., FanoutChannel] = getattr(module, _CHANNELS[self.system])
        waits: dict[str, Any] = {"timeout": 2.0, "backoff": 1.0, "raises": True}
        self._said = channel(url, name="rooms", label=lambda topic: "room:{id}", **waits)
        # A word every two seconds: a channel of its own, so that it leaves no spans.
        self._seen = channel(url, name="presence", trace="off", probe_interval=None, **waits)

    @property
    def is_up(self) -> bool:
        """Whether this node hears the others."""
        return self._said.state == "listening"

    async def publish(self, room: str, event: Event) -> bool:
        """Publish an event; return whether it will come back to this node, and so to the others."""
        hears = self.is_up
        try:
            await self._said.publish(
                _ROOM + _encoded(room), {"from": self._rooms.id, "event": event}
            )
        except Exception:  # noqa: BLE001
            # Counted and, while it lasts, logged by the channel. It comes back by itself.
            return False
        return hears

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Listen and say who is there until the end of the block.

        It begins even if the broker does not answer, which then takes two seconds.
        """
        async with AsyncExitStack() as stack:
            said = self._said.subscribe(patterns=[_ROOM + "*"])
            seen = self._seen.subscribe(_PRESENCE)
            for channel in (self._said, self._seen):
                stack.push_async_callback(channel.aclose)
            await asyncio.gather(said.__aenter__(), seen.__aenter__())
            stack.push_async_callback(self._say_goodbye)
            for work in (self._hear(said), self._see(seen), self._tell()):
                stack.push_async_callback(_ended, asyncio.create_task(work))
            yield

    async def _hear(self, deliveries: Subscription) -> None:
        async for delivery in deliveries:
            try:
                # The span of the delivery: sending is its child, its parent is the speaker's.
                with delivery:
                    said = delivery.json()
                    room = unquote(delivery.topic.removeprefix(_ROOM))
                    delivery.recipients = self._rooms.deliver(room, said["event"], said["from"])
            except Exception:
                logger.exception("a delivery reached nobody")
            # Many at once are no reason to call every client slow.
            await asyncio.sleep(0)

    async def _see(self, deliveries: Subscription) -> None:
        async for delivery in deliveries:
            try:
                said = delivery.json()
                self._rooms.heard(said["from"], said["node"], said["rooms"])
            except Exception:
                logger.exception("who is on another node is not known")

    async def _tell(self) -> None:
        changed, loop = self._rooms.changed, asyncio.get_running_loop()
        while True:
            changed.clear()
            timer = loop.call_later(EVERY, changed.set)
            await self._say(self._rooms.here())
            self._rooms.expire()
            await asyncio.sleep(_REST)
            await changed.wait()
            timer.cancel()

    async def _say(self, rooms: dict[str, list[str]] | None) -> None:
        # While the bus is down the others forget this node, and hear of it again afterwards.
        with suppress(Exception):
            said = {"from": self._rooms.id, "node": self._rooms.node, "rooms": rooms}
            await self._seen.publish(_PRESENCE, said)

    async def _say_goodbye(self) -> None:
        await self._say(None)


@asynccontextmanager
async def sharing(url: str, rooms: Rooms) -> AsyncIterator[Bus]:
    """Share rooms with all nodes on the same broker until the end of the block.

    Args:
        url: The broker's.
        rooms: The rooms of this node.
    """
    bus = Bus(url, rooms)
    rooms.publisher = bus
    async with bus.connected():
        yield bus


def _encoded(room: str) -> str:
    # What `quote` leaves as it is, and NATS takes for the end of a word.
    return quote(room, safe="").replace(".", "%2E")


async def _ended(task: asyncio.Task[Any]) -> None:
    # Before Python 3.12 `wait_for` can lose a cancellation.
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.2)
