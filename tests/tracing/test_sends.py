"""Spans of what the application sends: which there are, and where they belong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from asgi_ws_observe import Settings, SettingsError
from tests.support import ACCEPT, CONNECT, Server, Spans, disconnect, sample, scope, text
from tests.tracing.test_messages import HELLO, SLOW
from tests.tracing.test_spans import (
    Failing,
    Silent,
    _no_trouble_with_contexts,  # noqa: F401 - holds in every test of this file
    attributes,
    echo,
    leaf,
    observe,
    run,
    tree,
    upgrade,
)

NEWS: dict[str, Any] = {"type": "websocket.send", "text": '{"type":"news"}'}


class Slow(Server):
    """A server whose client is slow to take messages."""

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.send":
            await asyncio.sleep(SLOW)
        await super().send(message)


class Refusing(Server):
    """A server whose client is gone, and says so at every send."""

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.send":
            raise OSError("the client is gone")


def sends(spans: Spans) -> list[ReadableSpan]:
    """Return the spans of what was sent."""
    return spans.named("ws.send")


def sending(app: ASGIApp, spans: Spans, **settings: Any) -> ASGIApp:
    """Return the application with spans of what it sends."""
    return observe(app, spans.provider, send_spans=True, **settings)


async def test_answer_is_a_child_of_the_message_in_work(spans: Spans) -> None:
    """With its type, its size, and its connection's id."""
    await run(sending(echo, spans), HELLO, text("plain"), disconnect())

    answer = ("ws.message hello CONSUMER", [leaf("ws.send hello PRODUCER")])
    plain = ("ws.message CONSUMER", [leaf("ws.send PRODUCER")])
    assert [("ws.upgrade SERVER", [answer, plain])] == tree(spans.all())
    typed, untyped = sends(spans)
    size = len(HELLO["text"])
    assert {"ws.message.type": "hello", "ws.message.bytes": size} == attributes(typed)
    assert {"ws.message.bytes": 5} == attributes(untyped)
    of = [dict(each.attributes or {})["ws.connection.id"] for each in (typed, upgrade(spans))]
    assert of[0] == of[1]
    assert [(), ()] == [each.links for each in sends(spans)]


async def test_binary_send_says_so(spans: Spans) -> None:
    """As a received one does; and its type is read likewise."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "bytes": b'{"op":7}'})
        await receive()

    await run(sending(app, spans), disconnect())

    assert [("ws.upgrade SERVER", [leaf("ws.send 7 PRODUCER")])] == tree(spans.all())
    assert {"ws.message.type": "7", "ws.message.bytes": 8, "ws.message.opcode": "binary"} == (
        attributes(sends(spans)[0])
    )


async def test_without_the_setting_there_are_none(spans: Spans) -> None:
    """It is off by default."""
    await run(observe(echo, spans.provider), HELLO, disconnect())

    assert [] == sends(spans)
    assert not Settings().send_spans


@pytest.mark.parametrize("settings", [{"connection_span": "linked"}, {}])
async def test_broadcast_belongs_to_the_message_that_caused_it(
    spans: Spans, settings: dict[str, Any]
) -> None:
    """The receiving connection is linked, so that its trace leads there."""
    listening, done = asyncio.Event(), asyncio.Event()
    members: list[Send] = []

    async def room(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        if scope["path"] == "/listen":
            members.append(send)
            listening.set()
            await done.wait()
        else:
            await receive()
            await members[0](NEWS)
            done.set()
        await receive()

    app = sending(room, spans, **settings)
    listener = asyncio.create_task(run(app, disconnect(), path="/listen"))
    await listening.wait()
    await run(app, HELLO, disconnect(), path="/speak")
    heard = await listener

    (span,) = sends(spans)
    (message,) = spans.named("ws.message")
    paths = {attributes(each)["url.path"]: each for each in spans.named("ws.upgrade")}
    assert NEWS in heard
    assert ("ws.send news", message.context) == (span.name, span.parent)
    assert [paths["/listen"].context] == [link.context for link in span.links]
    ids = [dict(each.attributes or {})["ws.connection.id"] for each in (span, paths["/listen"])]
    assert ids[0] == ids[1]


async def test_send_without_a_current_span_is_the_connection_s(spans: Spans) -> None:
    """Such as that of a background task, which was started before any connection."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        before = otel_context.attach(Context())
        await send(NEWS)
        otel_context.detach(before)
        await receive()

    await run(sending(app, spans), disconnect())

    assert [("ws.upgrade SERVER", [leaf("ws.send news PRODUCER")])] == tree(spans.all())
    assert () == sends(spans)[0].links


@pytest.mark.parametrize("rate", [0.01, 100.0])
async def test_failed_send_is_kept(spans: Spans, rate: float) -> None:
    """With the exception, whatever the rate; the first message took what there was of it."""
    server = Refusing([CONNECT, HELLO, text("{}"), disconnect()])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for _ in range(2):
            await receive()
            with pytest.raises(OSError, match="the client is gone"):
                await send(NEWS)
        await receive()

    await sending(app, spans, message_span_rate=rate)(scope(), server.receive, server.send)

    assert [("ws.send news", StatusCode.ERROR, "OSError", "exception")] * 2 == [
        (each.name, each.status.status_code, attributes(each)["error.type"], each.events[0].name)
        for each in sends(spans)
    ]


async def test_payload_that_has_no_size_costs_the_record_nothing(
    spans: Spans, registry: CollectorRegistry
) -> None:
    """The application's mistake is the server's to refuse, and a failed send as any other."""

    class Strict(Server):
        async def send(self, message: Any) -> None:
            if not isinstance(message.get("text", ""), str):
                raise TypeError("no text")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        with pytest.raises(TypeError, match="no text"):
            await send({"type": "websocket.send", "text": 5})
        await receive()

    server = Strict([CONNECT, disconnect()])
    observed = observe(app, spans.provider, registry, send_spans=True)
    await observed(scope(), server.receive, server.send)

    assert 0 == sample(registry, "ws_observe_errors_total", part="record")
    assert 1 == sample(registry, "ws_send_duration_seconds_count", route="unmatched")


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ({"message_spans": "all"}, 20),
        ({"message_spans": "slow"}, 0),
        ({"message_spans": "slow", "slow_message_seconds": 0}, 20),
        ({"message_spans": "capped", "message_span_rate": 2}, 1),
    ],
)
async def test_sends_are_bounded_as_messages_are(
    spans: Spans, settings: dict[str, Any], made: int
) -> None:
    """Both take from the same rate."""
    await run(sending(echo, spans, **settings), *[HELLO] * 20, disconnect())

    assert made == len(sends(spans))


async def test_slow_send_is_kept_with_its_true_times(spans: Spans) -> None:
    """As long as the server needed to take it."""
    server = Slow([CONNECT, HELLO, disconnect()])
    app = sending(echo, spans, message_spans="slow", slow_message_seconds=0.05)
    await app(scope(), server.receive, server.send)

    (span,) = sends(spans)
    (message,) = spans.named("ws.message")
    assert span.start_time is not None
    assert span.end_time is not None
    assert message.start_time is not None
    assert 0.05e9 <= span.end_time - span.start_time
    # Two clocks, so not exactly.
    assert message.start_time - 1e6 <= span.start_time


async def test_51st_type_is_other_in_both_directions(spans: Spans) -> None:
    """They share the names."""
    said = [text(f'{{"type":"type{number}"}}') for number in range(60)]
    await run(sending(echo, spans, message_spans="all"), *said, disconnect())

    assert 10 == len(spans.named("ws.send other"))
    assert 51 == len({each.name for each in sends(spans)})


async def test_unsampled_connection_makes_none() -> None:
    """Nor does it cost anything."""
    spans = Spans(sampler=ALWAYS_OFF)
    await run(sending(echo, spans), HELLO, disconnect())

    assert [] == spans.all()


async def test_failing_span_never_reaches_the_application(spans: Spans, registry: Any) -> None:
    """A processor that raises costs the connection its spans of messages."""
    spans.provider.add_span_processor(Failing("on_start", "ws.send"))
    app = observe(echo, spans.provider, registry, send_spans=True)
    sent = await run(app, HELLO, HELLO, disconnect())

    assert 3 == len(sent)
    assert 1 == sample(registry, "ws_observe_errors_total", part="tracing")
    assert 2 == sample(registry, "ws_messages_total", route="unmatched", direction="out")
    assert trace.INVALID_SPAN is trace.get_current_span()
    assert "normal" == attributes(upgrade(spans))["ws.outcome"]


async def test_send_that_waits_when_the_connection_is_cancelled_is_kept(spans: Spans) -> None:
    """It failed, as far as the application knows."""
    waiting = asyncio.Event()

    class Stuck(Silent):
        async def send(self, message: Any) -> None:
            if message["type"] == "websocket.send":
                waiting.set()
                await asyncio.Event().wait()

    server = Stuck([CONNECT, HELLO])
    observed = sending(echo, spans)(scope(), server.receive, server.send)
    task = asyncio.ensure_future(observed)
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    (span,) = sends(spans)
    assert ("ws.send hello", "CancelledError") == (span.name, attributes(span)["error.type"])


def test_without_message_spans_the_setting_is_refused() -> None:
    """What bounds them is off."""
    with pytest.raises(SettingsError, match=r"Settings\.send_spans: got True with message_spans"):
        Settings(send_spans=True, message_spans="off")
