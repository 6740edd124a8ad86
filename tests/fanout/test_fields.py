"""When, by whom and as what number: what is valid, and how headers say it."""

from __future__ import annotations

import time
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe.fanout.fields import checked, fields_in, from_texts, texts_of, to_texts

FIELDS = (1790000000.123, 12.3, "f3a1", 17)
META = dict(zip(("time", "clock", "publisher", "sequence"), FIELDS, strict=True))
TEXTS = {
    "ws-time": "1790000000.123",
    "ws-clock": "12.3",
    "ws-publisher": "f3a1",
    "ws-sequence": "17",
}

NUMBERS = [(5, 5.0), (0, 0.0), (-1.5, -1.5), (1e300, 1e300), (5e-324, 5e-324)]
NO_NUMBERS = [None, True, "5", nan, inf, -inf, 10**400, [5], {"time": 5}]


@pytest.mark.parametrize("name", ["time", "clock"])
@pytest.mark.parametrize(("value", "expected"), NUMBERS + [(value, None) for value in NO_NUMBERS])
def test_time_is_a_finite_number(name: str, value: Any, expected: float | None) -> None:
    """As a float."""
    found = fields_in(META | {name: value})

    assert found is not None
    assert (expected, float if expected is not None else type(None)) == (
        *((found[0 if name == "time" else 1]), type(found[0 if name == "time" else 1])),
    )


@pytest.mark.parametrize(
    ("value", "valid"),
    [("a", True), ("ä ж", True), ("x" * 64, True)]
    + [(value, False) for value in ("", "x" * 65, "a\n", "\x00", "\ud800", b"a", 7, None, ["a"])],
)
def test_publisher_is_a_short_printable_text(value: Any, valid: bool) -> None:
    """It may become a label or part of a log line."""
    found = fields_in(META | {"publisher": value})

    assert found is not None
    assert (value if valid else None) == found[2]


@pytest.mark.parametrize(
    ("value", "valid"),
    [(1, True), (2**63 - 1, True)]
    + [(value, False) for value in (0, -1, 2**63, 2.0, True, "1", None, [1])],
)
def test_sequence_is_a_number_from_1(value: Any, valid: bool) -> None:
    """Of no more than 64 bits with a sign."""
    found = fields_in(META | {"sequence": value})

    assert found is not None
    assert (value if valid else None) == found[3]


@pytest.mark.parametrize("meta", [{}, {"room": 7}, {"time": "noon", "sequence": 0}])
def test_nothing_valid_is_somebody_elses(meta: dict[str, Any]) -> None:
    """The same names mean something else there."""
    assert fields_in(meta) is None


# What is published.


def test_known_values_are_kept_and_time_is_now_by_default() -> None:
    """What is not known is left out."""
    before = time.time()
    found = checked(None, None, None, None)

    assert META == checked("f3a1", 17, 1790000000.123, 12.3)
    assert (["time"], True) == (list(found), before <= found["time"] <= time.time())


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        *[("time", nan, "a finite number"), ("clock", inf, "a finite number")],
        *[("publisher", "", "1 to 64 printable"), ("publisher", "x" * 65, "1 to 64 printable")],
        *[("sequence", 0, r"1 to 2\*\*63 - 1"), ("sequence", 2**63, r"1 to 2\*\*63 - 1")],
    ],
)
def test_what_nobody_would_take_is_refused(name: str, value: Any, accepted: str) -> None:
    """Rather than lost without a word at the other end."""
    given = dict.fromkeys(("publisher", "sequence", "time", "clock")) | {name: value}

    with pytest.raises(ValueError, match=f"{name}: got .*{accepted}"):
        checked(**given)


# As headers.


def test_headers_say_all() -> None:
    """And nothing that is not known."""
    assert TEXTS == to_texts(META)
    assert {"ws-time": "5.0"} == to_texts({"time": 5.0})


@given(
    time=st.floats(allow_nan=False, allow_infinity=False),
    clock=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    publisher=st.none() | st.text("abc äж.-", min_size=1, max_size=64),
    sequence=st.none() | st.integers(1, 2**63 - 1),
)
def test_headers_are_read_as_they_were_written(
    time: float, clock: float | None, publisher: str | None, sequence: int | None
) -> None:
    """Every digit of them."""
    texts = to_texts(checked(publisher, sequence, time, clock))

    assert (time, clock, publisher, sequence) == from_texts(texts)


@pytest.mark.parametrize(
    "text",
    [
        *("", "five", "nan", "NaN", "Infinity", "1e999", "1_000", "+5", "0x10", "5,0", "\uff15"),
        *("true", "null", "[5]", '"5"', "[" * 32, "1" * 33, "5" + " " * 100_000, "\ud800"),
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_number_of_a_header_is_one_of_json(text: str) -> None:
    """And no other spelling."""
    headers = {"ws-time": text, "ws-clock": text, "ws-sequence": text}

    assert (None, None, "a", None) == from_texts(headers | {"ws-publisher": "a"})
    assert from_texts(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"WS-Time": "5", "Traceparent": b"00"},
        [("ws-time", b"5"), ("traceparent", "00")],
        [(b"ws-time", b"5"), (b"TRACEPARENT", b"00")],
        iter([("ws-time", "4"), ("ws-time", "5"), ("ws-time", None), ("traceparent", "00")]),
        {"ws-time": "5", "traceparent": "00", "x": b"\xff", "y": 7, 7: "z", b"\xff": "z"},
        [("ws-time", "5"), ("traceparent", "00"), ("a", "b", "c"), ("ws-time", "6")],
    ],
    ids=range(6),
)
def test_headers_of_every_client_are_read(headers: Any) -> None:
    """Mappings and pairs, text and bytes, names in any case; the last of each."""
    assert {"ws-time": "5", "traceparent": "00"} == texts_of(headers)


@pytest.mark.parametrize("headers", [7, [7], "headers", b"headers", ["name"], [None], [()]])
def test_what_is_no_headers_holds_nothing(headers: Any) -> None:
    """A message is delivered, whatever a client gives."""
    assert {} == texts_of(headers)
