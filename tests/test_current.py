"""The connection and the message that the running code belongs to."""

from __future__ import annotations

import asyncio

from asgi_ws_observe import Connection, Message, current_connection, current_message
from asgi_ws_observe.current import enter_connection
from asgi_ws_observe.states import State
from tests.support import text
from tests.test_connection import Life


def test_current_message_is_the_one_that_is_handled() -> None:
    """A type set on it stays with it and not with the next one."""
    life = Life().opened()
    previous = enter_connection(life.connection)
    try:
        life.receive(text("ab"))
        first = current_message()
        first.type = "chat"
        again = current_message()
        life.receive(text("abc"))
        second = current_message()
    finally:
        enter_connection(previous)

    assert first is again
    assert (1, 2, "chat") == (first.number, first.size, first.type)
    assert (2, 3, None) == (second.number, second.size, second.type)


async def test_current_connection_is_that_of_the_task_and_its_tasks() -> None:
    """Another task has another one."""
    mine, other = Life().connection, Life().connection

    async def handler() -> Connection:
        return current_connection()

    async def serve(connection: Connection) -> Connection:
        assert enter_connection(connection) is None
        return await asyncio.create_task(handler())

    tasks = [asyncio.create_task(serve(connection)) for connection in (mine, other)]
    found = await asyncio.gather(*tasks)

    assert [True, True] == [a is b for a, b in zip(found, (mine, other), strict=True)]
    assert "" == current_connection().id


def test_detached_outside_of_a_connection() -> None:
    """A handler that is called elsewhere, as in a test, needs no special case."""
    connection = current_connection()
    connection.set("user", "ann")
    current_message().type = "chat"

    assert ("", "unmatched", "", State.CONNECTING) == (
        *(connection.id, connection.route, connection.trace_id, connection.state),
    )
    assert {} == current_connection().fields
    assert isinstance(current_message(), Message)
    assert (0, 0, None) == (
        *(current_message().number, current_message().size, current_message().type),
    )
