"""The task that listens to a broker: it connects, subscribes, and comes back whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, Literal

from ..tracing.contexts import attach, get_current
from .broker import Broker, Name, Received
from .settings import ChannelSettings
from .spans import silently
from .tasks import pauses, start, stop, within

__all__ = ["Listener", "State"]

#: What a listener does: it has no task, it connects and subscribes, it has all subscriptions, it
#: waits for the next attempt.
State = Literal["idle", "connecting", "listening", "waiting"]


class Listener:
    """Keeps a broker's subscriptions alive.

    Args:
        broker: The broker.
        settings: `ChannelSettings.timeout`, ``silence`` and ``backoff`` count.
        on_message: Takes what has arrived; may return what is to be waited for before the next.
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
        # Each with what is set while the broker has it.
        self._names: dict[Name, asyncio.Event] = {}
        self._open = False
        self._task: asyncio.Task[None] | None = None
        broker.confirmed = self._confirmed

    def start(self, task_name: str, names: Iterable[Name]) -> None:
        """Listen from now on.

        Args:
            task_name: What the task is called.
            names: What to subscribe to besides what is added.
        """
        for name in names:
            self._names.setdefault(name, asyncio.Event())
        self.state = "connecting"
        self._task = start(self._run(), task_name)

    async def aclose(self) -> None:
        """Listen no more."""
        task, self._task = self._task, None
        await stop(task)
        self._names.clear()
        self.state = "idle"

    async def add(self, names: Iterable[Name]) -> None:
        """Subscribe to more; return when the broker has taken them, or is not to be reached.

        Nothing is raised: what the broker has not taken is asked for again and again.
        """
        fresh = [name for name in names if name not in self._names]
        events = [self._names.setdefault(name, asyncio.Event()) for name in names]
        if self._open and fresh:
            await self._say(self._broker.subscribe(fresh))
        with suppress(asyncio.TimeoutError):
            await within(self._settings.timeout, _all(events))

    async def remove(self, names: Sequence[Name]) -> None:
        """Unsubscribe."""
        for name in names:
            self._names.pop(name, None)
        if self._open and names:
            await self._say(self._broker.unsubscribe(names))

    async def restart(self) -> None:
        """Connect again: the broker says that all is well, and delivers nothing."""
        await self._broker.shut()

    async def _say(self, command: Coroutine[Any, Any, None]) -> None:
        """Say something to the broker; if it cannot be said, the listener's task finds out too."""
        previous = get_current()
        attach(silently())
        try:
            with suppress(Exception):
                await within(self._settings.timeout, command)
        finally:
            attach(previous)

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
                self._open = False
                self.state = "waiting"
                await self._say(self._broker.shut())
            await asyncio.sleep(next(waits))

    async def _connect(self) -> None:
        self.state = "connecting"
        for event in self._names.values():
            event.clear()
        await within(self._settings.timeout, self._broker.open())
        # From here on whoever adds a name subscribes to it.
        self._open = True
        if self._names:
            await within(self._settings.timeout, self._broker.subscribe(list(self._names)))
        ends = perf_counter() + self._settings.timeout
        while missing := sum(not event.is_set() for event in self._names.values()):
            left = ends - perf_counter()
            if left <= 0:
                raise TimeoutError(f"no answer to {missing} of {len(self._names)} subscriptions")
            await self._take(await self._broker.receive(left))
        self.state = "listening"
        self._on_up()

    async def _listen(self) -> None:
        silence = self._settings.silence
        asked = False
        while True:
            received = await self._broker.receive(silence)
            if received is not None:
                asked = False
                await self._take(received)
            elif asked:
                raise TimeoutError(f"nothing heard for {2 * silence:g} s")
            else:
                asked = True
                await within(self._settings.timeout, self._broker.ping())

    async def _take(self, received: Sequence[Received] | None) -> None:
        for each in received or ():
            waits = self._on_message(each)
            if waits is not None:
                await waits

    def _confirmed(self, name: Name) -> None:
        event = self._names.get(name)
        if event is not None:
            event.set()


async def _all(events: list[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
