"""Many messages: what the exporter gets, and what it never misses."""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from asgi_ws_observe.metrics.prometheus import numbers_of
from tests.support import ACCEPT, CONNECT, Server, Spans, disconnect, scope, text
from tests.tracing.test_spans import Tree, tree

FLOOD = 100_000
RATE = 100


async def test_flood_is_capped_and_its_slow_message_kept() -> None:
    """Of 100,000 messages a hundred a second have spans, and the slow one has."""
    spans = Spans()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while (message := await receive())["type"] == "websocket.receive":
            if message["text"] == '{"type":"slow"}':
                await asyncio.sleep(0.06)

    observed = WebSocketObserveMiddleware(
        app,
        settings=Settings(log_handler="off", slow_message_seconds=0.05, message_span_rate=RATE),
        registry=CollectorRegistry(),
        tracer_provider=spans.provider,
    )
    fast, slow = text('{"type":"fast"}'), text('{"type":"slow"}')
    half = [fast] * (FLOOD // 2)
    server = Server([CONNECT, *half, slow, *half[1:], disconnect()])
    server.events.reverse()
    server.receive = lambda: _popped(server)  # type: ignore[method-assign]
    began = perf_counter()
    await observed(scope(), server.receive, server.send)
    took = perf_counter() - began

    messages = spans.named("ws.message")
    (kept,) = spans.named("ws.message slow")
    assert kept.start_time is not None
    assert kept.end_time is not None
    assert 0.05e9 <= kept.end_time - kept.start_time <= took * 1e9
    # A second's worth at once, then so many a second; the slow one may come on top.
    assert RATE < len(messages) <= RATE * (1 + took) + 1
    (upgrade,) = spans.named("ws.upgrade")
    assert upgrade.attributes is not None
    assert (FLOOD, FLOOD - len(messages)) == (
        upgrade.attributes["ws.messages.in"],
        upgrade.attributes["ws.messages.untraced"],
    )


async def _popped(server: Server) -> dict[str, object]:
    # From the end: the list is long.
    return server.events.pop() if len(server.events) > 1 else server.events[0]


@pytest.mark.parametrize("how", ["plain", "wait_for"])
async def test_message_after_untraced_ones_is_below_what_is_current_then(how: str) -> None:
    """Not below what was current when the last traced one was over."""
    spans, registry = Spans(), CollectorRegistry()
    tracer = spans.provider.get_tracer("test")
    bucket = SimpleNamespace(opens_at=-inf, take=lambda now: None)
    numbers_of(registry).store.span_bucket = bucket

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def take() -> None:
            await (receive() if how == "plain" else asyncio.wait_for(receive(), 10))

        await receive()
        await send(ACCEPT)
        with tracer.start_as_current_span("first"):
            await take()
            bucket.opens_at = inf
            await take()
        await take()
        bucket.opens_at = -inf
        await take()
        tracer.start_span("work").end()
        await receive()

    observed = WebSocketObserveMiddleware(
        app,
        settings=Settings(log_handler="off"),
        registry=registry,
        tracer_provider=spans.provider,
    )
    server = Server([CONNECT, *[text("a")] * 4, disconnect()])
    await observed(scope(), server.receive, server.send)

    message: Tree = ("ws.message CONSUMER", [])
    assert [
        (
            "ws.upgrade SERVER",
            [
                ("first INTERNAL", [message]),
                ("ws.message CONSUMER", [("work INTERNAL", [])]),
            ],
        )
    ] == tree(spans.all())
