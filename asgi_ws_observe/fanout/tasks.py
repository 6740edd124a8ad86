"""Tasks that belong to nobody's connection, and how long things may take."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Coroutine, Iterator
from contextvars import Context
from typing import Any, Final, TypeVar

from ..tracing.contexts import attach
from .spans import silently

__all__ = ["FIRST_PAUSE", "pauses", "start", "stop", "within"]

#: The longest that the first pause between two attempts can be, seconds.
FIRST_PAUSE: Final = 0.1

#: After so many seconds a task that has not ended is cancelled again.
_LOST: Final = 2.0

Result = TypeVar("Result")


def start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a task that has nothing of whoever starts it: no trace, no connection.

    What it asks of a client library makes no span.
    """

    def create() -> asyncio.Task[None]:
        attach(silently())
        return asyncio.get_running_loop().create_task(work, name=name)

    return Context().run(create)


async def stop(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end; `None` is nothing."""
    while task is not None and not task.done():
        # Not once: asyncio.wait_for, which clients use, can lose it before Python 3.12.
        task.cancel()
        # Unlike awaiting it, this is cancelled where the caller is.
        await asyncio.wait([task], timeout=_LOST)


if sys.version_info >= (3, 11):

    async def within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what the work returns.

        Raises:
            asyncio.TimeoutError: It took longer.
        """
        async with asyncio.timeout(seconds):
            return await work

else:  # pragma: no cover - a task for each call: 30 us more

    async def within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what the work returns.

        Raises:
            asyncio.TimeoutError: It took longer.
        """
        return await asyncio.wait_for(work, seconds)


def pauses(longest: float) -> Iterator[float]:
    """Yield how long to wait before each attempt, seconds: at most twice as long each time.

    All of it is left to chance, so that a thousand nodes do not come back at once.
    """
    most = min(FIRST_PAUSE, longest)
    while True:
        yield random.uniform(0, most)  # noqa: S311 - nobody has to guess it
        most = min(2 * most, longest)
