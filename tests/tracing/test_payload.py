"""What a message says about itself: its type and its sender's trace context."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe import Settings
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.store import Store
from asgi_ws_observe.tracing.payload import PayloadReader
from tests.support import Spans, disconnect, text
from tests.tracing.test_carriers import GIVEN, JSON, OTHER, THERE, VALID, name_of
from tests.tracing.test_spans import echo, observe, run

Read = tuple[str | None, tuple[str, str] | None]


class Reading:
    """A reader with errors of its own.

    Attributes:
        store: Where failures are counted.
    """

    def __init__(self, **settings: Any) -> None:
        self.store = Store()
        self._errors = OwnErrors(self.store)
        self.reader = PayloadReader(Settings(**settings))

    def message(self, message: dict[str, Any], carrier: bool = True) -> Read:
        """Return the type of a message, and the ids of its sender's span."""
        data = message.get("text")
        data = message.get("bytes") or b"" if data is None else data.encode(errors="surrogatepass")
        kind, remote = self.reader.read(message, len(data), carrier=carrier, errors=self._errors)
        return kind, name_of(remote)

    def text(self, payload: str, carrier: bool = True) -> Read:
        """Return the same of a text."""
        return self.message(text(payload), carrier)

    def json(self, value: Any, carrier: bool = True) -> Read:
        """Return the same of a value that is sent as JSON."""
        return self.text(orjson.dumps(value).decode(), carrier)


# The type.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": "a", "event": "b", "action": "c", "op": "d"}, "a"),
        ({"op": "d", "action": "c", "event": "b"}, "b"),
        ({"op": "d", "action": "c"}, "c"),
        ({"op": "d"}, "d"),
        ({"op": 7}, "7"),
        ({"op": 0}, "0"),
        ({"op": -1}, "-1"),
        ({"type": True, "op": 1}, "1"),
        ({"type": False}, None),
        ({"type": None, "event": "b"}, "b"),
        ({"type": "", "event": "b"}, "b"),
        ({"type": ["a"], "event": {"b": 1}, "op": "d"}, "d"),
        ({"type": 1.5}, None),
        ({"Type": "a"}, None),
        ({"data": {"type": "a"}}, None),
        ({}, None),
    ],
)
def test_type_is_the_first_usable_key(value: dict[str, Any], expected: str | None) -> None:
    """Text that says something, or a whole number; anything else is passed over."""
    assert (expected, None) == Reading().json(value)


@pytest.mark.parametrize(
    ("keys", "expected"), [(("kind",), "k"), (("no", "type"), "t"), (("no",), None), ((), None)]
)
def test_keys_can_be_the_application_s_own(keys: Any, expected: str | None) -> None:
    """In their order."""
    reading = Reading(message_type_keys=keys)
    assert (expected, None) == reading.json({"type": "t", "kind": "k"})


def test_without_keys_no_message_is_read_for_its_type() -> None:
    """Its sender's context is found none the less, where that counts."""
    reading = Reading(message_type_keys=None)
    value = {"type": "t", "traceparent": VALID}

    assert [(None, GIVEN), (None, None)] == [reading.json(value), reading.json(value, False)]


@pytest.mark.parametrize("data", [' {"op": 1}', '\r\n\t {"op":1} \n', '{"op":1,"op":1}'])
@pytest.mark.parametrize("binary", [False, True])
async def test_white_space_and_binary_are_no_hindrance(
    spans: Spans, data: str, binary: bool
) -> None:
    """An object is one whatever it begins with, and whatever opcode it came with."""
    message = {"type": "websocket.receive", "bytes": data.encode()} if binary else text(data)
    await run(observe(echo, spans.provider), message, disconnect())

    assert ["ws.message 1"] == [span.name for span in spans.named("ws.message")]


@pytest.mark.parametrize(
    "data",
    [
        *("", "{", "}", "{}", "[]", '[{"type":"a"}]', '"type"', "null", "7", "{'type':'a'}"),
        *('{"type":"a"} {"type":"b"}', '{"type":"a",}', '\ufeff{"type":"a"}'),
        *('{"type":"\ud800"}', '{"type":"\\ud800"}', '{"\ud800":1,"type":"a"}', "\ud800"),
        *('{"type":' * 5000, '{"x":' + "[" * 3000 + "]" * 3000 + "}"),
    ],
    ids=lambda data: ascii(data)[:24],
)
def test_what_is_no_object_says_nothing(data: str) -> None:
    """Nor what only begins like one, however deep, and whatever characters it has."""
    reading = Reading(message_json_bytes=100_000)
    raw = data.encode(errors="surrogatepass")

    assert (None, None) == reading.text(data)
    assert (None, None) == reading.message({"type": "websocket.receive", "bytes": raw})


def test_message_without_payload_says_nothing() -> None:
    """Some servers send both keys, one of them None."""
    message = {"type": "websocket.receive", "text": None, "bytes": None}
    assert [(None, None)] * 2 == [Reading().message(message), Reading().message({"type": ""})]


@pytest.mark.parametrize(("most", "expected"), [(10, "a"), (9, None), (0, None)])
@pytest.mark.parametrize("data", ['{"op":"a"}', '{"op":"é"}'])
def test_large_message_is_not_read(most: int, expected: str | None, data: str) -> None:
    """Bytes count, not characters."""
    large = len(data.encode()) > 10
    reading = Reading(message_json_bytes=most)
    assert (None if large else expected, None) == reading.text(data)


# The application's own function.


def test_function_wins_over_the_keys() -> None:
    """It gets the ASGI message, whatever that is."""
    seen: list[Any] = []

    def kind_of(message: Any) -> Any:
        seen.append(message)
        return 7

    reading = Reading(message_type=kind_of)
    binary = {"type": "websocket.receive", "bytes": b"\x07\x00"}
    said = text('{"type":"a"}')

    assert [("7", None), ("7", None)] == [reading.message(binary), reading.message(said)]
    assert [binary, said] == seen
    assert [True, False] == [each.reader.asks for each in (reading, Reading())]


def test_function_that_says_nothing_leaves_it_to_the_keys() -> None:
    """An empty text is a type, though: the function said so."""
    reading = Reading(message_type=lambda message: message.get("said"))

    assert ("a", None) == reading.json({"type": "a"})
    assert ("", None) == reading.message(text('{"type":"a"}') | {"said": ""})


class Odd:
    """What has no text."""

    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("fails", ["raising", "without text"])
def test_function_that_fails_is_reported_and_called_no_more(
    caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    """From then on the keys count."""
    calls: list[Any] = []

    def kind_of(message: Any) -> Any:
        calls.append(message)
        if fails == "raising":
            raise LookupError("no type")
        return Odd()

    reading = Reading(message_type=kind_of)
    with caplog.at_level(logging.ERROR, "asgi_ws_observe"):
        found = [reading.json({"type": "a"})[0] for _ in range(3)]

    assert ["a", "a", "a"] == found
    assert (1, 1, 1) == (len(calls), reading.store.own_errors["message_type"], len(caplog.records))
    assert "types are read as usual from now on" in caplog.text


async def test_function_is_asked_about_messages_that_are_no_json(spans: Spans) -> None:
    """Protocols of bytes have types as well; the handler's own word wins."""
    app = observe(echo, spans.provider, message_type=lambda message: f"op {message['bytes'][0]}")
    messages = [{"type": "websocket.receive", "bytes": bytes([n])} for n in (1, 2)]
    await run(app, *messages, disconnect())

    assert ["ws.message op 1", "ws.message op 2"] == [
        span.name for span in spans.named("ws.message")
    ]


async def test_type_of_a_message_is_not_that_of_the_one_before(spans: Spans) -> None:
    """A message that says nothing has no type, whatever came before it."""
    said = ['{"type":"chat"}', "plain", "", '{"type":"join"}', "[1]", "{}"]
    await run(observe(echo, spans.provider), *map(text, said), disconnect())

    expected = ["ws.message chat", *["ws.message"] * 2, "ws.message join", *["ws.message"] * 2]
    assert expected == [span.name for span in spans.named("ws.message")]


# The carrier.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"traceparent": VALID}, GIVEN),
        ({"_otel": {"traceparent": VALID}}, GIVEN),
        ({"_traceContext": {"traceparent": VALID}}, GIVEN),
        ({"_otel": 7, "_traceContext": {"traceparent": VALID}}, GIVEN),
        ({"traceparent": VALID, "_otel": {"traceparent": OTHER}}, GIVEN),
        ({"_otel": {"traceparent": VALID}, "_traceContext": {"traceparent": OTHER}}, GIVEN),
        ({"traceparent": "garbage", "_otel": {"traceparent": OTHER}}, None),
        ({"_otel": {}, "_traceContext": {"traceparent": OTHER}}, None),
        ({"_otel": [{"traceparent": VALID}]}, None),
        ({"data": {"traceparent": VALID}}, None),
        ({"_otel": {"_otel": {"traceparent": VALID}}}, None),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_carrier_is_at_the_top_or_where_tutorials_put_it(value: Any, expected: Any) -> None:
    """The first one that is there counts, valid or not."""
    assert (None, expected) == Reading().json(value)
    assert ("a", expected) == Reading().json(value | {"type": "a"})
    assert ("a", None) == Reading().json(value | {"type": "a"}, carrier=False)


def test_carrier_is_found_beside_a_type_of_the_function() -> None:
    """Only who asks for neither has no message read."""
    reading = Reading(message_type=lambda message: "own")
    value = {"type": "a", "traceparent": OTHER}

    assert [("own", THERE), ("own", None)] == [reading.json(value), reading.json(value, False)]


# Anything at all.


@given(value=JSON, keys=st.none() | st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_any_json_is_read(value: Any, keys: Any) -> None:
    """A type is a text, and one of an object's keys gave it."""
    reading = Reading(message_type_keys=keys)
    try:
        data = orjson.dumps(value)
    except TypeError:  # a lone surrogate
        data = b"{}"
    kind, _ = reading.message({"type": "websocket.receive", "bytes": data})

    assert kind is None or kind in [str(value[key]) for key in keys if key in value]
    assert {0} == set(reading.store.own_errors.values())


@given(
    data=st.one_of(
        st.text(max_size=80), st.binary(max_size=80), st.binary().map(lambda rest: b'{"' + rest)
    )
)
def test_any_payload_is_read(data: str | bytes) -> None:
    """Never an exception, whatever a client sends."""
    key = "text" if isinstance(data, str) else "bytes"
    kind, remote = Reading().message({"type": "websocket.receive", key: data})

    assert kind is None or isinstance(kind, str)
    assert remote is None or isinstance(remote, tuple)
