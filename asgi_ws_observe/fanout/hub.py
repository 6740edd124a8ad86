"""The hub: one message to many WebSockets, and no slow client holds the others.

It needs no broker. A hub belongs to one event loop: call it there, and there only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from prometheus_client import CollectorRegistry

from ..fanout_numbers import FanoutNumbers
from ..metrics.prometheus import numbers_of
from .arguments import Policy, hub_argument
from .broadcast import Broadcast
from .feeding import DeliveryLike, ManagedDelivery, feed
from .members import Member
from .outlet import PATIENCE, Limits, Outlet, Turns, WebSocketLike
from .tasks import start, stop

__all__ = ["Hub"]

#: The close frame's reason for a client that reads too slowly.
CLOSE_REASON: Final = "too slow"


class Hub:
    """Rooms of WebSockets, each WebSocket with a queue and a sender of its own.

    A WebSocket that is in several rooms still has one queue, so that its messages keep their order
    and it never has two ``send()`` calls of the hub's at a time.

    Args:
        name: The value of the metrics' label ``channel``.
        queue: Messages that may wait for one WebSocket.
        queue_bytes: Payload bytes that may wait for one WebSocket; whichever bound is met first
            counts. A larger message is taken when nothing else waits. Default: 8 MiB.
        policy: What happens when a queue is full: ``drop_oldest`` makes room, ``drop_newest`` does
            not take the message, ``close`` drops all that waits and closes the connection.
        close_code: What ``close`` closes with. Default: 1013, "try again later".
        close_timeout: A connection that ``close`` has not ended by then, seconds, is aborted where
            it is observed: the client reads nothing, so no close frame can reach it.
        label: Makes of a room the value of the label ``channel``; the first 50 get one of their
            own. Default: `name` for every room.
        room: Makes of a delivery's topic the room. Default: the topic itself.
        registry: Whose metrics count. Default: prometheus_client's own.

    Raises:
        SettingsError: An argument has a value that is not accepted.
    """

    def __init__(
        self,
        name: str = "hub",
        *,
        queue: int = 256,
        queue_bytes: int = 8 * 2**20,
        policy: Policy = "drop_oldest",
        close_code: int = 1013,
        close_timeout: float = 10.0,
        label: Callable[[str], str] | None = None,
        room: Callable[[str], str] | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._limits = Limits(
            hub_argument("queue", queue),
            hub_argument("queue_bytes", queue_bytes),
            hub_argument("policy", policy),
        )
        self._close_code = hub_argument("close_code", close_code)
        self._close_timeout = hub_argument("close_timeout", close_timeout)
        self._label: Callable[[str], str] | None = hub_argument("label", label)
        self._room: Callable[[str], str] | None = hub_argument("room", room)
        shared = numbers_of(registry)
        self._store, self._errors = shared.store, shared.errors
        self._numbers = self._store.channel(hub_argument("name", name))
        self._rooms: dict[str, dict[Outlet, None]] = {}
        # By the id of the WebSocket: not every kind of it need be hashable.
        self._outlets: dict[int, Outlet] = {}
        # The numbers of rooms that have members.
        self._labelled: dict[str, FanoutNumbers] = {}
        self._closing: dict[asyncio.Task[None], tuple[Outlet, asyncio.TimerHandle]] = {}
        self._turns = Turns()
        self._is_closed = False

    def join(self, room: str, websocket: WebSocketLike) -> Member:
        """Let a WebSocket into a room: ``async with hub.join(room, websocket) as member:``.

        Call it in the WebSocket's own handler after accepting, so that the hub knows whose
        connection it is. Joining a room twice is no error: each message is still sent once, until
        both have left. After `aclose` nobody gets anything.

        Args:
            room: The room.
            websocket: Starlette's, FastAPI's, or anything with ``send_text``, ``send_bytes`` and
                ``close``. What its handler sends by itself may pass what waits here; `Member.send`
                keeps the order.
        """
        outlet = self._outlets.get(id(websocket))
        if outlet is None:
            outlet = Outlet(websocket, self._limits, self._turns, self._forget, self._close)
            if self._is_closed:
                outlet.end("left")
            else:
                self._outlets[id(websocket)] = outlet
        if not outlet.has_ended:
            outlet.rooms[room] = outlet.rooms.get(room, 0) + 1
            if room not in self._rooms:
                self._rooms[room] = {}
                self._labelled[room] = self._numbers_of(room)
            self._rooms[room][outlet] = None
        return Member(self, room, outlet)

    def leave(self, member: Member) -> asyncio.Task[None] | None:
        """Take a member out of its room; for `Member.leave`, which is what to call.

        Returns:
            The task that is being cancelled, `None` where there is none.
        """
        outlet, room = member.outlet, member.room
        if outlet.has_ended:
            # Perhaps a moment ago, and its sender has not.
            return outlet.sender
        outlet.rooms[room] -= 1
        if not outlet.rooms[room]:
            del outlet.rooms[room]
            self._empty(room, outlet)
        if outlet.rooms:
            return None
        sender = outlet.sender
        outlet.end("left")
        return sender

    def members(self, room: str) -> int:
        """Return how many WebSockets are in a room."""
        return len(self._rooms.get(room, ()))

    def rooms(self) -> dict[str, int]:
        """Return every room that has members, and how many."""
        return {room: len(outlets) for room, outlets in self._rooms.items()}

    def send(
        self, room: str, message: Any, *, besides: Member | WebSocketLike | None = None
    ) -> Broadcast:
        """Send to everybody in a room; return at once, whatever the clients do.

        More than `queue` messages in a row, in which the event loop has no turn, overflow every
        queue, however fast the clients are; ``await asyncio.sleep(0)`` after each is enough.

        Args:
            room: The room; one that nobody is in is no error.
            message: Text, bytes, or a value that becomes JSON and is sent as text.
            besides: Who does not get it, often the author.

        Raises:
            TypeError: The message holds what JSON cannot.
            ValueError: It is a text that is not valid Unicode.
            RuntimeError: This is no event loop's thread.
        """
        outlets = self._rooms.get(room, {})
        if besides is None:
            return self._send(room, message, list(outlets))
        if isinstance(besides, Member):
            left_out: Outlet | None = besides.outlet
        else:
            left_out = self._outlets.get(id(besides))
        return self._send(room, message, [each for each in outlets if each is not left_out])

    def send_to(self, member: Member, message: Any) -> Broadcast:
        """Send to one WebSocket, in order with what goes to its rooms; as `Member.send`."""
        outlets = [member.outlet] if member.is_in else []
        return self._send(member.room, message, outlets)

    def deliver(self, delivery: DeliveryLike) -> Broadcast:
        """Send a delivery's body to the room of its topic, and set its ``recipients``.

        Raises:
            Exception: Whatever `send` raises, or the hub's own argument `room`.
        """
        topic = delivery.topic
        room = topic if self._room is None else self._room(topic)
        # The delivery itself counts its recipients.
        broadcast = self._send(room, delivery.body, list(self._rooms.get(room, ())), counts=False)
        delivery.recipients = broadcast.recipients
        return broadcast

    @asynccontextmanager
    async def fed_by(self, deliveries: AsyncIterable[ManagedDelivery]) -> AsyncIterator[None]:
        """Deliver what an iterator yields, in a task, until it ends or the block does.

        A delivery that fails is logged and counted in ``ws_observe_errors_total``, and the next one
        follows. So is an iterator that fails, which ends the feeding.

        Args:
            deliveries: Each is entered, delivered and left.
        """
        task = start(feed(deliveries, self.deliver, self._errors), "ws_fanout_hub")
        try:
            yield
        finally:
            await stop(task)

    async def aclose(self, timeout: float = 5.0) -> None:
        """Send what waits, then give up the rest; nothing is sent from now on.

        It leaves the WebSockets open: closing them is the server's, or their handlers'.

        Args:
            timeout: How long sending may take, seconds. What is left is dropped.
        """
        self._is_closed = True
        self._turns.begin_all()
        outlets = list(self._outlets.values())
        senders = {outlet.sender for outlet in outlets if outlet.sender is not None}
        try:
            await _wait_for({*senders, *self._closing}, timeout)
        finally:
            for outlet in outlets:
                outlet.end("left")
            for task, (outlet, timer) in list(self._closing.items()):
                if not task.done():
                    timer.cancel()
                    self._give_up(outlet, task)
        await _wait_for(senders, PATIENCE)

    async def __aenter__(self) -> Hub:
        # An application's tests may run its lifespan again and again.
        self._is_closed = False
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _send(
        self, room: str, message: Any, outlets: Iterable[Outlet], *, counts: bool = True
    ) -> Broadcast:
        # Another thread's call would seem to work, and lose messages now and then.
        asyncio.get_running_loop()
        numbers = self._labelled.get(room)
        broadcast = Broadcast(message, self._numbers_of(room) if numbers is None else numbers)
        if not self._is_closed:
            for outlet in outlets:
                outlet.put(broadcast)
        broadcast.begin()
        if counts:
            broadcast.count()
        return broadcast

    def _numbers_of(self, room: str) -> FanoutNumbers:
        if self._label is None:
            return self._numbers
        try:
            return self._store.channel(self._label(room))
        except Exception as error:  # noqa: BLE001
            callback, self._label = self._label, None
            self._errors.report("fanout", error, callback, "rooms have one label from now on")
            return self._numbers

    def _empty(self, room: str, outlet: Outlet) -> None:
        """Take a WebSocket out of a room, and the room away with the last one."""
        outlets = self._rooms[room]
        del outlets[outlet]
        if not outlets:
            del self._rooms[room], self._labelled[room]

    def _forget(self, outlet: Outlet) -> None:
        """Take a WebSocket out of all its rooms."""
        self._outlets.pop(id(outlet.websocket), None)
        for room in outlet.rooms:
            self._empty(room, outlet)
        outlet.rooms.clear()

    def _close(self, outlet: Outlet) -> None:
        """Close a WebSocket whose queue is full."""
        sender = outlet.sender
        outlet.end("closed")
        task = outlet.start(self._say_close(outlet, sender))
        timer = asyncio.get_running_loop().call_later(
            self._close_timeout, self._give_up, outlet, task
        )
        self._closing[task] = outlet, timer

    async def _say_close(self, outlet: Outlet, sender: asyncio.Task[None] | None) -> None:
        await _wait_for(() if sender is None else (sender,))
        # The client, or the handler, may have closed it before.
        with suppress(Exception):
            await outlet.websocket.close(self._close_code, CLOSE_REASON)

    def _give_up(self, outlet: Outlet, task: asyncio.Task[None]) -> None:
        """End a connection whose time to close is over, and which may have ended long ago."""
        del self._closing[task]
        task.cancel()
        outlet.connection.abort("overload")


async def _wait_for(tasks: Collection[asyncio.Task[None]], seconds: float | None = None) -> None:
    """Wait until tasks have ended, whatever they raise, but no longer than so many seconds."""
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
