"""What a broker that keeps messages could not take yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NamedTuple

from ..fanout_numbers import FanoutNumbers
from .tasks import pauses, start, stop

__all__ = ["Kept", "Outbox"]


class Kept(NamedTuple):
    """A message that waits.

    Attributes:
        topic: Where to.
        payload: Its bytes.
        headers: What goes beside them.
        numbers: Where it is counted.
    """

    topic: str
    payload: bytes
    headers: Mapping[str, str]
    numbers: FanoutNumbers


class Outbox:
    """Sends what waits, in the order in which it was published, when the broker is back.

    Args:
        send: Sends one; raises what the broker raises.
        most: How many may wait; the oldest are dropped first.
        backoff: The longest pause between two attempts, seconds.
        numbers: Of the channel, which shows how many wait.
        refuses: Whether what was raised would be raised ever again: the others do not wait for it.
            Default: never.
    """

    def __init__(
        self,
        send: Callable[[Kept], Coroutine[Any, Any, object]],
        most: int,
        backoff: float,
        numbers: FanoutNumbers,
        refuses: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._send = send
        self._most = most
        self._backoff = backoff
        self._numbers = numbers
        self._refuses = refuses
        self._waiting: deque[Kept] = deque()
        self._task: asyncio.Task[None] | None = None
        numbers.outbox = 0

    def __bool__(self) -> bool:
        return self._task is not None

    def put(self, kept: Kept) -> None:
        """Keep a message."""
        self._waiting.append(kept)
        if len(self._waiting) > self._most:
            self._drop(self._waiting.popleft())
        self._show()
        if self._task is None:
            self._task = start(self._run(), "ws_fanout_outbox")

    async def aclose(self, timeout: float) -> None:
        """Send what waits if that can be done in time; drop the rest."""
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait([task], timeout=timeout)
            await stop(task)
        while self._waiting:
            self._drop(self._waiting.pop())
        self._show()

    async def _run(self) -> None:
        waits: Iterator[float] = pauses(self._backoff)
        while self._waiting:
            kept = self._waiting.popleft()
            try:
                await self._send(kept)
            except BaseException as error:
                if isinstance(error, Exception) and self._refuses(error):
                    # Those behind it do not wait for ever.
                    kept.numbers.published["failed"] += 1
                    self._show()
                    continue
                self._waiting.appendleft(kept)
                if not isinstance(error, Exception):
                    raise
                await asyncio.sleep(next(waits))
            else:
                waits = pauses(self._backoff)
                kept.numbers.published["ok"] += 1
                self._show()
        self._task = None

    def _drop(self, kept: Kept) -> None:
        kept.numbers.dropped["outbox_full"] += 1
        kept.numbers.published["failed"] += 1

    def _show(self) -> None:
        self._numbers.outbox = len(self._waiting)
