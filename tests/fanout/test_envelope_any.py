"""Any body, any payload and any headers: what comes back, and that nothing raises."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe.fanout.envelope import Envelope, inject, parse
from tests.fanout.test_envelope import CARRIER, CONTEXT, META, STATE, VALID, current, foreign

NAMES = st.sampled_from(["traceparent", "tracestate", "_ws", "_otel", "body", "key", "base64"])
KEYS = NAMES | st.text(max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from([VALID, STATE, "time", "body"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
BODIES = VALUES | st.binary(max_size=60)
WRAPPERS = st.none() | st.text(max_size=8) | st.just("body_base64")
METAS = st.fixed_dictionaries(
    {},
    optional={
        "time": st.just(1790000000.123) | VALUES,
        "clock": st.just(12.3) | VALUES,
        "publisher": st.just("f3a1") | VALUES,
        "sequence": st.just(17) | VALUES,
        "key": KEYS | VALUES,
        "base64": KEYS | VALUES,
    },
)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of equal types all the way down."""
    return type(one) is type(other) and one == other and repr(one) == repr(other)


@given(body=BODIES, key=WRAPPERS, publisher=st.none() | st.just("ж 1"), sequence=st.integers(1, 99))
def test_any_body_comes_back(
    body: Any, key: str | None, publisher: str | None, sequence: int
) -> None:
    """Equal, of its type, with its context."""
    with current(CONTEXT):
        payload = inject(body, publisher=publisher, sequence=sequence, time=5, clock=7, key=key)
    found = parse(payload)

    assert same(body, found.body)
    assert Envelope(body, CONTEXT, 5.0, 7.0, publisher, sequence, payload) == found


@given(raw=st.binary(max_size=200) | st.binary(max_size=100).map(lambda raw: b'{"_ws":' + raw))
def test_any_bytes_are_delivered(raw: bytes) -> None:
    """As they are."""
    assert foreign(raw) == parse(raw)


@given(text=st.text(st.characters(), max_size=100))
def test_any_text_is_delivered(text: str) -> None:
    """Lone surrogates too."""
    raw = text.encode("utf-8", "surrogatepass")
    assert foreign(raw) == parse(text)


@given(value=VALUES.filter(lambda value: not (isinstance(value, dict) and "_ws" in value)))
def test_any_json_of_others_is_delivered(value: Any) -> None:
    """Byte for byte, with a context that is valid or none."""
    raw = orjson.dumps(value)
    found = parse(raw)

    assert found.context is None or found.context.is_valid
    assert foreign(raw, found.context) == found


@given(body=st.dictionaries(KEYS, VALUES, max_size=6), meta=METAS | VALUES)
def test_any_envelope_is_read_or_delivered(body: dict[str, Any], meta: Any) -> None:
    """What is taken of it is valid, and the rest is the body or the payload as it is."""
    raw = orjson.dumps(body | {"_ws": meta})
    found = parse(raw)

    fields = (found.time, found.clock, found.publisher, found.sequence)
    assert raw == found.raw
    if fields == (None, None, None, None):
        assert raw == found.body
    else:
        assert fields == tuple(
            None if value is None or not isinstance(meta, dict) else type(value)(meta[name])
            for name, value in zip(META, fields, strict=True)
        )


@given(
    body=BODIES,
    key=WRAPPERS,
    edits=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=4),
)
def test_damaged_envelope_is_read_or_delivered(
    body: Any, key: str | None, edits: list[tuple[int, bytes]]
) -> None:
    """Never an exception, and the payload is kept."""
    with current(CONTEXT):
        payload = inject(body, publisher="f3a1", sequence=17, clock=12.3, key=key)
    for place, piece in edits:
        payload = payload[:place] + piece + payload[place + 1 :]
    found = parse(payload)

    assert payload == found.raw
    assert found.context is None or found.context.is_valid


@given(headers=st.lists(st.tuples(st.sampled_from([*CARRIER, "ws-time"]) | KEYS, BODIES)))
def test_any_headers_are_read(headers: list[tuple[str, Any]]) -> None:
    """Never an exception; a payload without an envelope stays as it is."""
    assert b"hello" == parse(b"hello", headers=headers).body
