"""What a message carries over a broker, and what comes out of anybody's payload."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanContext

from asgi_ws_observe.fanout.envelope import Envelope, inject, inject_headers, parse
from asgi_ws_observe.tracing.carriers import remote_context

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID, STATE = f"00-{TRACE_ID}-{PARENT_ID}-01", "vendor=7"
OTHER = f"00-{'1' * 32}-{'2' * 16}-01"
CONTEXT = remote_context({"traceparent": VALID, "tracestate": STATE})
OTHER_CONTEXT = remote_context({"traceparent": OTHER})
CARRIER = {"traceparent": VALID, "tracestate": STATE}
CHAT = {"type": "chat", "text": "grüß dich 👋"}
META: dict[str, Any] = {"time": 1790000000.123, "clock": 12.3, "publisher": "f3a1", "sequence": 17}


@contextlib.contextmanager
def current(context: SpanContext | None) -> Iterator[None]:
    """Make somebody's span current."""
    assert context is not None
    with trace.use_span(trace.NonRecordingSpan(context)):
        yield


def foreign(raw: bytes, context: SpanContext | None = None) -> Envelope:
    """Return what somebody else's payload is."""
    return Envelope(raw, context, None, None, None, None, raw)


def whole(body: Any, raw: bytes, context: SpanContext | None = CONTEXT) -> Envelope:
    """Return what a payload with everything in it is."""
    return Envelope(body, context, **META, raw=raw)


# What goes on the wire.


def test_object_keeps_its_keys_at_the_top_level() -> None:
    """A node without this library reads what it always did."""
    with current(CONTEXT):
        payload = inject(CHAT, **META)

    assert list((CHAT | CARRIER | {"_ws": META}).items()) == list(orjson.loads(payload).items())
    assert {"type": "chat", "text": "grüß dich 👋"} == CHAT
    assert whole(CHAT, payload) == parse(payload)


@pytest.mark.parametrize(
    "body",
    [
        *("hello", '{"type":"chat"}', "", "grüß dich 👋 \x00", None, True, 7, 7.5, [], [1, [CHAT]]),
        *({"traceparent": OTHER}, {"tracestate": "mine"}, {"_ws": {"time": 5}, "text": "hi"}),
    ],
    ids=repr,
)
def test_what_cannot_stand_at_the_top_level_goes_under_body(body: Any) -> None:
    """No object, or one with a key of the envelope's own."""
    with current(CONTEXT):
        payload = inject(body, **META)

    expected = {"body": body, **CARRIER, "_ws": META | {"key": "body"}}
    assert expected == orjson.loads(payload)
    assert whole(body, payload) == parse(payload)


@pytest.mark.parametrize("body", [b"hello", bytearray(b"hello"), memoryview(b"_h_e_l_l_o")[1::2]])
def test_bytes_go_as_base64(body: Any) -> None:
    """As CloudEvents' data_base64; they come back as bytes."""
    payload = inject(body, time=5)

    expected = {"body_base64": "aGVsbG8=", "_ws": {"time": 5.0, "base64": "body_base64"}}
    assert expected == orjson.loads(payload)
    assert (b"hello", bytes) == (parse(payload).body, type(parse(payload).body))


@pytest.mark.parametrize("key", ["data", "body", "", "ключ", "base64"])
@pytest.mark.parametrize("body", [CHAT, "hello", b"\x00\xff", None, {"_ws": 1}], ids=repr)
def test_key_wraps_every_body(key: str, body: Any) -> None:
    """And is named by the payload, so that the other end need not know it."""
    payload = inject(body, time=5, key=key)
    name = f"{key}_base64" if isinstance(body, bytes) else key

    assert {name, "_ws"} == set(orjson.loads(payload))
    assert Envelope(body, None, 5.0, None, None, None, payload) == parse(payload)


def test_own_key_is_refused() -> None:
    """It would overwrite the body."""
    with pytest.raises(ValueError, match="key: got '_ws'; accepted: any but _ws, trace"):
        inject(CHAT, key="_ws")


@pytest.mark.parametrize(
    "body",
    ["\ud800", {"a": {1}}, {7: "a"}, {"a": b"b"}, 2**64, object()],
    ids=lambda body: type(body).__name__,
)
def test_what_orjson_does_not_take_is_refused(body: Any) -> None:
    """As orjson does; the caller decides."""
    with pytest.raises(TypeError):
        inject(body)


@pytest.mark.parametrize("arguments", [{"sequence": 0}, {"publisher": ""}, {"time": float("inf")}])
def test_what_nobody_would_take_is_refused(arguments: dict[str, Any]) -> None:
    """Whether in the payload or in headers."""
    with pytest.raises(ValueError, match="accepted:"):
        inject(CHAT, **arguments)
    with pytest.raises(ValueError, match="accepted:"):
        inject_headers(CHAT, **arguments)


def test_message_without_a_current_span_has_its_time_only() -> None:
    """There is nothing else to say."""
    assert {"text": "hi", "_ws": {"time": 5.0}} == orjson.loads(inject({"text": "hi"}, time=5))
    assert (b"hi", {"ws-time": "5.0"}) == inject_headers(b"hi", time=5)


# What others publish.


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"hello", b"{", b"{}", b"[]", b"null", b"\xff\xfe", b'{"type":"chat"}', b"{" * 5000),
        *(b'{"traceparent":7}', b'["traceparent"]', b'{"a":"_ws"}', b'{"_ws":null}', b'{"_ws":[]}'),
        *(b'{"_ws":{}}', b'{"_ws":{"room":7}}', b'{"_ws":{"time":"noon","sequence":0}}'),
        *(b'{"_ws":{"time":NaN}}', b'{"_ws":{"time":1e999}}', b'{"a":"\\ud800","_ws":{"time":5}}'),
        b'{"_ws":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"_ws":{"time":5},"a":' + b'{"a":' * 100_000,
    ],
    ids=lambda raw: ascii(raw)[:30],
)
def test_payload_without_an_envelope_is_delivered_as_it_is(raw: bytes) -> None:
    """Byte for byte, whatever it is."""
    assert foreign(raw) == parse(raw)


@pytest.mark.parametrize(
    "carried",
    [CARRIER, {"_otel": CARRIER}, {"_traceContext": CARRIER, "traceparents": 7}],
    ids=lambda carried: next(iter(carried)),
)
def test_context_in_somebody_elses_object_is_read(carried: dict[str, Any]) -> None:
    """The body is the payload as it is, carrier included."""
    raw = orjson.dumps(CHAT | carried, option=orjson.OPT_INDENT_2)

    assert foreign(raw, CONTEXT) == parse(raw)


@pytest.mark.parametrize(
    "meta",
    [
        *({"key": 7}, {"key": None}, {"key": ["body"]}, {"key": "missing"}, {"key": "_ws"}),
        *({"key": "traceparent"}, {"base64": "tracestate"}, {"key": "body", "base64": "body"}),
        *({"base64": "body"}, {"base64": "list"}, {"base64": "null"}, {"base64": {}}),
        *({"base64": "word"}, {"base64": "accent"}),
    ],
    ids=repr,
)
def test_payload_that_contradicts_itself_is_delivered_as_it_is(meta: dict[str, Any]) -> None:
    """Only its context is taken: nobody knows what else to believe."""
    body = {"body": "no base64!", "list": ["aGk="], "null": None, "word": "aGk", "accent": "é==="}
    raw = orjson.dumps(body | CARRIER | {"_ws": META | meta})

    assert foreign(raw, CONTEXT) == parse(raw)


@pytest.mark.parametrize(
    ("name", "value"),
    [("time", "noon"), ("clock", True), ("publisher", "x" * 65), ("sequence", 1.5)],
)
def test_malformed_field_is_none(name: str, value: Any) -> None:
    """The others count."""
    raw = orjson.dumps(CHAT | CARRIER | {"_ws": META | {name: value}})
    expected = META | {name: None}

    assert Envelope(CHAT, CONTEXT, **expected, raw=raw) == parse(raw)


@pytest.mark.parametrize("context", ["garbage", None, 7, VALID.upper()])
def test_malformed_context_is_none(context: Any) -> None:
    """The others count."""
    raw = orjson.dumps(CHAT | {"traceparent": context, "tracestate": STATE, "_ws": META})

    assert whole(CHAT, raw, None) == parse(raw)


def test_last_of_two_equal_keys_counts() -> None:
    """As in orjson; the body holds neither."""
    raw = b'{"a":1,"_ws":{"sequence":1},"a":2,"_ws":{"key":7},"_ws":{"sequence":3,"sequence":4}}'

    assert Envelope({"a": 2}, None, None, None, None, 4, raw) == parse(raw)


def test_what_stands_beside_a_wrapped_body_is_left_out() -> None:
    """What a later version or somebody in between may add."""
    raw = orjson.dumps({"body": "hi", "hop": 7, "_ws": META | {"key": "body", "later": 7}})

    assert whole("hi", raw, None) == parse(raw)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, bytes.decode])
def test_every_type_of_payload_is_read(kind: Any) -> None:
    """As clients of brokers give it."""
    payload = inject(CHAT, **META)

    assert whole(CHAT, payload, None) == parse(kind(payload))
    assert foreign(b"hi") == parse(kind(b"hi"))


def test_text_that_is_no_utf8_is_delivered() -> None:
    """As the bytes that Python makes of it."""
    assert foreign(b'{"_ws":\xed\xa0\x80}') == parse('{"_ws":\ud800}')


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Who publishes nonsense could fill the log."""
    with caplog.at_level(logging.DEBUG):
        parse(orjson.dumps(CHAT | {"traceparent": VALID, "tracestate": "\n", "_ws": META}))

    assert [] == caplog.messages


# Headers.


@pytest.mark.parametrize("kind", [dict, lambda headers: list(headers.items())])
@pytest.mark.parametrize("encode", [str, str.encode])
def test_headers_carry_everything_and_leave_the_payload(kind: Any, encode: Any) -> None:
    """Even one that looks like an envelope."""
    with current(CONTEXT):
        raw, headers = inject_headers(inject("hello", time=5), **META)
    assert raw.startswith(b'{"body":"hello","traceparent":')
    assert CARRIER.items() <= headers.items()
    found = parse(raw, headers=kind({name: encode(value) for name, value in headers.items()}))
    assert whole(raw, raw) == found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (CHAT, orjson.dumps(CHAT)),
        ([1, None], b"[1,null]"),
        (None, b"null"),
        ("h\u00e9", b"h\xc3\xa9"),
        ("{}", b"{}"),
        (b"\xff", b"\xff"),
        (memoryview(b"\x00"), b"\x00"),
    ],
)
def test_body_beside_headers_comes_back_as_it_was_published(body: Any, expected: bytes) -> None:
    """Equal and of the same type; anybody else reads the plain payload."""
    raw, headers = inject_headers(body, **META)
    assert expected == raw
    found = parse(raw, headers=headers).body
    body = bytes(body) if isinstance(body, memoryview) else body
    assert (body, type(body)) == (found, type(found))


@pytest.mark.parametrize(("kind", "raw"), [("json", b"{"), ("text", b"\xff"), ("odd", b"hi")])
def test_payload_that_is_not_what_its_headers_say_is_as_it_is(kind: str, raw: bytes) -> None:
    """Whoever wrote them."""
    assert raw == parse(raw, headers={"ws-time": "5", "ws-body": kind}).body


@pytest.mark.parametrize("body", ["\ud800", {1: 2}, object()])
def test_body_that_no_payload_can_be_is_refused_beside_headers(body: Any) -> None:
    """Before anything is sent."""
    with pytest.raises((TypeError, ValueError)):
        inject_headers(body)


@pytest.mark.parametrize("headers", [None, {}, [], {"traceparent": "garbage"}, {"ws-time": "x"}])
def test_payload_counts_where_headers_hold_no_envelope(headers: Any) -> None:
    """Other headers are no concern of ours."""
    raw = orjson.dumps(CHAT | CARRIER | {"_ws": META})

    assert whole(CHAT, raw) == parse(raw, headers=headers)


def test_context_in_headers_counts_where_the_payload_has_none_of_its_own() -> None:
    """An instrumented client puts it there, whatever it publishes."""
    headers = {"Traceparent": OTHER}
    ours, without = inject(CHAT, **META), b"hello"
    with current(CONTEXT):
        traced = inject(CHAT, **META)
    theirs = orjson.dumps(CHAT | CARRIER)

    assert whole(CHAT, ours, OTHER_CONTEXT) == parse(ours, headers=headers)
    assert whole(CHAT, traced, CONTEXT) == parse(traced, headers=headers)
    assert foreign(without, OTHER_CONTEXT) == parse(without, headers=headers)
    assert foreign(theirs, OTHER_CONTEXT) == parse(theirs, headers=headers)


# One line for a mixed fleet.


@pytest.mark.parametrize(
    "payload",
    [
        inject(CHAT, time=5),
        inject(orjson.dumps(CHAT), time=5),
        inject(orjson.dumps(CHAT).decode(), time=5),
        *(orjson.dumps(CHAT), orjson.dumps(CHAT, option=orjson.OPT_INDENT_2)),
    ],
)
def test_json_is_the_same_from_every_node(payload: bytes) -> None:
    """With the library or without, whatever was published."""
    assert CHAT == parse(payload).json()
    assert CHAT == orjson.loads(parse(payload).text())


@pytest.mark.parametrize(
    "payload", [inject("hello", time=5), inject(b"hello", time=5), b"hello", "hello"]
)
def test_text_is_the_same_from_every_node(payload: Any) -> None:
    """With the library or without."""
    assert "hello" == parse(payload).text()
    with pytest.raises(ValueError, match="line 1"):
        parse(payload).json()


@pytest.mark.parametrize(("body", "text"), [(None, "null"), ([1, "ü"], '[1,"ü"]'), (7, "7")])
def test_other_values_are_json_text(body: Any, text: str) -> None:
    """As orjson writes it."""
    found = parse(inject(body))

    assert (body, text) == (found.json(), found.text())


def test_what_is_no_text_is_a_value_error() -> None:
    """No UTF-8, or nested deeper than orjson writes."""
    with pytest.raises(ValueError, match="utf-8"):
        parse(b"\xff").text()
    with pytest.raises(ValueError, match="body: Recursion limit"):
        parse(b'{"_ws":{"time":5},"a":' + b"[" * 500 + b"]" * 500 + b"}").text()
