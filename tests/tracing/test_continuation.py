"""Connections that last longer than a span may: one follows the other."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import StatusCode
from starlette.types import ASGIApp, Receive, Scope, Send

from asgi_ws_observe import current_connection
from asgi_ws_observe.tracing import Continuation, upgrade
from tests.support import ACCEPT, Spans, disconnect, text
from tests.tracing.test_spans import (
    Handler,
    _no_trouble_with_contexts,  # noqa: F401 - holds in every test of this file
    attributes,
    leaf,
    observe,
    run,
    tree,
)

HELLO = text('{"type":"hello"}')
MESSAGE = leaf("ws.message hello CONSUMER")
#: Any span is older than nothing, and none so old as the other.
AT_ONCE, LATER = Continuation(0.0), Continuation(1000.0)


def parts(spans: Spans) -> list[ReadableSpan]:
    """Return the connection's spans, in their order."""
    return spans.named("ws.upgrade")


def lasting(*steps: str, seen: list[Any] | None = None) -> Handler:
    """Return an application that does these steps, in order.

    ``next`` receives plainly, ``wait`` in `asyncio.wait_for`, ``follow`` lets another span follow,
    ``later`` does not, as it is too early; anything else is the name of a span that it makes.
    """

    def make(spans: Spans) -> ASGIApp:
        tracer = spans.provider.get_tracer("test")

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            for step in steps:
                if step == "next":
                    await receive()
                elif step == "wait":
                    await asyncio.wait_for(receive(), 10)
                elif step in ("follow", "later"):
                    (AT_ONCE if step == "follow" else LATER).alive(current_connection())
                else:
                    tracer.start_span(step).end()
                if seen is not None:
                    record = current_connection()
                    seen.append((record.trace_id, record.span_id, record.span_context))

        return app

    return make


async def live(spans: Spans, *steps: str, **settings: Any) -> None:
    """Let a connection with as many messages as it receives do these steps."""
    said = [HELLO] * sum(step in ("next", "wait") for step in steps)
    app = observe(lasting(*steps)(spans), spans.provider, route=lambda _: "/ws", **settings)
    await run(app, *said, disconnect(1000))


async def test_old_span_ends_with_what_was_until_then(spans: Spans) -> None:
    """And is no error; how the connection ends is not known yet."""
    await live(spans, "next", "next", "follow", "next")

    first, second = parts(spans)
    found = attributes(first)
    assert ("ws.upgrade /ws", StatusCode.UNSET) == (first.name, first.status.status_code)
    assert ("accepted", 2, 0, 101) == (
        *(found["ws.outcome"], found["ws.messages.in"], found["ws.messages.untraced"]),
        found["http.response.status_code"],
    )
    assert set() == {"ws.close_code", "ws.close_reason", "ws.connection.part"} & set(found)
    assert second.start_time is not None
    assert first.end_time is not None
    assert first.end_time <= second.start_time


async def test_another_root_follows_with_a_link(spans: Spans) -> None:
    """It knows what the first one knew, which part it is, and how the connection ended."""
    with spans.provider.get_tracer("test").start_as_current_span("outer"):
        app = observe(lasting("follow", "next")(spans), spans.provider, route=lambda _: "/ws")
        await run(app, HELLO, disconnect(1000))

    first, second = parts(spans)
    assert (None, [first.context]) == (second.parent, [link.context for link in second.links])
    assert "ws.upgrade /ws" == second.name
    found, before = attributes(second), attributes(first)
    assert (2, "/ws", "/ws") == (
        *(found["ws.connection.part"], found["http.route"], found["url.path"]),
    )
    same = ("ws.connection.id", "client.address", "server.address", "network.protocol.name")
    assert [(second.attributes or {})[name] for name in same] == [
        (first.attributes or {})[name] for name in same
    ]
    assert ("normal", 1) == (found["ws.close_reason"], found["ws.messages.in"])
    assert "accepted" == before["ws.outcome"]


@pytest.mark.parametrize("how", ["next", "wait"])
async def test_later_messages_are_children_of_the_new_span(spans: Spans, how: str) -> None:
    """Though the handler's context still had the old one when it asked for the next message."""
    await live(spans, how, "work 1", "follow", "work 2", how, "work 3", how, "work 4")

    def message(*works: str) -> Any:
        return ("ws.message hello CONSUMER", [leaf(f"{work} INTERNAL") for work in works])

    assert [
        ("ws.upgrade /ws SERVER", [message("work 1", "work 2")]),
        ("ws.upgrade /ws SERVER", [message("work 3"), message("work 4")]),
    ] == tree(spans.all())


@pytest.mark.parametrize("how", ["next", "wait"])
async def test_work_on_an_untraced_message_is_in_the_new_trace(spans: Spans, how: str) -> None:
    """The new span is current, though no message's is."""
    steps = (how, "follow", how, "work on an untraced one")
    await live(spans, *steps, message_span_rate=0.01)

    assert [
        ("ws.upgrade /ws SERVER", [MESSAGE]),
        ("ws.upgrade /ws SERVER", [leaf("work on an untraced one INTERNAL")]),
    ] == tree(spans.all())


async def test_new_span_stays_current_behind_its_first_message(spans: Spans) -> None:
    """A message's span is left for the new one, not for the one that has ended."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        AT_ONCE.alive(current_connection())
        bucket = current_connection().observation.store.span_bucket
        assert bucket is not None
        bucket.opens_at = 0.0
        await receive()
        bucket.opens_at = float("inf")
        await receive()
        spans.provider.get_tracer("test").start_span("work").end()

    observed = observe(app, spans.provider)
    await run(observed, HELLO, HELLO, HELLO, disconnect())

    assert [
        ("ws.upgrade SERVER", [MESSAGE]),
        ("ws.upgrade SERVER", [MESSAGE, leaf("work INTERNAL")]),
    ] == tree(spans.all())


async def test_span_around_the_loop_gives_way(spans: Spans) -> None:
    """It belongs to the trace that has ended; messages go to the one that follows."""
    inner = lasting("next", "follow", "next")(spans)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with spans.provider.get_tracer("test").start_as_current_span("session"):
            await inner(scope, receive, send)

    await run(observe(app, spans.provider), HELLO, HELLO, disconnect())

    assert [
        ("ws.upgrade SERVER", [("session INTERNAL", [MESSAGE])]),
        ("ws.upgrade SERVER", [MESSAGE]),
    ] == tree(spans.all())


async def test_trace_of_its_own_around_the_loop_stays(spans: Spans) -> None:
    """It is no part of the connection's; only the messages are."""
    inner = lasting("next", "follow", "next", "next")(spans)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tracer = spans.provider.get_tracer("test")
        with tracer.start_as_current_span("own", context=Context()) as own:
            await inner(scope, receive, send)
            await receive()
            assert own is trace.get_current_span()

    await run(observe(app, spans.provider), HELLO, HELLO, HELLO, disconnect())

    first, second = ("ws.upgrade SERVER", [MESSAGE]), ("ws.upgrade SERVER", [MESSAGE] * 2)
    assert [first, leaf("own INTERNAL"), second] == tree(spans.all())


async def test_record_has_the_ids_of_its_present_span(spans: Spans) -> None:
    """Log lines and the heartbeats' exemplars lead to the span that has not ended."""
    seen: list[Any] = []
    app = lasting("next", "follow", "follow", seen=seen)(spans)
    await run(observe(app, spans.provider), HELLO, disconnect())

    contexts = [each.context for each in parts(spans)]
    assert [1, 2, 3] == [attributes(each).get("ws.connection.part", 1) for each in parts(spans)]
    assert [
        (trace.format_trace_id(each.trace_id), trace.format_span_id(each.span_id), each)
        for each in contexts
        if each is not None
    ] == seen
    assert [[], [contexts[0]], [contexts[1]]] == [
        [link.context for link in each.links] for each in parts(spans)
    ]


async def test_totals_are_those_of_the_whole_connection(spans: Spans) -> None:
    """Each part says what was until its end."""
    await live(spans, "next", "follow", "next", "next", message_span_rate=0.01)

    counts = [
        (attributes(each)["ws.messages.in"], attributes(each)["ws.messages.untraced"])
        for each in parts(spans)
    ]
    assert [(1, 0), (3, 2)] == counts


@pytest.mark.parametrize("settings", [{"message_spans": "off"}, {"message_spans": "slow"}])
async def test_connection_without_message_spans_continues(
    spans: Spans, settings: dict[str, Any]
) -> None:
    """Its own spans are what it is about."""
    await live(spans, "next", "follow", "next", **settings)

    assert [leaf("ws.upgrade /ws SERVER")] * 2 == tree(spans.all())


async def test_young_span_is_left_alone(spans: Spans) -> None:
    """Nothing happens before its time."""
    await live(spans, "next", "later", "next")

    assert [("ws.upgrade /ws SERVER", [MESSAGE, MESSAGE])] == tree(spans.all())


async def test_span_that_ended_with_the_handshake_is_left_alone(spans: Spans) -> None:
    """There is no long span where messages are traces of their own."""
    await live(spans, "next", "follow", connection_span="linked")

    upgraded, closed = leaf("ws.upgrade /ws SERVER"), leaf("ws.close /ws INTERNAL")
    assert [upgraded, MESSAGE, closed] == tree(spans.all())


async def test_connection_without_a_trace_has_nothing_to_continue(spans: Spans) -> None:
    """Excluded, switched off, or not sampled."""
    await live(spans, "follow", "next", connection_span="off")
    unsampled = Spans(sampler=ALWAYS_OFF)
    await live(unsampled, "follow", "next")

    assert [[], []] == [spans.all(), unsampled.all()]


class FirstOnly(Sampler):
    """Samples one connection's span, and what is below it."""

    def __init__(self) -> None:
        self._left = 1

    def should_sample(self, parent_context: Any, *args: Any, **more: Any) -> SamplingResult:
        above = trace.get_current_span(parent_context).get_span_context()
        sampled = above.trace_flags.sampled
        if not above.is_valid:
            sampled, self._left = self._left > 0, self._left - 1
        return SamplingResult(Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP)

    def get_description(self) -> str:
        return "FirstOnly"


async def test_new_span_may_be_sampled_out() -> None:
    """It is a trace of its own; the old one is complete, and the ids are the new one's."""
    spans, seen = Spans(sampler=FirstOnly()), list[Any]()
    app = lasting("next", "follow", "next", "follow", seen=seen)(spans)
    await run(observe(app, spans.provider), HELLO, HELLO, disconnect())

    assert [("ws.upgrade SERVER", [MESSAGE])] == tree(spans.all())
    assert [False, True, True, True] == [context is None for _, _, context in seen]
    assert 2 == len({trace_id for trace_id, _, _ in seen})


async def test_setting_lets_spans_follow(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the hook that is called for open connections."""
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time_ns=time.time_ns)
    monkeypatch.setattr(upgrade, "time", clock)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for passed in (59.0, 2.0, 59.0, 2.0):
            now[0] += passed
            connection = current_connection()
            connection.observation.hooks.call("alive", connection)

    await run(observe(app, spans.provider, max_span_seconds=60), disconnect())
    await run(observe(app, spans.provider), disconnect())

    assert [1, 2, 3, 1] == [attributes(each).get("ws.connection.part", 1) for each in parts(spans)]
