"""The path of a plain message, which is written out: it counts as the general way does."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter
from types import SimpleNamespace
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
from asgi_ws_observe.buckets import MOST_PENDING
from asgi_ws_observe.channel import Channel
from asgi_ws_observe.metrics.prometheus import numbers_of
from asgi_ws_observe.store import RouteNumbers
from tests.support import ACCEPT, CONNECT, Server, disconnect, scope, until

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


class General(Channel):
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
    with mock.patch("asgi_ws_observe.middleware.Channel", General):
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


class Gated(Channel):
    """A connection whose listener hears of what the gate lets through."""

    __slots__ = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.listener, self.gate = listener, gate


class Heard:
    """A listener that keeps what it was told."""

    slow = 0.0

    def __init__(self) -> None:
        self.told: list[Any] = []

    def received(self, message: Any, size: int) -> None:
        """Keep."""
        self.told.append(("received", message, size))

    def handled(self, duration: float, exemplar: bool) -> None:
        """Keep, with what was skipped, and let go of it."""
        connection = current_connection()
        self.told.append(("handled", connection.skipped))
        connection.skipped = None

    def interrupted(self) -> None:
        """Pass."""


listener, gate = Heard(), SimpleNamespace(opens_at=0.0)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Return the listener of every connection that is made; the gate is closed, all is slow."""
    monkeypatch.setattr("asgi_ws_observe.middleware.Channel", Gated)
    listener.told, listener.slow, gate.opens_at = [], 0.0, math.inf
    return listener


MESSAGES = [{"type": "websocket.receive", "text": each} for each in ("a", "bc")]
SCRIPT = [("in", message) for message in MESSAGES]


@pytest.mark.parametrize(
    ("opens_at", "slow", "expected"),
    [
        (math.inf, math.inf, []),
        (math.inf, 0.0, [("handled", each) for each in MESSAGES]),
        (
            -math.inf,
            math.inf,
            [
                told
                for each in MESSAGES
                for told in (("received", each, len(each["text"])), ("handled", None))
            ],
        ),
    ],
)
def test_closed_gate_keeps_messages_from_the_listener(
    heard: Heard, opens_at: float, slow: float, expected: list[Any]
) -> None:
    """Unless they were slow; all are counted."""
    gate.opens_at, heard.slow = opens_at, slow

    found = play(SCRIPT)

    # Whatever was skipped last is looked at when the connection ends.
    assert expected == [each for each in heard.told if each != ("handled", None) or expected]
    assert 2 == found["handled"]


def test_skipped_message_is_let_go_of(heard: Heard) -> None:
    """It may be large, and nobody knows when the next one comes."""
    heard.slow = math.inf
    seen: list[Any] = []

    class Look(dict[str, Any]):
        """A message that tells what is skipped when it is sent."""

        def __getitem__(self, name: str) -> Any:
            seen.append(current_connection().skipped)
            return super().__getitem__(name)

    out = Look(type="websocket.send", text="x")
    play([*SCRIPT[:1], ("out", out), ("in", CONNECT), ("out", out)])

    assert MESSAGES[0] == seen[0]
    assert None is seen[-1]


def test_gate_is_of_no_use_where_a_hook_follows_all(heard: Heard) -> None:
    """It must be told of each message, and the listener decides by itself."""
    play(SCRIPT, Follows())

    assert ["received", "handled"] * 2 == [each[0] for each in heard.told]


def test_listener_that_goes_takes_the_gate_with_it() -> None:
    """And what it has not heard of."""
    connection = Connection(None, {}, 0.0)
    connection._hooks = SimpleNamespace(  # type: ignore[assignment]
        message_received=[], message_handled=[], message_sent=[]
    )
    connection.listener, connection.gate, connection.skipped = Heard(), gate, {}
    before: list[Any] = [connection.gate, connection.skipped]
    connection.listener = None
    after: list[Any] = [connection.gate, connection.skipped]

    assert ([gate, {}], [None, None]) == (before, after)


@pytest.mark.parametrize("first", [0, 1])
async def test_send_that_returns_leaves_those_that_wait(first: int) -> None:
    """Whichever returns first, the time is that of the one that has waited longest."""
    doors = [asyncio.Event(), asyncio.Event()]
    seen: list[Any] = []

    async def send(message: Any) -> None:
        if "text" in message:
            await doors[int(message["text"])].wait()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection = current_connection()
        await receive()
        await send(ACCEPT)
        tasks = []
        for number in range(2):
            message = {"type": "websocket.send", "text": str(number)}
            tasks.append(asyncio.create_task(send(message)))
            await until(lambda: connection.sending == len(tasks))
        began = connection.sending_since
        doors[first].set()
        await tasks[first]
        seen.extend([connection.sending, connection.sending_since > began])
        doors[1 - first].set()
        await tasks[1 - first]
        seen.extend([connection.sending, connection.sending_since])

    middleware = WebSocketObserveMiddleware(
        app, registry=CollectorRegistry(), settings=Settings(log_handler="off")
    )
    await middleware(scope(), Server([CONNECT]).receive, send)

    assert [1, first == 0, 0, 0.0] == seen
