"""The way to one WebSocket: its queue, the task that sends, and its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, NamedTuple, Protocol

from ..connection import Connection
from ..current import current_connection, enter_connection
from .broadcast import Broadcast

__all__ = ["PATIENCE", "STARTED_AT_ONCE", "Limits", "Outlet", "Turns", "WebSocketLike"]

#: A ``send()`` that is cancelled gets this long to end, seconds.
PATIENCE: Final = 1.0
#: So many senders start in one turn of the event loop. With all of a large room's at once, nothing
#: else would have its turn for long, and Python's garbage collector, which counts what is alive,
#: would go through everything there is after every twentieth message to a thousand.
STARTED_AT_ONCE: Final = 100


class WebSocketLike(Protocol):
    """What a hub needs of a WebSocket; Starlette's and FastAPI's have it."""

    async def send_text(self, data: str, /) -> None:
        """Send a text message."""
        ...

    async def send_bytes(self, data: bytes, /) -> None:
        """Send a binary message."""
        ...

    async def close(self, code: int = ..., reason: str | None = ...) -> None:
        """Close the connection."""
        ...


class Limits(NamedTuple):
    """How much a queue holds, and what happens when it is full; see `Hub`."""

    messages: int
    bytes: int
    policy: str


class Turns:
    """Starts the senders of a hub, some in each turn of the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Outlet] = deque()

    def add(self, outlet: Outlet) -> None:
        """Let an outlet begin to send soon."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._go_on)
        self._waiting.append(outlet)

    def begin_all(self) -> None:
        """Start all that wait, now."""
        while self._waiting:
            self._waiting.popleft().begin()

    def _go_on(self) -> None:
        for _ in range(min(STARTED_AT_ONCE, len(self._waiting))):
            self._waiting.popleft().begin()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._go_on)


class Outlet:
    """The queue of one WebSocket and the task that empties it, whatever rooms it is in.

    The task lives only while there is something to send: starting one for a single message takes
    0.8 µs more than waking one that waits, a fraction of what sending takes, and one that waits is
    a KiB for each idle connection.

    Args:
        websocket: The WebSocket.
        limits: How much may wait.
        turns: What lets it begin to send.
        gone: Is called once, when it takes no more messages.
        overflowed: Is called when its queue is full and the policy is to close.

    Attributes:
        websocket: The WebSocket.
        connection: Its record; where it is not observed, one that nobody reads.
        rooms: The rooms that it is in -> how often it joined.
    """

    __slots__ = (
        *("_bytes", "_context", "_ended", "_gone", "_limits", "_loop", "_overflowed", "_queue"),
        *("_sending", "_task", "_turns", "connection", "rooms", "websocket"),
    )

    def __init__(
        self,
        websocket: WebSocketLike,
        limits: Limits,
        turns: Turns,
        gone: Callable[[Outlet], None],
        overflowed: Callable[[Outlet], None],
    ) -> None:
        self.websocket = websocket
        self.rooms: dict[str, int] = {}
        self._limits = limits
        self._turns, self._gone, self._overflowed = turns, gone, overflowed
        self._queue: deque[Broadcast] = deque()
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        self._sending = False
        self._task: asyncio.Task[None] | None = None
        # Why it takes no more messages; empty while it does.
        self._ended = ""
        self.connection: Connection = current_connection()
        # Nothing of the task that happens to send first may be current in all later deliveries.
        self._context = Context()
        if self.connection.id:
            self._context.run(enter_connection, self.connection)

    @property
    def queued(self) -> int:
        """Messages that wait; the one that is being sent does not count."""
        return len(self._queue)

    @property
    def has_ended(self) -> bool:
        """Whether it takes no more messages."""
        return bool(self._ended)

    @property
    def sender(self) -> asyncio.Task[None] | None:
        """The task that sends, `None` where there is nothing to send."""
        return self._task

    def put(self, broadcast: Broadcast) -> None:
        """Take a message, or do with it, or with older ones, what the policy says."""
        if self._ended:
            return
        if self._queue and self._is_full_for(broadcast) and not self._make_room(broadcast):
            broadcast.refuse()
            return
        self._queue.append(broadcast)
        self._bytes += broadcast.size
        self.connection.queued += 1
        broadcast.take()
        if not self._sending:
            self._sending = True
            self._turns.add(self)

    def begin(self) -> None:
        """Send what waits, unless everything was dropped meanwhile."""
        if not self._ended:
            self._task = self.start(self._send_all())

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Return a task in which this connection is the current one, and nothing else is."""
        # Python 3.10 has no `create_task(context=)`; a task copies the context it is made in.
        return self._context.run(self._loop.create_task, work)

    def end(self, reason: str) -> None:
        """Take no more messages, drop what waits, and give up what is being sent.

        Args:
            reason: Why, one of `asgi_ws_observe.fanout_numbers.DROP_REASONS`.
        """
        if self._ended:
            return
        self._ended = reason
        self._gone(self)
        while self._queue:
            self._pop().drop(reason)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _is_full_for(self, broadcast: Broadcast) -> bool:
        limits = self._limits
        return len(self._queue) >= limits.messages or self._bytes + broadcast.size > limits.bytes

    def _make_room(self, broadcast: Broadcast) -> bool:
        """Do what the policy says and return whether the message can be taken."""
        if self._limits.policy == "drop_oldest":
            while self._queue and self._is_full_for(broadcast):
                self._pop().drop("queue_full")
            return True
        if self._limits.policy == "close":
            self._overflowed(self)
        return False

    def _pop(self) -> Broadcast:
        broadcast = self._queue.popleft()
        self._bytes -= broadcast.size
        self.connection.queued -= 1
        return broadcast

    async def _send_all(self) -> None:
        websocket, queue = self.websocket, self._queue
        try:
            while queue:
                broadcast = self._pop()
                try:
                    if broadcast.text is not None:
                        await websocket.send_text(broadcast.text)
                    else:
                        await websocket.send_bytes(broadcast.data or b"")
                except BaseException as error:
                    broadcast.drop(self._ended or "send_failed")
                    # The client is gone; its own handler hears of that from the server.
                    self.end("send_failed")
                    if isinstance(error, Exception):
                        return
                    raise
                broadcast.deliver()
                if queue:
                    # The others come first: many a server's `send()` waits nowhere.
                    await asyncio.sleep(0)
        finally:
            self._sending, self._task = False, None
