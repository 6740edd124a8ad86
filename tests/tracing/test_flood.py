"""Many messages: what the exporter gets, and what it never misses."""

from __future__ import annotations

import asyncio
from time import perf_counter

from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.support import ACCEPT, CONNECT, Server, Spans, disconnect, scope, text

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
