"""Timers on real event loops: one callback at a time, and what fails is never called again."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.store import Store
from asgi_ws_observe.timers import Timer
from tests.support import until

SOON = 0.001
LATE = 1000.0


def make() -> tuple[Timer, Store]:
    """Return a timer and the store that counts its failures."""
    store = Store()
    return Timer(OwnErrors(store), "nothing is done any more"), store


def waiting() -> int:
    """Return how many timers of this module wait on the running loop."""
    loop: Any = asyncio.get_running_loop()
    handles = [handle for handle in loop._scheduled if not handle.cancelled()]
    return sum(isinstance(getattr(handle._callback, "__self__", None), Timer) for handle in handles)


def nothing() -> None:
    """Stand for work."""


async def test_callback_is_called_once_at_its_time() -> None:
    """Whether the time is one of the loop's clock or a delay."""
    timer, _ = make()
    loop = asyncio.get_running_loop()
    calls: list[float] = []

    timer.start(loop)
    due = loop.time() + SOON
    timer.call_at(due, lambda: calls.append(loop.time()))
    await until(lambda: calls)
    timer.call_in(SOON, lambda: calls.append(loop.time()))
    await until(lambda: len(calls) > 1)

    assert due <= calls[0] <= calls[1]
    assert 0 == waiting()


async def test_new_callback_replaces_the_one_that_waits() -> None:
    """One at a time."""
    timer, _ = make()
    calls: list[str] = []

    timer.start(asyncio.get_running_loop())
    timer.call_in(LATE, lambda: calls.append("first"))
    timer.call_in(SOON, lambda: calls.append("second"))
    assert 1 == waiting()
    await until(lambda: calls)

    assert ["second"] == calls
    assert 0 == waiting()


async def test_timer_that_does_not_run_calls_nothing() -> None:
    """Neither before its start nor after its stop, which may come twice."""
    timer, _ = make()

    timer.call_in(SOON, nothing)
    timer.call_at(0.0, nothing)
    before = waiting()
    timer.start(asyncio.get_running_loop())
    timer.call_in(LATE, nothing)
    timer.stop()
    timer.stop()
    timer.call_in(SOON, nothing)
    timer.call_at(0.0, nothing)

    assert (0, 0) == (before, waiting())
    assert timer.loop is None


async def test_start_drops_what_waited() -> None:
    """It may have waited on another loop."""
    timer, _ = make()
    timer.start(asyncio.get_running_loop())
    timer.call_in(LATE, nothing)

    timer.start(asyncio.get_running_loop())

    assert 0 == waiting()
    assert asyncio.get_running_loop() is timer.loop


async def test_failure_is_reported_and_the_last_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not even another start helps, and the event loop's exception handler never hears of it."""
    timer, store = make()
    loop = asyncio.get_running_loop()
    unhandled: list[Any] = []
    loop.set_exception_handler(lambda loop, told: unhandled.append(told))

    def fail() -> None:
        raise LookupError("lost")

    timer.start(loop)
    timer.call_in(SOON, fail)
    await until(lambda: store.own_errors["runtime"])
    stopped = timer.loop
    timer.start(loop)
    timer.call_in(SOON, fail)

    assert stopped is None
    assert 0 == waiting()
    assert (1, []) == (store.own_errors["runtime"], unhandled)
    assert "nothing is done any more" in caplog.text


async def test_callback_runs_in_an_empty_context() -> None:
    """Whoever asks for it may be a connection with a span."""
    variable: ContextVar[str] = ContextVar("variable", default="empty")
    timer, _ = make()
    seen: list[str] = []

    variable.set("of a connection")
    timer.start(asyncio.get_running_loop())
    timer.call_in(SOON, lambda: seen.append(variable.get()))
    await until(lambda: seen)

    assert ["empty"] == seen
