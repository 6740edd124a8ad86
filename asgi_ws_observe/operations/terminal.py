"""How somebody leaves a program that fills the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["leaving"]

#: ``q``, and what Ctrl-C, Ctrl-D and Escape send where they are no signals.
_KEYS: Final = b"qQ\x03\x04\x1b"


@contextmanager
def leaving(stop: asyncio.Event, terminal: int | None = None) -> Iterator[None]:
    """Set an event when somebody wants to leave, by a signal or by a key.

    Args:
        stop: The event.
        terminal: The descriptor that keys are read from; `None` for no keys.
    """
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as undo:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Windows has neither; there Ctrl-C ends the program as it does any other.
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, stop.set)
                undo.callback(loop.remove_signal_handler, number)
        if terminal is not None:
            undo.enter_context(_keys(loop, stop, terminal))
        yield


@contextmanager
def _keys(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, terminal: int) -> Iterator[None]:
    try:
        import termios
        import tty
    except ImportError:  # pragma: no cover - Windows
        yield
        return

    def pressed() -> None:
        given = os.read(terminal, 64)
        # Nothing at all: the terminal is gone.
        if not given or set(given) & set(_KEYS):
            stop.set()

    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    loop.add_reader(terminal, pressed)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
