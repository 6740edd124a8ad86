"""What one part of the application listens to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from .broker import Name
from .delivery import Delivery

if TYPE_CHECKING:
    from .channel import FanoutChannel

__all__ = ["Subscription"]


class Subscription:
    """What one part of the application listens to; an asynchronous iterator of deliveries.

    ``async with channel.subscribe(topic) as deliveries:`` begins it and waits until the broker has
    taken it, and ends it. ``async for`` alone begins it too, and ends it when the loop is left.

    Attributes:
        names: What it is to.
    """

    def __init__(self, channel: FanoutChannel, names: tuple[Name, ...], most: int) -> None:
        self.names = names
        self._channel = channel
        self._waiting: deque[Delivery] = deque()
        self._most = most
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._begun = self._ended = False

    async def __aenter__(self) -> Subscription:
        if not self._begun:
            self._begun = True
            try:
                await self._channel.begin(self)
            except BaseException:
                await self.aclose()
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it; what has arrived is iterated over, then the iteration ends."""
        if self._begun and not self._ended:
            self.end()
            await self._channel.finish(self)

    async def __aiter__(self) -> AsyncGenerator[Delivery, None]:
        # A generator: the event loop closes one that a loop has left.
        mine = not self._begun
        await self.__aenter__()
        try:
            while (delivery := await self._next()) is not None:
                yield delivery
        finally:
            if mine:
                await self.aclose()

    async def _next(self) -> Delivery | None:
        while not self._waiting:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        delivery = self._waiting.popleft()
        self._taken.set()
        delivery.arrived()
        return delivery

    def offer(self, delivery: Delivery) -> bool:
        """Take what has arrived; return whether another one had to go for it."""
        self._waiting.append(delivery)
        self._arrived.set()
        if len(self._waiting) <= self._most:
            return False
        self._waiting.popleft()
        return True

    async def room(self) -> None:
        """Wait until there is room for one more."""
        while self.is_full() and not self._ended:
            self._taken.clear()
            await self._taken.wait()

    def is_full(self) -> bool:
        """Return whether the next one would be one too many."""
        return len(self._waiting) >= self._most

    def end(self) -> None:
        """Take no more."""
        self._ended = True
        self._taken.set()
        self._arrived.set()
