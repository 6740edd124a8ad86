"""The hot path, fed by hand: counts, sizes, times and listeners of one connection's messages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asgi_ws_observe import Connection, ConnectionHook
from asgi_ws_observe.buckets import Buckets
from asgi_ws_observe.states import State
from asgi_ws_observe.traffic import Traffic
from tests.support import ACCEPT, CONNECT, disconnect, text
from tests.test_connection import Life, observations

PAYLOADS = [
    ({"text": "hello"}, 5),
    ({"text": ""}, 0),
    ({"text": "größe"}, 7),
    ({"text": "☃🦄"}, 7),
    ({"text": "\ud800"}, 3),
    ({"bytes": b"\x00\xff"}, 2),
    ({"bytes": b""}, 0),
    ({"bytes": bytearray(b"abc")}, 3),
    ({"text": None, "bytes": b"abc"}, 3),
    ({"text": "abcd", "bytes": None}, 4),
    ({"text": None, "bytes": None}, 0),
    ({}, 0),
    # Around the end of the table of small sizes, and above the largest bound.
    ({"text": "x" * 4096}, 4096),
    ({"text": "x" * 4097}, 4097),
    ({"bytes": bytes(2**24)}, 2**24),
    ({"bytes": bytes(2**24 + 1)}, 2**24 + 1),
]


@pytest.mark.parametrize(("payload", "size"), PAYLOADS)
def test_size_of_a_message_is_its_bytes_in_utf8(payload: dict[str, Any], size: int) -> None:
    """What counts is what went over the wire, in both directions."""
    life = Life().opened()
    expected = Buckets(life.numbers.size_in.bounds)
    expected.observe(size)

    life.receive({"type": "websocket.receive"} | payload)
    life.send({"type": "websocket.send"} | payload)

    for buckets in (life.numbers.size_in, life.numbers.size_out):
        assert (expected.counts, size) == (buckets.counts, buckets.sum)
    connection = life.connection
    assert (1, 1) == (connection.messages_in, connection.messages_out)
    assert (size, size) == (connection.bytes_in, connection.bytes_out)
    assert size == connection.message.size


@pytest.mark.parametrize("size", [0, 63, 64, 65, 256, 257, 1024, 4095, 4096, 4097, 16384, 16385])
def test_size_on_a_bound_falls_into_its_bucket(size: int) -> None:
    """The table of small sizes agrees with the search."""
    life = Life().opened()
    expected = Buckets(life.numbers.size_in.bounds)
    expected.observe(size)

    life.receive(text("x" * size))

    assert expected.counts == life.numbers.size_in.counts


def test_message_with_text_and_bytes_counts_what_is_used() -> None:
    """Applications read the text first, servers send the bytes."""
    life = Life().opened()

    life.receive(text("abc") | {"bytes": b"a"})
    life.send({"type": "websocket.send", "text": "abc", "bytes": b"a"})

    assert (3, 1) == (life.connection.bytes_in, life.connection.bytes_out)


def test_handler_time_is_from_receive_to_the_next_receive() -> None:
    """Waiting for the client is never part of it."""
    life = Life().opened()
    life.receive(text("a"))
    life.now += 0.3
    life.connection.handled(life.now)
    life.now += 60.0
    life.connection.received(text("b"), life.now)
    life.now += 0.0004
    life.end()

    handler = life.numbers.handler
    assert pytest.approx(0.3004) == handler.sum
    assert [0.0005, 0.5] == [
        bound for bound, count in zip(handler.bounds, handler.counts, strict=False) if count
    ]


def test_handler_time_is_counted_once_a_message() -> None:
    """Asking again, or without a message, counts nothing."""
    life = Life().opened()
    life.receive(text("a"))
    for _ in range(3):
        life.connection.handled(life.now + 1.0)

    assert 1 == observations(life.numbers.handler)


def test_backpressure_is_the_time_that_send_waits() -> None:
    """Short times take the first bucket, the longest the last."""
    life = Life().opened()

    for took in (0.0, 0.5, 31.0):
        life.send({"type": "websocket.send", "text": "a"}, took)

    waits = life.numbers.send
    assert (31.5, 3) == (waits.sum, observations(waits))
    assert (1, 1) == (waits.counts[0], waits.counts[-1])


@pytest.mark.parametrize("error", [OSError("gone"), asyncio.CancelledError()])
def test_backpressure_of_a_refused_send_counts(error: BaseException) -> None:
    """It waited behind a client that reads no more, until that vanished or somebody gave up."""
    life = Life().opened()

    life.refuse(error, took=40.0)

    waits = life.numbers.send
    assert (40.0, 1, 0) == (waits.sum, waits.counts[-1], life.connection.messages_out)


def test_refused_answer_to_the_handshake_is_no_backpressure() -> None:
    """Nothing is sent before the handshake is accepted."""
    life = Life()
    life.receive(CONNECT)
    life.refuse(OSError("gone"), took=1.0)
    life.end()

    assert 0 == observations(life.numbers.send)


def test_exemplar_is_kept_for_the_bucket_of_a_sampled_message() -> None:
    """A slow bucket leads to a trace; the one before it keeps its own."""
    life = Life().opened()
    life.connection.listener = listener = Listener()
    for context, took in (("first", 0.0001), ("slow", 0.3), (None, 0.4)):
        life.receive(text("a"))
        listener.context = context
        life.now += took
        life.connection.handled(life.now)

    kept = life.numbers.handler.exemplars
    assert ["first", "slow"] == [exemplar[0] for exemplar in kept.values()]
    assert [0, life.numbers.handler.bounds.index(0.5)] == list(kept)
    assert pytest.approx(0.3) == kept[life.numbers.handler.bounds.index(0.5)][1]


class Listener:
    """Follow messages, and fail in one of the methods if told so."""

    slow = 0.0

    def __init__(self, broken: str = "") -> None:
        self.calls: list[Any] = []
        self.context: Any = None
        self._broken = broken

    def received(self, message: Any, size: int) -> None:
        self._note("received", message, size)

    def handled(self, duration: float, exemplar: bool) -> Any:
        self._note("handled", duration)
        return self.context if exemplar else None

    def interrupted(self) -> None:
        self._note("interrupted")

    def _note(self, name: str, *args: Any) -> None:
        self.calls.append((name, *args))
        if name == self._broken:
            raise ValueError(name)


def test_listener_follows_every_message() -> None:
    """It gets the very message, and its end before the next one."""
    life, listener = Life().opened(), Listener()
    life.connection.listener = listener
    first, second = text("a"), text("bc")
    life.receive(first)
    life.now += 0.5
    life.receive(second)
    life.end()

    assert [
        *(("received", first, 1), ("handled", pytest.approx(0.5))),
        *(("received", second, 2), ("handled", 0.0)),
    ] == listener.calls
    assert listener.calls[0][1] is first


@pytest.mark.parametrize("broken", ["received", "handled"])
def test_failing_listener_is_reported_once_and_dropped(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The messages are counted all the same, and have no exemplars."""
    life, listener = Life().opened(), Listener(broken)
    life.connection.listener = listener
    listener.context = "context"
    for _ in range(3):
        life.receive(text("a"))
    life.end()

    assert broken == listener.calls[-1][0]
    assert len(listener.calls) <= 2
    assert 1 == life.store.own_errors["tracing"] == len(caplog.records)
    assert "this connection's messages have no more spans" in caplog.text
    assert {} == life.numbers.handler.exemplars
    assert (3, 3) == (life.connection.messages_in, observations(life.numbers.handler))


class Messages(ConnectionHook):
    """Note what the hooks of messages get."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def message_received(self, connection: Connection, message: Any, size: int) -> None:
        self.calls.append(("received", message["text"], size, connection.messages_in))

    def message_handled(self, connection: Connection, duration: float) -> None:
        self.calls.append(("handled", duration))

    def message_sent(self, connection: Connection, message: Any, size: int) -> None:
        self.calls.append(("sent", message["text"], size, connection.messages_out))


def test_hooks_of_messages_get_size_and_time() -> None:
    """The counts of the record are up to date when they are called."""
    hook = Messages()
    life = Life(hooks=(hook,)).opened()
    life.receive(text("ab"))
    life.now += 0.5
    life.send({"type": "websocket.send", "text": "abc"})
    life.receive(disconnect())

    assert [("received", "ab", 2, 1), ("sent", "abc", 3, 1), ("handled", 0.5)] == hook.calls


def test_type_of_a_message_belongs_to_it_alone() -> None:
    """A reader that asks makes no message, and gets no older one's type."""
    life = Life().opened()
    types = [life.connection.message_type]
    life.receive(text("a"))
    life.connection.message.type = "chat"
    types.append(life.connection.message_type)
    life.receive(text("b"))
    types.append(life.connection.message_type)

    assert [None, "chat", None] == types


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (Traffic.received, CONNECT),
        (Traffic.received, text("a")),
        (Traffic.sent, ACCEPT),
        (Traffic.sent, {"type": "websocket.send", "text": "a"}),
    ],
)
def test_traffic_alone_knows_messages_of_open_connections_only(
    told: Any, message: dict[str, Any]
) -> None:
    """The rest is the record's: `Connection` knows what it means."""
    times = (1.0,) if told is Traffic.received else (1.0, 1.0)

    with pytest.raises(NotImplementedError):
        told(Traffic(None), message, *times)


def test_traffic_alone_has_done_nothing() -> None:
    """A detached record shows zeros."""
    traffic = Traffic(None)
    traffic.handled(1.0)

    assert State.CONNECTING is traffic.state
    assert {0} == {traffic.messages_in, traffic.messages_out, traffic.bytes_in, traffic.bytes_out}
    assert (0, 0.0, 0.0) == (traffic.sending, traffic.sending_since, traffic.received_at)
    assert (0, 0, None) == (traffic.message.number, traffic.message.size, traffic.message_type)


def test_last_message_is_known_by_when_it_was_received() -> None:
    """A probe tells by that how long the server could not read."""
    life = Life().opened()
    times = [life.connection.received_at]
    for took in (1.0, 2.0):
        life.now += took
        life.receive(text("a"))
        times.append(life.connection.received_at)
    life.now += 1.0
    life.receive(disconnect())
    times.append(life.connection.received_at)

    assert [0.0, 101.0, 103.0, 103.0] == times


def test_connection_that_carries_packets_counts_them_and_is_silent() -> None:
    """Another protocol's packets are handed on: they have no handler time, and no spans."""
    life = Life().opened()
    life.connection.listener = listener = Listener()
    life.connection.carries_packets()

    life.receive(text("2probe"))
    life.receive(text("5"))

    assert None is life.connection.listener
    assert [] == listener.calls
    assert 2 == life.connection.messages_in
    assert 0 == sum(life.numbers.handler.counts)
    assert 7 == life.numbers.size_in.sum
