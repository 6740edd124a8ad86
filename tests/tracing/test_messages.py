"""Spans of messages: how many there are, what they say, and what they belong to."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support import ACCEPT, Spans, disconnect, text
from tests.tracing.test_carriers import GIVEN, VALID, name_of
from tests.tracing.test_spans import (
    _no_trouble_with_contexts,  # noqa: F401 - holds in every test of this file
    attributes,
    echo,
    leaf,
    observe,
    run,
    talk_twice,
    tree,
    upgrade,
)

SLOW = 0.06
SENDER = text('{"type":"chat","traceparent":"' + VALID + '"}')
UNSAMPLED = text('{"type":"chat","traceparent":"' + VALID[:-2] + '00"}')
HELLO = text('{"type":"hello"}')


def messages(spans: Spans) -> list[ReadableSpan]:
    """Return the spans of messages."""
    return spans.named("ws.message")


def taking(*seconds: float) -> ASGIApp:
    """Return an application that works so long on its messages, and then waits for the end."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for each in seconds:
            await receive()
            if each:
                await asyncio.sleep(each)
        await receive()

    return app


# How many.


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ({"message_spans": "all"}, 20),
        ({"message_spans": "all", "message_span_rate": 1}, 20),
        ({"message_spans": "capped"}, 20),
        ({"message_spans": "capped", "message_span_rate": 2}, 2),
        ({"message_spans": "capped", "message_span_rate": 0.01}, 1),
        ({"message_spans": "slow"}, 0),
        ({"message_spans": "slow", "slow_message_seconds": 0}, 20),
    ],
)
async def test_setting_says_how_many_are_made(
    spans: Spans, settings: dict[str, Any], made: int
) -> None:
    """The rest is counted on the connection's span and makes nothing."""
    app = observe(echo, spans.provider, **settings)
    sent = await run(app, *[HELLO] * 20, disconnect())

    connection = upgrade(spans)
    assert 21 == len(sent)
    assert (made, 20, 20 - made) == (
        *(len(messages(spans)), attributes(connection)["ws.messages.in"]),
        attributes(connection)["ws.messages.untraced"],
    )
    assert made * [connection.context] == [each.parent for each in messages(spans)]
    assert made * ["ws.message hello"] == [each.name for each in messages(spans)]


async def test_off_says_nothing_of_untraced_messages(spans: Spans) -> None:
    """All of them are, and the counts are there."""
    await talk_twice(observe(echo, spans.provider, message_spans="off"))

    assert [leaf("ws.upgrade SERVER")] == tree(spans.all())
    assert "ws.messages.untraced" not in attributes(upgrade(spans))


async def test_process_has_one_rate(spans: Spans, registry: CollectorRegistry) -> None:
    """Connections share it, and so do two middlewares that share their metrics."""
    settings = {"message_span_rate": 3}
    first = observe(echo, spans.provider, registry, **settings)
    second = observe(echo, spans.provider, registry, **settings)
    for app in (first, first, second):
        await run(app, HELLO, HELLO, disconnect())

    assert 3 == len(messages(spans))


@pytest.mark.parametrize("mode", ["all", "slow"])
async def test_binary_message_says_so(spans: Spans, mode: str) -> None:
    """Whether its span is made before or afterwards; a text says nothing."""
    binary = {"type": "websocket.receive", "bytes": b'{"op":7}'}
    app = observe(echo, spans.provider, message_spans=mode, slow_message_seconds=0)
    await run(app, binary, HELLO, disconnect())

    seven, hello = messages(spans)
    assert {"ws.message.type": "7", "ws.message.bytes": 8, "ws.message.opcode": "binary"} == (
        attributes(seven)
    )
    assert "ws.message.opcode" not in attributes(hello)


@pytest.mark.parametrize("mode", ["capped", "slow"])
async def test_slow_message_is_kept_afterwards(spans: Spans, mode: str) -> None:
    """With its true times, its type, its size and its sender's link."""
    settings: Any = {"message_spans": mode, "message_span_rate": 0.01, "slow_message_seconds": 0.05}
    app = observe(taking(0, SLOW, 0), spans.provider, **settings)
    before = time.time_ns()
    await run(app, HELLO, SENDER, text("plain"), disconnect())
    after = time.time_ns()

    span = messages(spans)[-1]
    assert span.start_time is not None
    assert span.end_time is not None
    assert 0.05e9 <= span.end_time - span.start_time <= after - before
    assert before - 1e6 <= span.start_time < span.end_time <= after
    assert {"capped": 2, "slow": 1}[mode] == len(messages(spans))
    assert ("ws.message chat", upgrade(spans).context) == (span.name, span.parent)
    assert [GIVEN] == [name_of(link.context) for link in span.links]
    size = len(SENDER["text"])
    assert {"ws.message.type": "chat", "ws.message.bytes": size} == attributes(span)


async def test_failed_message_is_kept_afterwards(spans: Spans) -> None:
    """However fast it failed, with the exception."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await receive()
        raise KeyError("no such room")

    with pytest.raises(KeyError):
        await run(observe(fail, spans.provider, message_spans="slow"), HELLO, SENDER)

    (span,) = messages(spans)
    (event,) = span.events
    assert ("ws.message chat", StatusCode.ERROR, "KeyError") == (
        *(span.name, span.status.status_code, attributes(span)["error.type"]),
    )
    assert ("exception", "KeyError") == (event.name, (event.attributes or {})["exception.type"])
    assert 1 == attributes(upgrade(spans))["ws.messages.untraced"]


@pytest.mark.parametrize("sampled", [True, False])
async def test_slow_message_is_an_exemplar(registry: CollectorRegistry, sampled: bool) -> None:
    """Where its span reaches a backend; a fast one has none to point to."""
    spans = Spans() if sampled else Spans(sampler=ALWAYS_OFF)
    settings: dict[str, Any] = {"message_spans": "slow", "slow_message_seconds": 0.05}
    # Messages are traces of their own, so they are made though the connection is not sampled.
    app = observe(taking(0, SLOW), spans.provider, registry, connection_span="linked", **settings)
    await run(app, HELLO, HELLO, disconnect())

    found = {
        each.exemplar.labels["span_id"]
        for family in registry.collect()
        for each in family.samples
        if each.exemplar is not None and each.name.startswith("ws_handler")
    }
    expected = {trace.format_span_id(each.context.span_id) for each in messages(spans)}
    assert (int(sampled), expected) == (len(expected), found)


async def test_51st_type_of_a_client_is_other(spans: Spans) -> None:
    """A client makes no more than 50 names."""
    said = [text(f'{{"type":"novel{number}"}}') for number in range(60)]
    await run(observe(echo, spans.provider, message_spans="all"), *said, disconnect())

    names = [each.name for each in messages(spans)]
    assert (51, 10) == (len(set(names)), names.count("ws.message other"))


# Messages that are traces of their own.


async def test_linked_messages_are_traces_of_their_own(spans: Spans) -> None:
    """Each is linked to the handshake's span, which has ended when the first one comes."""
    ended: list[int] = []
    current: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        ended.append(len(spans.named("ws.upgrade")))
        current.append(trace.get_current_span().get_span_context())
        for _ in range(2):
            await receive()
            with spans.provider.get_tracer("test").start_as_current_span("work"):
                pass
        await receive()
        current.append(trace.get_current_span().get_span_context())

    options: dict[str, Any] = {"connection_span": "linked", "route": lambda _: "/ws"}
    await run(observe(app, spans.provider, **options), HELLO, HELLO, disconnect(1001, "bye"))

    work = [leaf("work INTERNAL")]
    assert [
        leaf("ws.upgrade /ws SERVER"),
        *[("ws.message hello CONSUMER", work)] * 2,
        leaf("ws.close /ws INTERNAL"),
    ] == tree(spans.all())
    connection = upgrade(spans)
    (close,) = spans.named("ws.close")
    assert ([1], [connection.context] * 2) == (ended, current)
    linked = [[link.context for link in each.links] for each in (*messages(spans), close)]
    assert [[connection.context]] * 3 == linked
    assert 4 == len({each.context.trace_id for each in spans.all() if each.name != "work"})
    assert (101, {"ws.outcome"}) == (
        attributes(connection)["http.response.status_code"],
        {"ws.outcome"} - set(connection.attributes or {}),
    )
    found = attributes(close)
    assert ("going_away", 1001, "bye", 2, 0) == (
        *(found["ws.outcome"], found["ws.close_code"], found["ws.close_text"]),
        *(found["ws.messages.in"], found["ws.messages.untraced"]),
    )


async def test_linked_handshake_leaves_a_span_of_the_application_current(spans: Spans) -> None:
    """One that it opened before it accepted; its messages are traces of their own all the same."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with spans.provider.get_tracer("test").start_as_current_span("login") as login:
            await receive()
            await send(ACCEPT)
            assert login is trace.get_current_span()
            await receive()

    await run(observe(app, spans.provider, connection_span="linked"), HELLO)

    connection = ("ws.upgrade SERVER", [leaf("login INTERNAL")])
    message, close = leaf("ws.message hello CONSUMER"), leaf("ws.close INTERNAL")
    assert [connection, message, close] == tree(spans.all())


async def test_linked_close_has_the_exception(spans: Spans) -> None:
    """The handshake's span went well and is over."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        raise KeyError

    with pytest.raises(KeyError):
        await run(observe(fail, spans.provider, connection_span="linked"), HELLO)

    assert [leaf("ws.upgrade SERVER"), leaf("ws.close INTERNAL ERROR")] == tree(spans.all())
    (event,) = spans.named("ws.close")[0].events
    assert "exception" == event.name


async def test_linked_handshake_that_failed_is_one_span(spans: Spans) -> None:
    """There is nothing to close."""

    async def deny(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})

    await run(observe(deny, spans.provider, connection_span="linked"))

    assert [leaf("ws.upgrade SERVER")] == tree(spans.all())
    assert ("rejected", 0) == (
        *(attributes(upgrade(spans))[name] for name in ("ws.outcome", "ws.messages.in")),
    )


# Who the sender is.


@pytest.mark.parametrize("shape", ["nested", "linked"])
@pytest.mark.parametrize(
    ("trust", "parent", "links"),
    [("auto", None, [GIVEN]), ("link", None, [GIVEN]), ("parent", GIVEN, []), ("never", None, [])],
)
async def test_sender_is_what_the_settings_say(
    spans: Spans, shape: str, trust: str, parent: Any, links: list[Any]
) -> None:
    """The next message, which says nothing, is the connection's again."""
    app = observe(echo, spans.provider, trust=trust, connection_span=shape)
    await run(app, SENDER, HELLO, disconnect())

    first, second = messages(spans)
    connection = upgrade(spans)
    own = name_of(connection.context)
    above = own if shape == "nested" else None
    beside = [own] if shape == "linked" else []
    assert (above, beside) == (
        name_of(second.parent),
        [name_of(each.context) for each in second.links],
    )
    assert parent or above == name_of(first.parent)
    expected = [own] if trust == "parent" else beside + links
    assert expected == [name_of(link.context) for link in first.links]


async def test_unsampled_connection_follows_a_sender_who_is_believed() -> None:
    """Who traces a message has it traced, though its connection is not."""
    spans = Spans(sampler=ParentBased(ALWAYS_OFF))
    app = observe(echo, spans.provider, trust="parent")
    await run(app, HELLO, SENDER, UNSAMPLED, HELLO, disconnect())

    (span,) = spans.all()
    assert ("ws.message chat", GIVEN) == (span.name, name_of(span.parent))


async def test_unsampled_connection_follows_nobody_else() -> None:
    """A client could force what it costs."""
    spans = Spans(sampler=ParentBased(ALWAYS_OFF))
    for trust in ("auto", "link", "never"):
        await run(observe(echo, spans.provider, trust=trust), SENDER, disconnect())

    assert [] == spans.all()
