"""The path of a plain message, which is written out: it counts as the general way does."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from asgi_ws_observe import (
    Connection,
    ConnectionHook,
    Settings,
    WebSocketObserveMiddleware,
    current_connection,
)
from asgi_ws_observe.metrics.prometheus import numbers_of
from asgi_ws_observe.middleware import _Channel
from asgi_ws_observe.store import MOST_PENDING, RouteNumbers
from tests.support import ACCEPT, CONNECT, disconnect, scope

texts = st.text(max_size=300) | st.sampled_from(["", "\ud800", "x" * 5000])
#: What a message can carry, and what it must not.
payloads = st.fixed_dictionaries(
    {},
    optional={
        "text": st.none() | texts | st.integers(),
        "bytes": st.none() | st.binary(max_size=300) | st.binary(max_size=9).map(bytearray),
    },
)
events = st.one_of(
    payloads.map(lambda payload: ("in", {"type": "websocket.receive"} | payload)),
    payloads.map(lambda payload: ("out", {"type": "websocket.send"} | payload)),
    st.sampled_from(
        [
            ("in", {"type": "websocket.receive"}),
            ("in", {"type": "unheard.of", "text": "a"}),
            ("in", {"text": "a"}),
            ("in", CONNECT),
            ("out", ACCEPT),
            ("out", {"type": "unheard.of", "text": "a"}),
            ("out", {"text": "a"}),
            ("out", {"type": "websocket.close", "code": 1000}),
        ]
    ),
)


class General(_Channel):
    """Nothing is written out."""

    __slots__ = ()

    async def receive(self) -> Any:
        """Receive a message."""
        self._tell(self.handled, perf_counter())
        message = await self._receive()
        self._tell(self.received, message, perf_counter())
        return message

    async def send(self, message: Any) -> None:
        """Send a message."""
        started = perf_counter()
        await self._send(message)
        self._tell(self.sent, message, started, perf_counter())

    def _tell(self, what: Any, *args: Any) -> None:
        try:
            what(*args)
        except Exception as error:
            self._failed(error)


class Follows(ConnectionHook):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def message_received(self, connection: Connection, message: Any, size: int) -> None:
        """Keep."""
        self.told.append(("received", message, size))

    def message_handled(self, connection: Connection, duration: float) -> None:
        """Keep."""
        self.told.append("handled")

    def message_sent(self, connection: Connection, message: Any, size: int) -> None:
        """Keep."""
        self.told.append(("sent", message, size))


def play(script: list[tuple[str, Any]], *hooks: ConnectionHook) -> dict[str, Any]:
    """Let an application and its server do what the script says; return what was counted."""
    registry = CollectorRegistry()
    settings = Settings(log_handler="off", log_open=False, log_close=False)
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection = current_connection()
        await receive()
        await send(ACCEPT)
        for direction, message in script:
            if direction == "in":
                assert await receive() is message
            else:
                await send(message)
        await receive()
        assert connection is not None
        seen.update(
            connection=(connection.messages_in, connection.bytes_in),
            sent=(connection.messages_out, connection.bytes_out),
            state=connection.state,
            size=connection.message.size,
        )

    incoming = [CONNECT, *(message for direction, message in script if direction == "in")]
    incoming.append(disconnect())
    taken: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        taken.append(message)

    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings, hooks=hooks)
    asyncio.run(middleware(scope(), receive, send))
    store = numbers_of(registry).store
    (numbers,) = store.routes.values()
    return seen | counted(numbers) | {"taken": taken, "errors": store.own_errors["record"]}


def counted(numbers: RouteNumbers) -> dict[str, Any]:
    """Return what messages left in a route's numbers, times only by how many there are."""
    return {
        "in": numbers.size_in.read(),
        "out": numbers.size_out.read(),
        "handled": sum(numbers.handler.counts),
        "waited": sum(numbers.send.counts),
    }


@given(script=st.lists(events, max_size=12))
def test_plain_message_counts_as_the_general_way_counts_it(script: list[tuple[str, Any]]) -> None:
    """Whatever an application and a server do, both ways see and tell the same, and break alike."""
    with mock.patch("asgi_ws_observe.middleware._Channel", General):
        expected, told = play(script), Follows()
        play(script, told)

    follows = Follows()
    assert expected == play(script) == play(script, follows)
    assert told.told == follows.told


@pytest.mark.parametrize("method", ["handled", "received", "sent"])
def test_failure_of_the_general_way_never_reaches_the_application(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, and the message goes its way."""
    monkeypatch.setattr(f"asgi_ws_observe.connection.Connection.{method}", lambda *_: [][1])
    script = [("in", {"type": "websocket.receive", "text": "a"}), ("out", {"type": "a"})]

    found = play(script, Follows())

    assert [ACCEPT, {"type": "a"}] == found["taken"]
    assert found["errors"] > 0


@pytest.mark.parametrize("hooks", [(), (Follows(),)])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_many_messages_do_not_pile_up(direction: str, hooks: tuple[ConnectionHook, ...]) -> None:
    """They are counted together now and then, without anybody who reads."""
    pending: list[int] = []
    kind = "websocket.receive" if direction == "in" else "websocket.send"

    class Watch(dict[str, Any]):
        """A message that tells how many values wait when it is looked at."""

        def __getitem__(self, name: str) -> Any:
            if name == "text":
                numbers = current_connection().numbers
                waiting = (numbers.size_in, numbers.size_out, numbers.handler, numbers.send)
                pending.append(max(len(buckets.pending) for buckets in waiting))
            return super().__getitem__(name)

    script = [(direction, Watch(type=kind, text="a")) for _ in range(3 * MOST_PENDING)]
    found = play(script, *hooks)

    number = 3 * MOST_PENDING
    assert (number, float(number)) == (sum(found[direction][0]), found[direction][1])
    assert MOST_PENDING - 1 <= max(pending) <= MOST_PENDING
