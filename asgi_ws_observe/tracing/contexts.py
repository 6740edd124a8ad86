"""What is current in the handler while it works on a message, and what was before.

A span that is made current inside the wrapped ``receive()`` stays current in the handler, because
awaiting runs in the caller's context. It is left by attaching what was current before, never by
detaching: a token from another task cannot be given back.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextvars import Context as TaskContext
from functools import partial
from typing import Any, Final, cast

from opentelemetry import context as otel_context
from opentelemetry.context import Context

__all__ = ["base_of_current", "enter", "inside", "leave"]

# A message's context, and all that are made from it, hold what was current before.
_BASE: Final = otel_context.create_key("asgi_ws_observe_base")


def base_of_current() -> Context:
    """Return what is current, or was before the message that is being worked on."""
    current = otel_context.get_current()
    return cast(Context, current.get(_BASE) or current)


def inside(base: Context, context: Context) -> Context:
    """Return a context that `leave` leaves for another one."""
    return otel_context.set_value(_BASE, base, context)


def enter(context: Context) -> None:
    """Make a context current for the code that waits for this."""
    otel_context.attach(context)
    if sys.version_info < (3, 12):
        for waiting in _waiting_contexts():
            waiting.run(otel_context.attach, context)


def leave() -> None:
    """Make current again what was before the message, if this is a message's context."""
    base = otel_context.get_current().get(_BASE)
    if base is not None:
        enter(cast(Context, base))


def _waiting_contexts() -> Iterator[TaskContext]:
    """Yield the contexts of the tasks that wait for this one in `asyncio.wait_for`.

    Before Python 3.12 that runs ``receive()`` in a task of its own, with a copy of the caller's
    context, so the handler would not see the message. The caller waits for a future; the callback
    by which that will wake it up carries the caller's true context.
    """
    try:
        task: Any = asyncio.current_task()
    except RuntimeError:  # another kind of event loop
        return
    while task is not None:
        waiter = _waiter(task)
        if waiter is None:
            return
        wakeup, context = waiter._callbacks[0]
        yield context
        task = getattr(wakeup, "__self__", None)


def _waiter(task: Any) -> Any:
    for callback, _ in getattr(task, "_callbacks", None) or ():
        if isinstance(callback, partial) and callback.func is _RELEASE and callback.args:
            waiter = callback.args[0]
            if getattr(waiter, "_callbacks", None):
                return waiter
    return None


_RELEASE: Final = getattr(asyncio.tasks, "_release_waiter", None)
