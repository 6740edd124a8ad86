"""Trace context from outside: what is read, who is believed, and what goes outside."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags

from asgi_ws_observe import SettingsError
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.settings import Settings
from asgi_ws_observe.store import Store
from asgi_ws_observe.tracing import inject_context
from asgi_ws_observe.tracing.carriers import Trust, TrustReader, remote_context, upgrade_origin
from tests.support import Spans, disconnect, scope, text
from tests.tracing.test_spans import PARENT_ID, TRACE_ID, echo, observe, run, talk_twice, upgrade

VALID = f"00-{TRACE_ID}-{PARENT_ID}-01"
OTHER_TRACE, OTHER_PARENT = "1" * 32, "2" * 16
OTHER = f"00-{OTHER_TRACE}-{OTHER_PARENT}-01"
EMPTY = Context()

MALFORMED: list[Any] = [
    *(None, 7, VALID.encode(), [VALID], {"traceparent": VALID}),
    *("", "garbage", "00", " " + VALID, VALID + " ", VALID + "\n", VALID.upper()),
    *(VALID[:-1], VALID[:-3], VALID + "-extra", VALID + "0", VALID.replace("-", "_")),
    *("ff" + VALID[2:], "zz" + VALID[2:], VALID[:-2] + "zz", "01" + VALID[2:] + "-" + "x" * 80),
    *(f"00-{'0' * 32}-{PARENT_ID}-01", f"00-{TRACE_ID}-{'0' * 16}-01"),
    *(VALID.replace("0a", "\uff10a"), VALID.replace("0a", "\ud800a"), "00-" + "1" * 100_000),
]


def name_of(identity: SpanContext | None) -> tuple[str, str] | None:
    """Return the two ids as they stand in a ``traceparent``."""
    if identity is None or not identity.is_valid:
        return None
    return trace.format_trace_id(identity.trace_id), trace.format_span_id(identity.span_id)


GIVEN, THERE = (TRACE_ID, PARENT_ID), (OTHER_TRACE, OTHER_PARENT)


def origin(
    trust: Trust, *, header: str = "", query: bytes = b"", entry: Context = EMPTY
) -> tuple[tuple[str, str] | None, list[tuple[str, str] | None]]:
    """Return the parent and the links of a handshake with these."""
    headers = [(b"host", b"example.org")]
    if header:
        headers.append((b"traceparent", header.encode()))
    found = upgrade_origin(scope(headers=headers, query_string=query), entry, trust)
    parent = trace.get_current_span(found.parent).get_span_context()
    return name_of(parent), [name_of(link.context) for link in found.links]


AUTO, PARENT = Trust("parent", "link"), Trust("parent", "parent")
LINK, NEVER = Trust("link", "link"), Trust("never", "never")
QUERY = f"room=7&traceparent={OTHER}".encode()


# One carrier.


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("ff", True)])
def test_valid_carrier_is_a_remote_span(flags: str, sampled: bool) -> None:
    """With the sender's decision about sampling."""
    found = remote_context({"traceparent": VALID[:-2] + flags, "other": 7})

    assert found is not None
    assert (GIVEN, True, sampled) == (
        *(name_of(found), found.is_remote, bool(found.trace_flags & TraceFlags.SAMPLED)),
    )


def test_version_to_come_is_read_as_far_as_known() -> None:
    """W3C: what follows the flags is ignored."""
    assert GIVEN == name_of(remote_context({"traceparent": f"cc{VALID[2:]}-what-comes"}))


@pytest.mark.parametrize("value", MALFORMED, ids=lambda value: ascii(value)[:40])
def test_malformed_carrier_is_none(value: Any) -> None:
    """Of any type, of any length."""
    assert remote_context({"traceparent": value, "tracestate": "vendor=7"}) is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("vendor=7,other=x", {"vendor": "7", "other": "x"}),
        ("vendor=" + "x" * 249 + ",b=" + "y" * 252, {"vendor": "x" * 249, "b": "y" * 252}),
        ("vendor=" + "x" * 249 + ",b=" + "y" * 254, {}),
        *[("", {}), (None, {}), (7, {}), ("no state", {}), (["vendor=7"], {})],
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_state_is_kept_up_to_512_characters(state: Any, expected: dict[str, str]) -> None:
    """The rest of the carrier counts without it."""
    found = remote_context({"traceparent": VALID, "tracestate": state})

    assert found is not None
    assert (GIVEN, expected) == (name_of(found), dict(found.trace_state))


@pytest.mark.parametrize(
    "state",
    [
        *("no state", "vendor=7\nforged line", "1=x", "x=" + "y" * 300, "ka=,kb="),
        ",".join(f"k{number}=v" for number in range(40)),
    ],
    ids=lambda state: ascii(state)[:20],
)
def test_malformed_state_is_dropped_silently(caplog: pytest.LogCaptureFixture, state: str) -> None:
    """A client could fill the log with a line for each message, and with lines of its own."""
    found = remote_context({"traceparent": VALID, "tracestate": state})

    assert found is not None
    assert (GIVEN, {}, []) == (name_of(found), dict(found.trace_state), caplog.messages)


# Who is believed.


def trust_of(trust: Any, store: Store) -> Trust:
    """Return what a connection is told twice."""
    reader, errors = TrustReader(Settings(trust=trust)), OwnErrors(store)
    assert reader.of(scope(), errors) == reader.of(scope(), errors)
    return reader.of(scope(), errors)


@pytest.mark.parametrize(
    ("word", "expected"), [("auto", AUTO), ("parent", PARENT), ("link", LINK), ("never", NEVER)]
)
def test_word_says_what_counts(word: str, expected: Trust) -> None:
    """Given as it is, or by the application's function."""
    store = Store()

    assert [expected] * 2 == [trust_of(word, store), trust_of(lambda _: word, store)]
    assert 0 == store.own_errors["trust"]


def test_function_that_says_nothing_means_auto() -> None:
    """It gets the scope."""
    seen: list[Any] = []
    reader = TrustReader(Settings(trust=lambda given: seen.append(given["path"])))

    assert AUTO == reader.of(scope("/rooms/7"), OwnErrors(Store()))
    assert ["/rooms/7"] == seen


@pytest.mark.parametrize("said", ["perhaps", 7, ["parent"], True, KeyError("tenant")])
def test_function_that_fails_means_never_and_is_reported_once(
    said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Each failure is counted; whom nobody vouches for is not believed."""

    def decide(given: Any) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    store = Store()
    with caplog.at_level(logging.ERROR, "asgi_ws_observe"):
        found = trust_of(decide, store)

    assert (NEVER, 3, 1) == (found, store.own_errors["trust"], len(caplog.records))
    assert "this connection's client is not believed" in caplog.text


def test_unknown_word_is_refused_at_the_start() -> None:
    """A typing error is no decision."""
    with pytest.raises(SettingsError, match=r"Settings\.trust: got 'perhaps'"):
        Settings(trust="perhaps")


# Where a connection comes from.


@pytest.mark.parametrize(
    ("trust", "expected"),
    [
        (AUTO, (GIVEN, [])),
        (PARENT, (GIVEN, [])),
        (LINK, (None, [GIVEN])),
        (NEVER, (None, [])),
    ],
)
def test_header_is_what_the_settings_say(trust: Trust, expected: Any) -> None:
    """The parent by default: proxies and services set it, browsers cannot."""
    assert expected == origin(trust, header=VALID)


@pytest.mark.parametrize(
    ("trust", "expected"),
    [
        (AUTO, (None, [THERE])),
        (PARENT, (THERE, [])),
        (LINK, (None, [THERE])),
        (NEVER, (None, [])),
    ],
)
def test_query_is_what_the_settings_say(trust: Trust, expected: Any) -> None:
    """A link by default: it is all that a browser can set, and anybody can."""
    assert expected == origin(trust, query=QUERY)


@pytest.mark.parametrize(
    ("trust", "expected"),
    [
        (AUTO, (GIVEN, [THERE])),
        (PARENT, (GIVEN, [THERE])),
        (LINK, (None, [GIVEN, THERE])),
        (NEVER, (None, [])),
    ],
)
def test_header_wins_over_the_query(trust: Trust, expected: Any) -> None:
    """Only one can be the parent; the other is linked."""
    assert expected == origin(trust, header=VALID, query=QUERY)


@pytest.mark.parametrize(
    ("trust", "links"), [(AUTO, [THERE]), (PARENT, [THERE]), (LINK, [THERE]), (NEVER, [])]
)
def test_current_span_wins_over_both(trust: Trust, links: Any) -> None:
    """Who made it has read the headers already."""
    current = SpanContext(7, 8, is_remote=False)
    entry = trace.set_span_in_context(trace.NonRecordingSpan(current), EMPTY)

    assert (name_of(current), links) == origin(trust, header=VALID, query=QUERY, entry=entry)


def test_malformed_header_leaves_the_query_to_be_the_parent() -> None:
    """Where the client is believed."""
    assert (THERE, []) == origin(PARENT, header="garbage", query=QUERY)
    assert (None, []) == origin(LINK, header="garbage", query=b"traceparent=garbage")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"traceparent=" + OTHER.encode() + b"&x=" + b"y" * 4026, [THERE]),
        (b"traceparent=" + OTHER.encode() + b"&x=" + b"y" * 4027, []),
        (b"x=1&" * 63 + b"traceparent=" + OTHER.encode(), [THERE]),
        (b"x=1&" * 64 + b"traceparent=" + OTHER.encode(), []),
        (f"traceparent={OTHER}&traceparent={VALID}".encode(), [THERE]),
        (b"traceparent=" + OTHER.replace("-", "%2d").encode(), [THERE]),
        (b"Traceparent=" + OTHER.encode(), []),
        (b"traceparent", []),
        (b"traceparent=%ff\xff\x00", []),
    ],
    ids=lambda value: ascii(value)[-40:],
)
def test_query_is_looked_through_only_so_far(query: bytes, expected: Any) -> None:
    """4096 bytes, 64 parameters, the first of each name."""
    assert (None, expected) == origin(AUTO, query=query)


def test_state_of_header_and_query_is_kept() -> None:
    """A vendor's own part travels along."""
    headers = [(b"traceparent", VALID.encode()), (b"tracestate", b"vendor=7")]
    query = f"traceparent={OTHER}&tracestate=vendor%3d8".encode()
    found = upgrade_origin(scope(headers=headers, query_string=query), EMPTY, LINK)

    states = [dict(link.context.trace_state) for link in found.links]
    assert [{"vendor": "7"}, {"vendor": "8"}] == states


# What goes outside.


def test_current_span_goes_into_a_message(spans: Spans) -> None:
    """At the top level, and the message itself is returned."""
    message: dict[str, Any] = {"type": "chat"}
    with spans.provider.get_tracer("test").start_as_current_span("work") as span:
        returned = inject_context(message)

    assert returned is message
    assert name_of(span.get_span_context()) == name_of(remote_context(message))
    assert {"type", "traceparent"} == set(message)


def test_state_goes_into_a_message_too() -> None:
    """Where there is one."""
    remote = remote_context({"traceparent": VALID, "tracestate": "vendor=7"})
    assert remote is not None
    token = trace.use_span(trace.NonRecordingSpan(remote))
    with token:
        message: dict[str, Any] = inject_context({})

    assert {"traceparent": VALID, "tracestate": "vendor=7"} == message


def test_state_of_another_trace_goes_nowhere(spans: Spans) -> None:
    """A received message that is passed on has its sender's, which is not ours to claim."""
    message = {"traceparent": VALID, "tracestate": "vendor=7"}
    with spans.provider.get_tracer("test").start_as_current_span("work") as span:
        inject_context(message)

    found = remote_context(message)
    assert found is not None
    assert (name_of(span.get_span_context()), {}) == (name_of(found), dict(found.trace_state))


def test_message_without_a_current_span_is_untouched() -> None:
    """There is nothing to say."""
    assert {"type": "chat"} == inject_context({"type": "chat"})


@pytest.mark.parametrize("message", [None, "text", b"bytes", 7, ["list"], ("tuple",), {"set"}])
def test_what_is_no_mapping_is_untouched(spans: Spans, message: Any) -> None:
    """Whatever the application sends, sending goes on."""
    with spans.provider.get_tracer("test").start_as_current_span("work"):
        assert message is inject_context(message)


# Anything at all.

TEXT = st.one_of(st.text(max_size=60), st.sampled_from([VALID, OTHER, "vendor=7", "\ud800"]))
NAMES = st.sampled_from(["traceparent", "tracestate", "type", "_otel", "_traceContext"])
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(NAMES, TEXT), inner, max_size=5)
    ),
    max_leaves=12,
)
HEADERS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([b"traceparent", b"tracestate", b"baggage"]), st.binary()),
        st.one_of(st.sampled_from([VALID.encode(), b"vendor=7"]), st.binary(max_size=60)),
    ),
    max_size=6,
)
QUERIES = st.one_of(
    st.binary(max_size=80),
    st.builds(lambda value: b"traceparent=" + value, st.binary(max_size=80)),
    st.just(QUERY),
)


@given(carrier=st.dictionaries(st.one_of(NAMES, TEXT), JSON, max_size=6))
def test_any_carrier_is_valid_or_none(carrier: dict[str, Any]) -> None:
    """Never an exception, never a context that is not valid."""
    found = remote_context(carrier)
    assert found is None or (found.is_valid and found.is_remote)


@given(headers=HEADERS, query=QUERIES, trust=st.sampled_from([AUTO, PARENT, LINK, NEVER]))
def test_any_handshake_has_an_origin(headers: Any, query: bytes, trust: Trust) -> None:
    """Only who is believed is a parent, and only what is valid is linked."""
    found = upgrade_origin(scope(headers=headers, query_string=query), EMPTY, trust)
    parent = trace.get_current_span(found.parent).get_span_context()

    assert all(link.context.is_valid for link in found.links)
    if trust in (LINK, NEVER):
        assert not parent.is_valid
    if trust is NEVER:
        assert () == found.links


@given(query=QUERIES, envelope=JSON)
def test_client_is_never_a_parent_by_default(query: bytes, envelope: Any) -> None:
    """With the default settings, query string and messages can add links and nothing else."""
    spans = Spans()
    envelopes = [orjson.dumps(_clean(each)).decode() for each in (envelope, {"_otel": envelope})]
    said = [text(each) for each in [*envelopes, orjson.dumps({"traceparent": VALID}).decode()]]
    asyncio.run(run(observe(echo, spans.provider), *said, disconnect(), query_string=query))

    connection = upgrade(spans)
    assert connection.parent is None
    assert [connection.context] * 3 == [each.parent for each in spans.named("ws.message")]
    assert [GIVEN] == [name_of(each.context) for each in spans.named("ws.message")[-1].links]


def _clean(value: Any) -> Any:
    """Return JSON without what UTF-8 cannot say."""
    if isinstance(value, str):
        return value.replace("\ud800", "?")
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(each) for name, each in value.items()}
    return value


async def test_function_that_fails_costs_no_connection(spans: Spans) -> None:
    """Nothing of its client is believed, and everything else is as usual."""

    def decide(given: Any) -> str:
        raise KeyError("tenant")

    app = observe(echo, spans.provider, trust=decide)
    await talk_twice(app, headers=[(b"traceparent", VALID.encode())], query_string=QUERY)

    assert (None, (), 2) == (
        *(upgrade(spans).parent, upgrade(spans).links, len(spans.named("ws.message"))),
    )
