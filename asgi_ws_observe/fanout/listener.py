"""The task that listens to a broker: it connects, subscribes, and comes back whatever happens."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import Context
from time import perf_counter
from typing import Any, Final, Literal

from .broker import Broker, Name, Received
from .settings import ChannelSettings

__all__ = ["Listener", "pauses", "start", "within"]

#: What a listener does: it has no task, it connects and subscribes, it has all subscriptions, it
#: waits for the next attempt.
State = Literal["idle", "connecting", "listening", "waiting"]
#: The shortest pause between two attempts, seconds.
FIRST_PAUSE: Final = 0.1


def start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a task that has nothing of whoever starts it: no trace, no connection."""
    loop = asyncio.get_running_loop()
    return Context().run(lambda: loop.create_task(work, name=name))


async def within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    """Return what the work returns.

    Raises:
        asyncio.TimeoutError: It took longer.
    """
    return await asyncio.wait_for(work, seconds)


def pauses(longest: float) -> Iterator[float]:
    """Yield how long to wait before each attempt, seconds: up to twice as long as the time before.

    All of it is left to chance, so that a thousand nodes do not come back at once.
    """
    most = min(FIRST_PAUSE, longest)
    while True:
        yield random.uniform(0, most)  # noqa: S311 - nobody has to guess it
        most = min(2 * most, longest)


class Listener:
    """Keeps a broker's subscriptions alive.

    Args:
        broker: The broker.
        settings: `ChannelSettings.timeout`, ``silence`` and ``backoff`` count.
        on_message: Takes what has arrived.
        on_up: Called when all subscriptions are there.
        on_down: Called with the reason when they are not any more, and with that of every attempt
            that failed.

    Attributes:
        state: What it does.
    """

    def __init__(
        self,
        broker: Broker,
        settings: ChannelSettings,
        on_message: Callable[[Received], Coroutine[Any, Any, None] | None],
        on_up: Callable[[], None],
        on_down: Callable[[BaseException], None],
    ) -> None:
        self.state: State = "idle"
        self._broker = broker
        self._settings = settings
        self._on_message = on_message
        self._on_up = on_up
        self._on_down = on_down
        self._names: dict[Name, asyncio.Event] = {}
        self._unconfirmed: set[Name] = set()
        self._task: asyncio.Task[None] | None = None
        broker.confirmed = self._confirmed

    def start(self, name: str) -> None:
        """Listen from now on; again is nothing."""
        if self._task is None:
            self.state = "connecting"
            self._task = start(self._run(), name)

    async def aclose(self) -> None:
        """Listen no more."""
        task, self._task = self._task, None
        self.state = "idle"
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def expect(self, name: Name) -> None:
        """Subscribe to it whenever the broker is connected to."""
        self._names.setdefault(name, asyncio.Event())

    async def add(self, names: list[Name]) -> None:
        """Subscribe to more; return when the broker has taken them, or is not to be reached.

        Nothing is raised: what the broker has not taken is asked for again and again.
        """
        events = [self._names.setdefault(name, asyncio.Event()) for name in names]
        if self.state == "listening":
            await self._say(self._broker.subscribe(names))
        with suppress(asyncio.TimeoutError):
            await within(self._settings.timeout, _all(events))

    async def remove(self, names: list[Name]) -> None:
        """Unsubscribe."""
        for name in names:
            self._names.pop(name, None)
            self._unconfirmed.discard(name)
        if self.state == "listening" and names:
            await self._say(self._broker.unsubscribe(names))

    async def restart(self) -> None:
        """Connect again: the broker says that all is well, and delivers nothing."""
        await self._broker.shut()

    async def _say(self, command: Coroutine[Any, Any, None]) -> None:
        """Say something to the broker; if it cannot be said, the listener's task finds out too."""
        with suppress(Exception):
            await within(self._settings.timeout, command)

    async def _run(self) -> None:
        waits = pauses(self._settings.backoff)
        while True:
            try:
                await self._connect()
                waits = pauses(self._settings.backoff)
                await self._listen()
            except Exception as error:  # noqa: BLE001 - clients raise what they like
                self._on_down(error)
            finally:
                self.state = "waiting"
                with suppress(Exception):
                    await within(self._settings.timeout, self._broker.shut())
            await asyncio.sleep(next(waits))

    async def _connect(self) -> None:
        self.state = "connecting"
        for event in self._names.values():
            event.clear()
        await within(self._settings.timeout, self._broker.open())
        self._unconfirmed = set(self._names)
        await within(self._settings.timeout, self._broker.subscribe(list(self._names)))
        # What is added from here on is subscribed by whoever adds it.
        self.state = "listening"
        ends = perf_counter() + self._settings.timeout
        while self._unconfirmed:
            await self._take(await self._broker.receive(max(0.001, ends - perf_counter())))
            if perf_counter() > ends and self._unconfirmed:
                raise TimeoutError(f"no answer to {len(self._unconfirmed)} subscriptions")
        self._on_up()

    async def _listen(self) -> None:
        asked = False
        while True:
            received = await self._broker.receive(self._settings.silence)
            if received is None and asked:
                raise TimeoutError(f"nothing heard for {2 * self._settings.silence:g} s")
            asked = received is None
            if received is None:
                await within(self._settings.timeout, self._broker.ping())
            await self._take(received)

    async def _take(self, received: Any) -> None:
        for each in received or ():
            waits = self._on_message(each)
            if waits is not None:
                await waits

    def _confirmed(self, name: Name) -> None:
        event = self._names.get(name)
        if event is not None:
            event.set()
        self._unconfirmed.discard(name)


async def _all(events: list[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
