"""A channel's probe: a message to itself, which proves that the bus delivers when nobody talks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

from ..fanout_numbers import FanoutNumbers
from .tasks import start, stop

__all__ = ["Probes"]

#: After so many probes that the broker took and that never came, the listener connects again; but
#: not sooner than so many seconds after it did that the last time.
DEAF_AFTER: Final = 3
RESTART_PAUSE: Final = 60.0


class Probes:
    """Sends a probe now and then, and knows when the last one came back.

    Args:
        interval: How often, seconds.
        send: Publishes one; raises what the broker raises.
        deaf: Called where probes are taken and none comes back.
        numbers: Where the age of the last one is shown.
    """

    def __init__(
        self,
        interval: float,
        send: Callable[[], Coroutine[Any, Any, object]],
        deaf: Callable[[], Coroutine[Any, Any, object]],
        numbers: FanoutNumbers,
    ) -> None:
        self._interval = interval
        self._send = send
        self._deaf = deaf
        self._numbers = numbers
        self._arrived = perf_counter()
        self._unheard = 0
        self._restart_from = 0.0
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Show the age from now on: nothing has come back yet."""
        self._arrived = perf_counter()
        self._numbers.probe_age = self._age

    def start(self, name: str) -> None:
        """Probe from now on: the listener has its subscriptions, for the first time or again."""
        self._unheard = 0
        if self._task is None:
            self._task = start(self._run(), name)

    async def aclose(self) -> None:
        """Probe no more."""
        task, self._task = self._task, None
        await stop(task)
        self._numbers.probe_age = _no_age

    def arrived(self) -> None:
        """Take in that one came back."""
        self._arrived = perf_counter()
        self._unheard = 0

    def _age(self) -> float:
        return perf_counter() - self._arrived

    async def _run(self) -> None:
        while True:
            # One that is not taken shows as age, and the listener hears of the broker itself.
            with suppress(Exception):
                await self._send()
                self._unheard += 1
            await asyncio.sleep(self._interval)
            now = perf_counter()
            if self._unheard >= DEAF_AFTER and now >= self._restart_from:
                self._unheard = 0
                self._restart_from = now + RESTART_PAUSE
                with suppress(Exception):
                    await self._deaf()


def _no_age() -> None:
    return None
