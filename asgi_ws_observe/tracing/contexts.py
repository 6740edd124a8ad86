"""What is current in the handler while it works on a message, and what was before.

A span that is made current inside the wrapped ``receive()`` stays current in the handler, because
awaiting runs in the caller's context. It is left by attaching what was current before, never by
detaching: a token from another task cannot be given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context, create_key

__all__ = [
    "BASE",
    "SPAN_KEY",
    "Place",
    "attach",
    "base_of_current",
    "get_current",
    "task_of",
]


def _direct(api: Any) -> tuple[Callable[[Context], object], Callable[[], Context]]:
    """Return `attach` and `get_current`, without what opentelemetry-api calls in between.

    Where its variable is not to be found, they are its own.
    """
    variable = getattr(getattr(api, "_RUNTIME_CONTEXT", None), "_current_context", None)
    if isinstance(variable, ContextVar):
        return variable.set, variable.get
    return api.attach, api.get_current


attach, get_current = _direct(otel_context)

#: A message's context, and all that are made from it, hold what was current before.
BASE: Final = create_key("asgi_ws_observe_base")
_RELEASE: Final = getattr(asyncio.tasks, "_release_waiter", None)
#: `asyncio.current_task`, which is written in Python before 3.12, the only versions that need it.
_tasks: Final[Any] = getattr(asyncio.tasks, "_current_tasks", None)
task_of: Final[Callable[[Any], Any]] = getattr(_tasks, "get", asyncio.current_task)


# The key of the current span, which opentelemetry-api uses and does not name.
(SPAN_KEY,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())


def base_of_current() -> Context:
    """Return what is current, or was before the message that is being worked on."""
    current = get_current()
    base: Any = current.get(BASE)
    return base or current


class Place:
    """Where one connection's messages are received.

    What is done for each message is written out in `MessageSpans`, which derives from it: every
    call would make a traced message a per cent dearer.
    """

    __slots__ = ("_checked", "_found", "_loop", "_task")

    def __init__(self) -> None:
        # What is current, as the end of the message before found it in the same ``receive()``.
        self._found: Context | None = None
        # The last task that nobody waited for in `asyncio.wait_for`; whether it is this one.
        self._task: Any = None
        self._checked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):  # another kind of event loop
            self._loop = asyncio.get_running_loop()

    def interrupted(self) -> None:
        """Take in that the application asked for a message and got none."""
        self._found = None
        self._checked = False

    def _check(self, context: Context) -> None:
        """Make a context current for the code that waits for this in `asyncio.wait_for`."""
        if self._loop is None:
            return
        task = task_of(self._loop)
        if task is not self._task:
            if _enter_waiting(task, context):
                return
            self._task = task
        self._checked = True


def _enter_waiting(task: Any, context: Context) -> bool:
    """Make a context current for the tasks that wait for this one in `asyncio.wait_for`.

    Before Python 3.12 that runs ``receive()`` in a task of its own, with a copy of the caller's
    context, so the handler would not see the message. The caller waits for a future; the callback
    by which that will wake it up carries the caller's true context.

    Returns:
        Whether there was one.
    """
    found = False
    while True:
        waiter = None
        for callback, _ in getattr(task, "_callbacks", None) or ():
            if isinstance(callback, partial) and callback.func is _RELEASE:
                waiter = callback.args[0]
        waiting = getattr(waiter, "_callbacks", None)
        if not waiting:
            break
        wakeup, caller = waiting[0]
        caller.run(attach, context)
        found, task = True, getattr(wakeup, "__self__", None)
    return found
