"""Whatever a client sends, a span stays small."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanLimits
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from asgi_ws_observe import Settings, WebSocketObserveMiddleware, current_connection
from tests.support import CONNECT, Server, Spans, disconnect, scope, text

PARENT = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
MUCH = "x" * 100_000


async def hostile(spans: Spans, **settings: Any) -> None:
    """Let a client send as much as it can of everything, to a handler that fails over it."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        for number in range(100):
            current_connection().set(f"field {number} {MUCH}", MUCH)
        while True:
            said = await websocket.receive_text()
            await websocket.send_text(said)
            if said == MUCH:
                raise ValueError(said)

    envelope = {"type": MUCH, "traceparent": PARENT, "tracestate": "a=" + MUCH}
    messages = [text(json.dumps({**envelope, "type": f"{n}{MUCH[:9000]}"})) for n in range(60)]
    server = Server([CONNECT, *messages, text(json.dumps(envelope)), text(MUCH), disconnect()])
    headers = [(b"host", MUCH.encode()), (b"user-agent", MUCH.encode())]
    headers += [(f"x-{number}".encode(), MUCH.encode()) for number in range(200)]
    middleware = WebSocketObserveMiddleware(
        Starlette(routes=[WebSocketRoute("/{path:path}", handler)]),
        settings=Settings(log_handler="off", message_spans="all", send_spans=True, **settings),
        registry=CollectorRegistry(),
        tracer_provider=spans.provider,
    )
    given = scope("/" + MUCH, headers=headers, query_string=f"traceparent={PARENT}".encode())
    with pytest.raises(ValueError, match="x"):
        await middleware(given, server.receive, server.send)


@pytest.mark.parametrize("shape", ["nested", "linked"])
async def test_span_of_a_hostile_client_is_small(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No long value, no more than a few dozen attributes, one event, two links."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", ".*")
    spans = Spans()
    await hostile(spans, connection_span=shape)
    assert 100 < len(spans.all())
    names = {span.name for span in spans.all()}
    assert len(names) < 2 * 52 + 4
    for span in spans.all():
        attributes = dict(span.attributes or {})
        assert len(attributes) < 100
        assert len(span.name) < 300
        assert len(span.events) <= 1
        assert len(span.links) <= 2
        events = [value for event in span.events for value in (event.attributes or {}).values()]
        for value in (*attributes.values(), *attributes):
            longest = max(map(len, value)) if isinstance(value, tuple) else len(str(value))
            assert longest <= 1024
        assert all(len(str(value)) <= 16384 for value in events)


async def test_limits_of_the_sdk_hold() -> None:
    """Where somebody wants less, they get less."""
    limits = SpanLimits(max_span_attributes=8, max_links=1, max_events=1, max_attribute_length=20)
    spans = Spans(span_limits=limits)
    await hostile(spans)
    for span in spans.all():
        assert len(span.attributes or {}) <= 8
        assert len(span.links) <= 1
        texts = [value for value in (span.attributes or {}).values() if isinstance(value, str)]
        assert all(len(value) <= 20 for value in texts)
