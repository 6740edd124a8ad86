"""A WebSocket in a room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .outlet import PATIENCE, Outlet

if TYPE_CHECKING:
    from .broadcast import Broadcast
    from .hub import Hub

__all__ = ["Member"]


class Member:
    """A WebSocket in a room, made by `Hub.join`.

    ``async with`` leaves the room at the end of the block.

    Attributes:
        room: The room.
    """

    __slots__ = ("_hub", "_in", "_outlet", "room")

    def __init__(self, hub: Hub, room: str, outlet: Outlet) -> None:
        self.room = room
        self._hub = hub
        self._outlet = outlet
        self._in = True

    @property
    def outlet(self) -> Outlet:
        """Its queue, for the hub."""
        return self._outlet

    @property
    def is_in(self) -> bool:
        """Whether messages to the room still go to it.

        Not after `leave`, after its ``send()`` failed, or after it was closed for being slow.
        """
        return self._in and not self._outlet.has_ended

    @property
    def queued(self) -> int:
        """Messages that wait for this WebSocket, of all its rooms."""
        return self._outlet.queued

    def send(self, message: Any) -> Broadcast:
        """Send to this WebSocket alone, in order with what goes to its rooms; see `Hub.send`."""
        return self._hub.send_to(self, message)

    async def leave(self) -> None:
        """Leave the room; nothing happens where it has left before.

        When it was the WebSocket's last room, what still waits is dropped, and a ``send()`` of the
        hub's that has not returned is cancelled: none goes on when this returns. To get out what
        waits first, await the last `Broadcast`.
        """
        if not self._in:
            return
        self._in = False
        sender = self._hub.leave(self)
        if sender is not None:
            await asyncio.wait({sender}, timeout=PATIENCE)

    async def __aenter__(self) -> Member:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()
