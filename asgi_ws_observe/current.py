"""The connection that the running code belongs to."""

from __future__ import annotations

from contextvars import ContextVar

from .connection import Connection, Message

__all__ = ["current_connection", "current_message", "enter_connection"]

_current: ContextVar[Connection | None] = ContextVar("asgi_ws_observe_connection", default=None)


def enter_connection(connection: Connection | None) -> Connection | None:
    """Make a connection the current one for this task and the tasks that it starts.

    Returns:
        The one that was current before, to go back to.
    """
    previous = _current.get()
    _current.set(connection)
    return previous


def current_connection() -> Connection:
    """Return the record of the connection that this code runs for.

    Outside a connection, and where it is not observed, a detached record with an empty id: what is
    set on it goes nowhere, so that a handler needs no special case.
    """
    connection = _current.get()
    return Connection(None, {}, 0.0) if connection is None else connection


def current_message() -> Message:
    """Return the message that this connection's handler works on.

    Set its ``type`` to name the message's span. Take it at the handler's start where work goes on
    after the next message was received.
    """
    return current_connection().message
