"""Tasks of nobody's connection, time limits, and the pauses between attempts."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from itertools import islice

import pytest

from asgi_ws_observe.fanout import tasks
from asgi_ws_observe.fanout.tasks import FIRST_PAUSE, pauses, start, stop, within

variable: ContextVar[str] = ContextVar("variable", default="nobody's")


async def test_task_has_nothing_of_whoever_starts_it() -> None:
    """Its context is new."""
    seen = []

    async def work() -> None:
        seen.append(variable.get())

    variable.set("a client's")
    await start(work(), "test")
    assert ["nobody's"] == seen


async def test_stop_waits_for_the_end_and_takes_nothing_for_a_task() -> None:
    """A task that fails meanwhile is over as well."""
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = start(work(), "test")
    await asyncio.sleep(0)
    await stop(task)
    await stop(None)
    assert [True] == ended


async def test_stop_cancels_again_what_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's library can lose a cancellation."""
    monkeypatch.setattr(tasks, "_LOST", 0.01)
    lost: list[bool] = []

    async def work() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append(True)

    task = start(work(), "test")
    await asyncio.sleep(0)
    await asyncio.wait_for(stop(task), 5)
    assert task.cancelled()


async def test_work_has_its_time() -> None:
    """What it returns; or an error when it takes too long."""

    async def work(wait: bool) -> int:
        if wait:
            await asyncio.Event().wait()
        return 7

    assert 7 == await within(5.0, work(False))
    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, work(True))


@pytest.mark.parametrize("longest", [0.01, 5.0])
def test_pauses_grow_to_the_longest_and_are_left_to_chance(longest: float) -> None:
    """No two nodes wait equally long."""
    found = [list(islice(pauses(longest), 12)) for _ in range(200)]
    first, last = ([each[place] for each in found] for place in (0, -1))
    assert max(first) <= min(FIRST_PAUSE, longest)
    assert longest / 2 < max(last) <= longest
    assert 100 < len(set(last))
