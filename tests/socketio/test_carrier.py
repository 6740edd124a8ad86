"""The carrier in payloads: taken off where it is one, and nothing else is touched."""

from __future__ import annotations

import copy
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from asgi_ws_observe.socketio.carrier import carrier_of, split_auth, split_event, with_carrier
from tests.support import Spans

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SPAN: Final = "b7ad6b7169203331"
PARENT: Final = f"00-{TRACE}-{SPAN}-01"
CARRIER: Final = {"traceparent": PARENT}
FULL: Final = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "user=7"}

#: What JSON and python-socketio's other packers make of payloads.
PAYLOADS: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from(["traceparent", "_traceContext"]), inner)
    ),
    max_leaves=10,
)
CONTEXTS: Final = st.builds(
    lambda trace_id, span_id, flags: f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}",
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 255),
)
CARRIERS: Final = st.fixed_dictionaries(
    {"traceparent": CONTEXTS}, optional={"tracestate": st.just("a=1"), "baggage": st.just("a=1")}
)


def ids(found: SpanContext | None) -> tuple[str, str] | None:
    """Return the two ids as they stand in a ``traceparent``."""
    if found is None:
        return None
    return trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)


def holding(*, state: TraceState | None = None) -> Context:
    """Return a context with the sender's span."""
    span = SpanContext(int(TRACE, 16), int(SPAN, 16), True, TraceFlags(1), state)
    return trace.set_span_in_context(NonRecordingSpan(span), Context())


@pytest.mark.parametrize("carrier", [CARRIER, FULL, {"_traceContext": CARRIER}])
@pytest.mark.parametrize("arguments", [[], [1], [{"text": "hi"}, None], [FULL]])
def test_trailing_carrier_is_taken_off(carrier: dict[str, Any], arguments: list[Any]) -> None:
    """Only the last one, and the list that was received stays what it was."""
    received = ["chat", *arguments, carrier]
    before = copy.deepcopy(received)
    data, found = split_event(received)
    assert ["chat", *arguments] == data
    assert (TRACE, SPAN) == ids(found)
    assert before == received


def test_carriers_state_is_read() -> None:
    """``tracestate`` belongs to the sender's span."""
    _, found = split_event(["chat", FULL])
    assert found is not None
    assert {"a": "1"} == dict(found.trace_state)
    assert found.is_remote


class Mapping(dict[str, str]):
    """A dict that JSON never makes."""


@pytest.mark.parametrize(
    "last",
    [
        *(None, 1, "traceparent", PARENT, b"traceparent", [CARRIER], {}, Mapping(CARRIER)),
        {"text": "hi"},
        {"tracestate": "a=1"},
        {"baggage": "a=1"},
        {"traceparent": "00-nothing"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
        {"traceparent": PARENT.upper()},
        {"traceparent": 1},
        {"traceparent": None},
        {"traceparent": PARENT, "user": 7},
        {"traceparent": PARENT, "tracestate": "a=1", "baggage": "a=1", "user": 7},
        {"traceparent": PARENT, 1: "a"},
        {"traceparent": PARENT, "tracestate": 1},
        {"traceparent": PARENT, "baggage": {"pieces": 2}},
        {"traceparent": PARENT, "baggage": "x" * 8193},
        {"_traceContext": PARENT},
        {"_traceContext": {}},
        {"_traceContext": {"traceparent": PARENT, "user": 7}},
        {"_traceContext": CARRIER, "user": 7},
        {"_traceContext": CARRIER, "traceparent": PARENT},
        {"_traceContext": {"_traceContext": CARRIER}},
    ],
)
def test_anything_else_is_left_alone(last: Any) -> None:
    """It is the application's: the same list comes back."""
    received = ["chat", last]
    data, found = split_event(received)
    assert received is data
    assert found is None


def test_longest_value_is_still_a_carrier() -> None:
    """The bound is inclusive."""
    carrier = {"traceparent": PARENT, "baggage": "x" * 8192}
    assert ["chat"] == split_event(["chat", carrier])[0]


@pytest.mark.parametrize(
    "received", [None, "event", {}, CARRIER, [], [CARRIER], ["chat"], ("chat", CARRIER)]
)
def test_event_without_arguments_is_left_alone(received: Any) -> None:
    """So is whatever a client sent that is no event at all."""
    data, found = split_event(received)
    assert received is data
    assert found is None


@given(PAYLOADS)
def test_any_payload_never_raises(payload: Any) -> None:
    """As an event, as arguments, nested in a carrier, as auth."""
    for received in (payload, [payload], ["chat", payload], [payload, payload, payload]):
        split_event(received)
    for value in ({"traceparent": payload}, {"_traceContext": payload}, {"tracestate": payload}):
        split_event(["chat", value | CARRIER])
        split_event(["chat", value])
        split_auth(value | CARRIER)
        split_auth(value)
    split_auth(payload)


@given(PAYLOADS | st.lists(PAYLOADS).map(tuple), CARRIERS)
def test_split_gives_back_what_a_carrier_was_added_to(data: Any, carrier: dict[str, str]) -> None:
    """What the handlers get is what was emitted."""
    before = copy.deepcopy(data)
    sent = with_carrier(data, carrier)
    assert isinstance(sent, tuple)
    assert carrier == sent[-1]
    received, found = split_event(["chat", *sent])
    expected = [] if data is None else list(data) if isinstance(data, tuple) else [data]
    # By representation, since a NaN is not equal to itself.
    assert repr(["chat", *expected]) == repr(received)
    assert repr(before) == repr(data)
    assert carrier["traceparent"][3:52] == "-".join(ids(found) or ())


@given(CARRIERS, st.text(), PAYLOADS)
def test_one_more_key_keeps_the_argument(carrier: dict[str, Any], key: str, value: Any) -> None:
    """An object that has anything else is the application's."""
    if key not in ("traceparent", "tracestate", "baggage"):
        received = ["chat", carrier | {key: value}]
        assert split_event(received)[0] is received


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (CARRIER, None),
        (FULL, None),
        (FULL | {"token": "t"}, {"token": "t"}),
        ({"token": {"traceparent": 1}, "traceparent": PARENT}, {"token": {"traceparent": 1}}),
    ],
)
def test_context_is_taken_out_of_auth(auth: dict[str, Any], expected: Any) -> None:
    """A client that sends nothing else has sent no auth; what was received stays what it was."""
    before = copy.deepcopy(auth)
    rest, found = split_auth(auth)
    assert expected == rest
    assert (TRACE, SPAN) == ids(found)
    assert before == auth


@pytest.mark.parametrize(
    "auth",
    [
        *(None, {}, "token", 7, [CARRIER], {"token": "t"}),
        {"traceparent": "00-nothing", "token": "t"},
        {"traceparent": 7},
        {"tracestate": "a=1"},
        {"_traceContext": CARRIER},
    ],
)
def test_auth_without_context_is_left_alone(auth: Any) -> None:
    """A malformed ``traceparent`` too: it may be the application's."""
    rest, found = split_auth(auth)
    assert rest is auth
    assert found is None


def test_carrier_of_a_context_is_its_span() -> None:
    """With the state where there is one, and never with baggage."""
    assert CARRIER == carrier_of(holding())
    assert CARRIER | {"tracestate": "a=1"} == carrier_of(holding(state=TraceState([("a", "1")])))


def test_carrier_of_nothing_is_empty() -> None:
    """Neither a context without a span nor no current span gives one."""
    assert {} == carrier_of(Context())
    assert {} == carrier_of()


def test_carrier_of_the_current_span_needs_no_context(spans: Spans) -> None:
    """The current span is the default."""
    with spans.provider.get_tracer("test").start_as_current_span("here") as span:
        carrier = carrier_of()
    assert trace.format_span_id(span.get_span_context().span_id) in carrier["traceparent"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, (CARRIER,)),
        ((), (CARRIER,)),
        (1, (1, CARRIER)),
        ([1, 2], ([1, 2], CARRIER)),
        ((1, 2), (1, 2, CARRIER)),
    ],
)
def test_carrier_becomes_the_last_argument(data: Any, expected: Any) -> None:
    """A tuple is several arguments; a list is one."""
    assert expected == with_carrier(data, CARRIER)


@pytest.mark.parametrize("data", [None, (), 1, [1], (1, 2)])
def test_empty_carrier_changes_nothing(data: Any) -> None:
    """The same object is emitted."""
    assert data is with_carrier(data, {})
