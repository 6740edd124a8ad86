"""Spans on real servers: a slow handler, its own spans, and the trace of the client."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.servers.harness import IMPLEMENTATIONS, serving
from tests.support import Spans, wait_until

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
    pytest.mark.parametrize("implementation", IMPLEMENTATIONS),
]

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def identity(span: ReadableSpan) -> tuple[str, str]:
    """Return a span's trace id and span id as text."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def lived(implementation: str, registry: CollectorRegistry, spans: Spans, command: str) -> None:
    """Let a client with a trace send one command, and wait until the connection's span ended."""
    tracer = spans.provider.get_tracer("handler")

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            if text == "raise":
                raise LookupError
            if text == "close":
                await websocket.close(1011)
                return
            with tracer.start_as_current_span("handler's own"):
                await asyncio.sleep(0.8)
            await websocket.send_text("done")

    app = Starlette(routes=[WebSocketRoute("/rooms/{room}", endpoint)])
    app.add_middleware(
        WebSocketObserveMiddleware,
        registry=registry,
        settings=Settings(log_handler="off"),
        tracer_provider=spans.provider,
    )

    async def client(address: str) -> None:
        headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
        async with connect(f"ws://{address}/rooms/1", additional_headers=headers) as websocket:
            await websocket.send(command)
            try:
                await websocket.recv()
            except ConnectionClosed:
                assert command != "work"

    with serving(app, implementation) as address:
        asyncio.run(client(address))
        wait_until(lambda: spans.named("ws.upgrade"))


def test_slow_handler_is_a_span_of_its_length_in_the_trace_of_the_client(
    implementation: str, registry: CollectorRegistry, spans: Spans
) -> None:
    """800 ms of work, the handler's own span inside it, and no error at a clean close."""
    lived(implementation, registry, spans, "work")
    own, message, connection = spans.all()
    assert ["handler's own", "ws.message", "ws.upgrade /rooms/{room}"] == [
        each.name for each in (own, message, connection)
    ]
    # The handler slept by another clock than the one that spans are dated by.
    assert 0.75 < ((message.end_time or 0) - (message.start_time or 0)) / 1e9 < 2.0
    assert {TRACE_ID} == {identity(each)[0] for each in spans.all()}
    parents = [f"{each.parent.span_id:016x}" for each in (own, message, connection) if each.parent]
    assert [identity(message)[1], identity(connection)[1], PARENT_ID] == parents
    assert (SpanKind.CONSUMER, SpanKind.SERVER) == (message.kind, connection.kind)
    assert {StatusCode.UNSET} == {each.status.status_code for each in spans.all()}


@pytest.mark.parametrize("command", ["raise", "close"])
def test_exception_and_1011_are_errors(
    command: str, implementation: str, registry: CollectorRegistry, spans: Spans
) -> None:
    """The connection's span has the error; the message's only where its handler raised."""
    lived(implementation, registry, spans, command)
    message, connection = spans.all()
    assert StatusCode.ERROR is connection.status.status_code
    assert (command == "raise") == (message.status.status_code is StatusCode.ERROR)
