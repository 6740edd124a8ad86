"""Leaving: by keys, by signals, and when the terminal is gone."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from asgi_ws_observe.operations.terminal import leaving

termios = pytest.importorskip("termios")


@pytest.mark.parametrize("key", [b"q", b"Q", b"\x04", b"xxq"])
async def test_keys_leave(key: bytes) -> None:
    """And the terminal is afterwards what it was."""
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    stop = asyncio.Event()
    with leaving(stop, theirs):
        os.write(ours, key)
        await asyncio.wait_for(stop.wait(), 10)
    assert before == termios.tcgetattr(theirs)
    os.close(ours)
    os.close(theirs)


async def test_other_keys_do_nothing() -> None:
    """Until one of those that leave."""
    ours, theirs = os.openpty()
    stop = asyncio.Event()
    with leaving(stop, theirs):
        os.write(ours, b"x")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.1)
        os.write(ours, b"\x1b")
        await asyncio.wait_for(stop.wait(), 10)
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_leave(number: signal.Signals) -> None:
    """With no terminal, too; and afterwards they do what they did."""
    before = signal.getsignal(number)
    stop = asyncio.Event()
    with leaving(stop):
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 10)
    assert signal.getsignal(number) in (before, signal.SIG_DFL, signal.default_int_handler)
