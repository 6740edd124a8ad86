"""Spans: whole trees, with what is current in the handler, whatever the handler does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import Mount, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_ws_observe import (
    Settings,
    WebSocketObserveMiddleware,
    current_connection,
    current_message,
)
from asgi_ws_observe.tracing.attributes import SPAN_ATTRIBUTES
from tests.support import ACCEPT, CONNECT, Server, Spans, disconnect, sample, scope, text

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

Tree = tuple[str, list["Tree"]]


@pytest.fixture(autouse=True)
def _no_trouble_with_contexts(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Hold in every test of this file that OpenTelemetry complains about no context."""
    yield
    said = [record.getMessage() for record in caplog.get_records("call")]
    assert [] == [line for line in said if "detach" in line or "different Context" in line]


def tree(spans: Iterable[ReadableSpan]) -> list[Tree]:
    """Return spans as names, kinds and errors, each with its children, in the order of starts."""
    ordered = sorted(spans, key=lambda span: span.start_time or 0)
    nodes: dict[int, Tree] = {}
    for span in ordered:
        error = " ERROR" if span.status.status_code is StatusCode.ERROR else ""
        nodes[identity(span)] = (f"{span.name} {span.kind.name}{error}", [])
    roots: list[Tree] = []
    for span in ordered:
        above = nodes.get(span.parent.span_id) if span.parent else None
        (roots if above is None else above[1]).append(nodes[identity(span)])
    return roots


def identity(span: ReadableSpan) -> int:
    """Return a span's id."""
    assert span.context is not None
    return int(span.context.span_id)


def leaf(name: str) -> Tree:
    """Return a node without children."""
    return (name, [])


def upgrade(spans: Spans) -> ReadableSpan:
    """Return the only connection's span."""
    (span,) = spans.named("ws.upgrade")
    return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes, without the random id."""
    found = dict(span.attributes or {})
    assert isinstance(found.pop("ws.connection.id", ""), str)
    return found


def observe(
    app: ASGIApp,
    provider: trace.TracerProvider | None,
    registry: CollectorRegistry | None = None,
    **settings: Any,
) -> WebSocketObserveMiddleware:
    """Put the middleware around an application."""
    return WebSocketObserveMiddleware(
        app,
        settings=Settings(log_handler="off", **settings),
        registry=CollectorRegistry() if registry is None else registry,
        tracer_provider=provider,
    )


async def run(app: ASGIApp, *events: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Feed an application with what a server hands out, and return what it sent."""
    server = Server([CONNECT, *events])
    await app(scope(**more), server.receive, server.send)
    return server.sent


class Silent(Server):
    """A server whose client says nothing more after the events."""

    async def receive(self) -> dict[str, Any]:
        if not self.events:
            await asyncio.Event().wait()
        return self.events.pop(0)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, send every text back, return when the client leaves."""
    await receive()
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text")})


async def talk_twice(app: ASGIApp, **more: Any) -> None:
    """Connect, say two things, leave."""
    await run(app, text("hello"), text("world!"), disconnect(1000), **more)


def routed(handler: Callable[[WebSocket], Awaitable[None]]) -> Starlette:
    """Serve a handler at a template."""
    return Starlette(routes=[WebSocketRoute("/rooms/{room}", handler)])


# The tree.


async def test_bare_application_has_the_whole_tree(spans: Spans) -> None:
    """A connection is a span, and each message a child of it."""
    await talk_twice(observe(echo, spans.provider))
    expected = [
        ("ws.upgrade SERVER", [leaf("ws.message CONSUMER"), leaf("ws.message CONSUMER")]),
    ]
    assert expected == tree(spans.all())


async def test_attributes_of_the_whole_tree(spans: Spans) -> None:
    """A connection's span has its totals, a message's its size and kind."""
    app = observe(echo, spans.provider)
    binary = {"type": "websocket.receive", "bytes": b"\x00" * 300}
    await run(app, text("hé"), binary, disconnect(1000, "bye"))
    assert [
        {"ws.message.bytes": 3},
        {"ws.message.bytes": 300, "ws.message.opcode": "binary"},
    ] == [attributes(span) for span in spans.named("ws.message")]
    found = attributes(upgrade(spans))
    assert 0 < found.pop("ws.handler_time.max") < 10
    assert {
        "network.protocol.name": "websocket",
        "url.scheme": "ws",
        "url.path": "/ws",
        "client.address": "192.0.2.7",
        "server.address": "example.org",
        "server.port": 8000,
        "http.response.status_code": 101,
        "ws.outcome": "normal",
        "ws.close_code": 1000,
        "ws.close_text": "bye",
        "ws.closed_by": "client",
        "ws.close_reason": "normal",
        "ws.messages.in": 2,
        "ws.messages.out": 2,
        "ws.bytes.in": 303,
        "ws.bytes.out": 3,
        "ws.messages.untraced": 0,
    } == found


async def test_every_attribute_is_documented(spans: Spans) -> None:
    """What the application does not set itself stands in the reference's table."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT | {"subprotocol": "chat"})
        await receive()
        current_message().type = "greet"
        raise KeyError

    with pytest.raises(KeyError):
        await run(observe(fail, spans.provider, route=lambda scope: "/r"), text("hello"))
    used = {name for span in spans.all() for name in span.attributes or {}}
    assert set() == used - set(SPAN_ATTRIBUTES)
    assert {"http.route", "error.type", "ws.subprotocol", "ws.message.type"} <= used


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
async def test_framework_gives_the_route(spans: Spans, kind: type[Starlette]) -> None:
    """A matched route's template names the span; its values are in the path only."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="chat")
        async for said in websocket.iter_text():
            await websocket.send_text(said)

    app = kind()
    app.router.routes.append(WebSocketRoute("/rooms/{room}", handler))
    await talk_twice(observe(app, spans.provider), path="/rooms/7")
    messages = [leaf("ws.message CONSUMER"), leaf("ws.message CONSUMER")]
    assert [("ws.upgrade /rooms/{room} SERVER", messages)] == tree(spans.all())
    found = attributes(upgrade(spans))
    assert ("/rooms/{room}", "/rooms/7") == (found["http.route"], found["url.path"])
    assert "chat" == found["ws.subprotocol"]


async def test_fastapi_decorator_gives_the_route(spans: Spans) -> None:
    """FastAPI's own way to declare a handler."""
    app = FastAPI()

    @app.websocket("/items/{item}")
    async def handler(websocket: WebSocket, item: int) -> None:
        await websocket.accept()
        await websocket.send_json({"item": item, "got": await websocket.receive_text()})
        await websocket.close()

    sent = await run(observe(app, spans.provider), text("hello"), disconnect(), path="/items/7")
    assert '{"item":7,"got":"hello"}' == sent[1]["text"]
    assert [("ws.upgrade /items/{item} SERVER", [leaf("ws.message CONSUMER")])] == tree(spans.all())


async def test_mounted_route_has_its_whole_template(spans: Spans) -> None:
    """A route inside a mounted application is named from the outermost path on."""
    app = Starlette(routes=[Mount("/chat", app=routed(WebSocket.accept))])
    await run(observe(app, spans.provider), disconnect(), path="/chat/rooms/7")
    assert "ws.upgrade /chat/rooms/{room}" == upgrade(spans).name


async def test_unmatched_path_has_no_route(spans: Spans) -> None:
    """Without a route the span has the plain name and no such attribute."""
    await run(observe(routed(WebSocket.accept), spans.provider), disconnect(1006), path="/nope")
    span = upgrade(spans)
    assert "ws.upgrade" == span.name
    assert "http.route" not in attributes(span)
    assert ("rejected", "not_found", 403) == tuple(
        attributes(span)[name]
        for name in ("ws.outcome", "ws.close_reason", "http.response.status_code")
    )


async def test_two_middlewares_make_one_tree(spans: Spans) -> None:
    """A second middleware further in steps aside."""
    await talk_twice(observe(observe(echo, spans.provider), spans.provider))
    assert 3 == len(spans.all())


# Where a trace comes from.


def traced(value: bytes, **more: Any) -> dict[str, Any]:
    """Return the scope's changes for a client with this `traceparent`."""
    return {"headers": [(b"host", b"example.org"), (b"traceparent", value)], **more}


async def test_traceparent_of_the_client_is_the_parent(spans: Spans) -> None:
    """A client that traces has the connection in its trace."""
    given = traced(f"00-{TRACE_ID}-{PARENT_ID}-01".encode())
    given["headers"].append((b"tracestate", b"vendor=7"))
    await talk_twice(observe(echo, spans.provider), **given)
    span = upgrade(spans)
    assert span.parent is not None
    assert span.context is not None
    assert (TRACE_ID, PARENT_ID) == (
        trace.format_trace_id(span.parent.trace_id),
        trace.format_span_id(span.parent.span_id),
    )
    assert span.parent.is_remote
    assert {"vendor": "7"} == dict(span.context.trace_state)
    assert {int(TRACE_ID, 16)} == {each.context.trace_id for each in spans.all() if each.context}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"garbage",
        b"00",
        b"00-" + b"0" * 32 + b"-" + PARENT_ID.encode() + b"-01",
        b"00-" + TRACE_ID.encode() + b"-" + b"0" * 16 + b"-01",
        b"ff-" + TRACE_ID.encode() + b"-" + PARENT_ID.encode() + b"-01",
        b"00-" + TRACE_ID.encode() + b"-" + PARENT_ID.encode() + b"-01-extra",
        b"00-" + TRACE_ID.encode() + b"-" + PARENT_ID.encode(),
        b"00-" + TRACE_ID[:-1].encode() + b"-" + PARENT_ID.encode() + b"-01",
        b"00-" + TRACE_ID.encode() + b"0-" + PARENT_ID.encode() + b"-01",
        b"00-" + b"g" * 32 + b"-" + PARENT_ID.encode() + b"-01",
        b"00-" + TRACE_ID.upper().encode() + b"-" + PARENT_ID.encode() + b"-01",
        b"00_" + TRACE_ID.encode() + b"_" + PARENT_ID.encode() + b"_01",
        b"00-" + TRACE_ID.encode() + b"-" + PARENT_ID.encode() + b"-zz",
        b"\xff\xfe\x00",
        b"00-" + b"1" * 100_000,
    ],
)
async def test_forged_traceparent_is_ignored(spans: Spans, value: bytes) -> None:
    """What is no valid parent starts a trace of its own, and fails nothing."""
    registry = CollectorRegistry()
    await talk_twice(observe(echo, spans.provider, registry), **traced(value))
    span = upgrade(spans)
    assert span.parent is None
    assert span.context is not None
    assert TRACE_ID != trace.format_trace_id(span.context.trace_id)
    assert 3 == len(spans.all())
    assert 0 == sample(registry, "ws_observe_errors_total", part="tracing")


async def test_current_span_wins_over_the_header(spans: Spans) -> None:
    """A span that is there already, of another middleware, is the parent."""
    tracer = spans.provider.get_tracer("test")
    with tracer.start_as_current_span("outer"):
        header = traced(f"00-{TRACE_ID}-{PARENT_ID}-01".encode())
        await talk_twice(observe(echo, spans.provider), **header)
    messages = [leaf("ws.message CONSUMER"), leaf("ws.message CONSUMER")]
    assert [("outer INTERNAL", [("ws.upgrade SERVER", messages)])] == tree(spans.all())


async def test_context_is_what_it_was_afterwards(spans: Spans) -> None:
    """After the connection nothing of it is current any more."""
    with spans.provider.get_tracer("test").start_as_current_span("outer") as outer:
        await talk_twice(observe(echo, spans.provider))
        assert outer is trace.get_current_span()
    assert trace.INVALID_SPAN is trace.get_current_span()


async def test_record_has_the_ids_of_its_span(spans: Spans) -> None:
    """Log lines and clients can name the trace."""
    seen: list[tuple[str, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((current_connection().trace_id, current_connection().span_id))
        await echo(scope, receive, send)

    await talk_twice(observe(app, spans.provider))
    context = upgrade(spans).context
    assert context is not None
    expected = (trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id))
    assert [expected] == seen


# What is current in the handler.


async def test_message_is_current_until_the_next_receive(spans: Spans) -> None:
    """A message's span is current while its handler works, and ends at the next receive."""
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        seen.append(trace.get_current_span())
        for _ in range(2):
            await receive()
            seen.append(trace.get_current_span())
            assert seen[-1].is_recording()
            assert len(seen) - 2 == len(spans.named("ws.message"))
        await receive()
        seen.append(trace.get_current_span())

    await talk_twice(observe(app, spans.provider))
    assert ["ws.upgrade", "ws.message", "ws.message", "ws.upgrade"] == [each.name for each in seen]
    assert seen[1] is not seen[2]
    assert seen[0] is seen[3]
    assert [False] * 4 == [each.is_recording() for each in seen]


async def test_waiting_for_the_client_is_no_part_of_a_message(spans: Spans) -> None:
    """A message ends before the wait for the next one begins, not after it."""
    waiting: list[int] = []

    class Slow(Server):
        async def receive(self) -> dict[str, Any]:
            waiting.append(len(spans.named("ws.message")))
            return await super().receive()

    server = Slow([CONNECT, text("hello"), text("world"), disconnect()])
    await observe(echo, spans.provider)(scope(), server.receive, server.send)
    assert [0, 0, 1, 2] == waiting


def working(spans: Spans, websocket: WebSocket) -> Callable[[str], Awaitable[None]]:
    """Return what a handler does with a text: a span of its own, awaiting something, an answer."""
    tracer = spans.provider.get_tracer("test")

    async def work(said: str) -> None:
        with tracer.start_as_current_span(f"work on {said}"):
            await asyncio.sleep(0)
            await websocket.send_text(said)

    return work


#: Handlers in the ways in which they are written.
Handler = Callable[[Spans], ASGIApp]


def by_loop(spans: Spans) -> ASGIApp:
    """Read in an endless loop that the disconnect ends."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        work = working(spans, websocket)
        while True:
            try:
                await work(await websocket.receive_text())
            except WebSocketDisconnect:
                break

    return routed(handler)


def by_unhandled_disconnect(spans: Spans) -> ASGIApp:
    """Read in an endless loop and let the disconnect out."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        work = working(spans, websocket)
        while True:
            await work(await websocket.receive_text())

    return routed(handler)


def by_async_for(spans: Spans) -> ASGIApp:
    """Read with ``async for``."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        work = working(spans, websocket)
        async for said in websocket.iter_text():
            await work(said)

    return routed(handler)


def by_endpoint(spans: Spans) -> ASGIApp:
    """Read with Starlette's class for handlers."""

    class Endpoint(WebSocketEndpoint):
        encoding = "text"

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            await working(spans, websocket)(data)

    return Starlette(routes=[WebSocketRoute("/rooms/{room}", Endpoint)])


def by_reader_task(spans: Spans) -> ASGIApp:
    """Read in a task of its own, beside another one that only waits."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        work = working(spans, websocket)
        gone = asyncio.Event()

        async def read() -> None:
            async for said in websocket.iter_text():
                await work(said)
            gone.set()

        await asyncio.gather(read(), gone.wait())

    return routed(handler)


def by_worker_task(spans: Spans) -> ASGIApp:
    """Hand each message to a task that is waited for."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        work = working(spans, websocket)
        async for said in websocket.iter_text():
            await asyncio.create_task(work(said))  # type: ignore[arg-type]

    return routed(handler)


def by_fastapi(spans: Spans) -> ASGIApp:
    """Read in FastAPI."""
    app = FastAPI()

    @app.websocket("/rooms/{room}")
    async def handler(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        work = working(spans, websocket)
        async for said in websocket.iter_text():
            await work(said)

    return app


@pytest.mark.parametrize(
    "make_app",
    [
        by_loop,
        by_unhandled_disconnect,
        by_async_for,
        by_endpoint,
        by_reader_task,
        by_worker_task,
        by_fastapi,
    ],
)
async def test_spans_of_the_handler_are_children_of_its_message(
    spans: Spans, make_app: Handler
) -> None:
    """However the handler reads, what it does for a message is below the message."""
    app = observe(make_app(spans), spans.provider)
    try:
        await talk_twice(app, path="/rooms/7")
    except WebSocketDisconnect:
        assert make_app is by_unhandled_disconnect
    assert [
        (
            "ws.upgrade /rooms/{room} SERVER",
            [
                ("ws.message CONSUMER", [leaf("work on hello INTERNAL")]),
                ("ws.message CONSUMER", [leaf("work on world! INTERNAL")]),
            ],
        )
    ] == tree(spans.all())


async def test_wait_for_around_receive_keeps_the_tree(spans: Spans) -> None:
    """`asyncio.wait_for` before Python 3.12 reads in a task, whose context is not the handler's."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        work = working(spans, websocket)
        for _ in range(2):
            await work(await asyncio.wait_for(websocket.receive_text(), 10))
        await websocket.close()

    await talk_twice(observe(routed(handler), spans.provider), path="/rooms/7")
    below = [
        ("ws.message CONSUMER", [leaf("work on hello INTERNAL")]),
        ("ws.message CONSUMER", [leaf("work on world! INTERNAL")]),
    ]
    assert [("ws.upgrade /rooms/{room} SERVER", below)] == tree(spans.all())


async def test_wait_for_that_times_out_ends_the_message(spans: Spans) -> None:
    """A cancelled receive leaves no message open and starts none."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(websocket.receive_text(), 0)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(websocket.receive_text(), 0.01)
        await websocket.close()

    server = Silent([CONNECT, text("hello")])
    app = observe(routed(handler), spans.provider)
    await app(scope("/rooms/7"), server.receive, server.send)
    assert [("ws.upgrade /rooms/{room} SERVER", [leaf("ws.message CONSUMER")])] == tree(spans.all())


async def test_connections_at_the_same_time_have_their_own_trees(spans: Spans) -> None:
    """Handlers that take turns on one loop never mix their spans."""
    app = observe(by_async_for(spans), spans.provider)
    tasks = [asyncio.create_task(talk_twice(app, path=f"/rooms/{n}")) for n in range(20)]
    await asyncio.gather(*tasks)
    found = tree(spans.all())
    assert 20 == len(found)
    assert 20 == len({span.context.trace_id for span in spans.all() if span.context})
    for _, messages in found:
        assert ["work on hello INTERNAL", "work on world! INTERNAL"] == [
            work[0] for _, works in messages for work in works
        ]


async def test_message_after_the_application_closed_is_a_message(spans: Spans) -> None:
    """What was on its way when the application closed is counted, and its span ends."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.close"})
        while (await receive())["type"] == "websocket.receive":
            pass

    await talk_twice(observe(app, spans.provider))
    assert 2 == len(spans.named("ws.message"))
    assert 2 == attributes(upgrade(spans))["ws.messages.in"]


async def test_listener_told_twice_ends_a_message_once(spans: Spans) -> None:
    """Done with no message at hand is nothing to end, and nothing that fails."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        listener = current_connection().listener
        assert listener is not None
        listener.handled(0.0, True)
        listener.handled(0.0, True)
        assert "ws.upgrade" == getattr(trace.get_current_span(), "name", None)
        await receive()

    await run(observe(app, spans.provider), text("hello"), disconnect())
    assert [("ws.upgrade SERVER", [leaf("ws.message CONSUMER")])] == tree(spans.all())


# How it ends.


def closing(code: int | None) -> ASGIApp:
    """Return an application that closes with a code, or waits for the client where it is None."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        if code is not None:
            await send({"type": "websocket.close", "code": code})
        await receive()

    return app


@pytest.mark.parametrize(
    ("code", "settings", "error"),
    [
        (1000, {}, False),
        (1001, {}, False),
        (1005, {}, False),
        (1006, {}, False),
        (1008, {}, False),
        (1011, {}, True),
        (1012, {}, False),
        (3000, {}, False),
        (4000, {}, False),
        (4000, {"error_close_codes": (4000,)}, True),
        (1006, {"error_close_codes": (1006, 1011)}, True),
        (1011, {"error_close_codes": (4000,)}, False),
        (1011, {"error_close_codes": ()}, False),
    ],
)
@pytest.mark.parametrize("by", ["client", "server"])
async def test_close_code_decides_the_status(
    spans: Spans, code: int, settings: dict[str, Any], error: bool, by: str
) -> None:
    """Clean closes are no errors; 1011 is one; which codes are is a setting."""
    app = closing(code if by == "server" else None)
    await run(observe(app, spans.provider, **settings), disconnect(code))
    span = upgrade(spans)
    assert (StatusCode.ERROR if error else StatusCode.UNSET) is span.status.status_code
    assert (f"closed with {code}" if error else None) == span.status.description
    assert code == attributes(span)["ws.close_code"]
    assert error == (attributes(span)["ws.outcome"] == "error")


async def test_exception_is_an_error_of_message_and_connection(spans: Spans) -> None:
    """What a handler raises marks its message and its connection, and reaches the server."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await receive()
        raise KeyError("no such room")

    with pytest.raises(KeyError, match="no such room"):
        await talk_twice(observe(app, spans.provider))
    below = [leaf("ws.message CONSUMER"), leaf("ws.message CONSUMER ERROR")]
    assert [("ws.upgrade SERVER ERROR", below)] == tree(spans.all())
    for span in (upgrade(spans), spans.named("ws.message")[1]):
        assert "KeyError" == attributes(span)["error.type"]
        (event,) = span.events
        assert ("exception", "KeyError") == (
            event.name,
            (event.attributes or {})["exception.type"],
        )
    assert () == spans.named("ws.message")[0].events


async def test_exception_between_messages_is_of_the_connection(spans: Spans) -> None:
    """Without a message at hand only the connection's span is an error."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        raise KeyError

    with pytest.raises(KeyError):
        await talk_twice(observe(app, spans.provider))
    assert [leaf("ws.upgrade SERVER ERROR")] == tree(spans.all())


async def test_message_at_hand_ends_with_the_application(spans: Spans) -> None:
    """A handler that returns without asking for the next message ends its last one."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.close"})

    await run(observe(app, spans.provider), text("hello"), disconnect())
    assert [("ws.upgrade SERVER", [leaf("ws.message CONSUMER")])] == tree(spans.all())


async def test_cancelled_application_is_no_error(spans: Spans) -> None:
    """A server that shuts down cancels; the spans end and nobody is to blame."""
    handling = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        handling.set()
        await asyncio.Event().wait()

    server = Silent([CONNECT, text("hello")])
    observed = observe(app, spans.provider)
    task = asyncio.ensure_future(observed(scope(), server.receive, server.send))
    await handling.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [("ws.upgrade SERVER", [leaf("ws.message CONSUMER")])] == tree(spans.all())
    assert "cancelled" == attributes(upgrade(spans))["ws.close_reason"]


@pytest.mark.parametrize(
    ("answers", "outcome", "reason", "status"),
    [
        ([{"type": "websocket.close"}], "rejected", "rejected", 403),
        (
            [
                {"type": "websocket.http.response.start", "status": 401, "headers": []},
                {"type": "websocket.http.response.body", "body": b"no"},
            ],
            "denied",
            "denied",
            401,
        ),
        ([], "rejected", "error", 500),
    ],
)
async def test_failed_handshake_has_its_status(
    spans: Spans, answers: list[dict[str, Any]], outcome: str, reason: str, status: int
) -> None:
    """A refused handshake is one span, with the HTTP status that the client gets."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for answer in answers:
            await send(answer)

    await run(observe(app, spans.provider, route=lambda scope: "/ws"), disconnect(1006))
    error = " ERROR" if status >= 500 else ""
    assert [leaf(f"ws.upgrade /ws SERVER{error}")] == tree(spans.all())
    found = attributes(upgrade(spans))
    assert (outcome, reason, status) == (
        found["ws.outcome"],
        found["ws.close_reason"],
        found["http.response.status_code"],
    )
    assert "ws.close_code" not in found
    assert "ws.closed_by" not in found


async def test_client_gone_before_the_answer_has_no_status(spans: Spans) -> None:
    """A handshake that the client gave up has no HTTP status."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    await run(observe(app, spans.provider), disconnect(1006))
    found = attributes(upgrade(spans))
    assert ("rejected", "abandoned") == (found["ws.outcome"], found["ws.close_reason"])
    assert "http.response.status_code" not in found


async def test_exception_in_the_handshake_is_an_error(spans: Spans) -> None:
    """An application that fails before its answer is an error and a 500."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise PermissionError("database")

    with pytest.raises(PermissionError):
        await run(observe(app, spans.provider))
    assert [leaf("ws.upgrade SERVER ERROR")] == tree(spans.all())
    found = attributes(upgrade(spans))
    assert ("PermissionError", 500) == (found["error.type"], found["http.response.status_code"])


@pytest.mark.parametrize(
    ("extensions", "status", "outcome"),
    [({}, 403, "rejected"), ({"websocket.http.response": {}}, 503, "denied")],
)
async def test_handshake_above_the_limit_has_its_status(
    spans: Spans, extensions: dict[str, Any], status: int, outcome: str
) -> None:
    """A connection too many is a span that says so, beside the one that filled the place."""
    inside: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await run(observed, extensions=extensions)
        inside.append(trace.get_current_span())
        await receive()

    observed = observe(app, spans.provider, max_connections=1, enforce=True)
    await run(observed, disconnect(1000))
    refused, accepted = spans.all()
    found = attributes(refused)
    assert (outcome, "limit", status) == (
        found["ws.outcome"],
        found["ws.close_reason"],
        found["http.response.status_code"],
    )
    assert "normal" == attributes(accepted)["ws.outcome"]
    assert [identity(accepted)] == [each.get_span_context().span_id for each in inside]


# What is not made.


async def test_unsampled_connection_makes_no_message_spans() -> None:
    """A connection that is sampled out costs no span per message, and exports nothing."""
    spans = Spans(sampler=ALWAYS_OFF)
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        before = trace.get_current_span()
        await receive()
        seen.append((before is trace.get_current_span(), before.get_span_context().is_valid))
        seen.append(bool(current_connection().trace_id))
        raise KeyError

    with pytest.raises(KeyError):
        await talk_twice(observe(app, spans.provider))
    assert [] == spans.all()
    # The trace goes on to whatever the handler calls, unsampled.
    assert [(True, True), True] == seen


@pytest.mark.parametrize(("flags", "expected"), [("01", 3), ("00", 0)])
async def test_sampling_of_the_client_is_followed(flags: str, expected: int) -> None:
    """With a sampler that asks the parent, the client's flag decides for the connection."""
    spans = Spans(sampler=ParentBased(TraceIdRatioBased(0)))
    value = f"00-{TRACE_ID}-{PARENT_ID}-{flags}".encode()
    await talk_twice(observe(echo, spans.provider), **traced(value))
    assert expected == len(spans.all())


async def unaffected(app: ASGIApp) -> list[Any]:
    """Return what a handler sees of tracing: the current span and the record's ids."""
    seen: list[Any] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        connection = current_connection()
        seen.extend((trace.get_current_span(), connection.trace_id, connection.span_id))

    assert isinstance(app, WebSocketObserveMiddleware)
    app.app = inner
    await run(app, text("hello"), disconnect())
    return seen


async def test_without_sdk_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no SDK is configured there is no span and no trace id."""
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    seen = await unaffected(observe(echo, None))
    assert [trace.INVALID_SPAN, "", ""] == seen


@pytest.mark.parametrize("given", [True, False], ids=["argument", "global"])
async def test_noop_provider_makes_nothing(monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    """A provider that does nothing costs nothing, given to us or to OpenTelemetry."""
    provider = trace.NoOpTracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    seen = await unaffected(observe(echo, provider if given else None))
    assert [trace.INVALID_SPAN, "", ""] == seen


async def test_disabled_sdk_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK that its own environment variable turns off gives no trace id."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    spans = Spans()
    seen = await unaffected(observe(echo, spans.provider))
    assert [trace.INVALID_SPAN, "", ""] == seen
    assert [] == spans.all()


async def test_provider_that_is_set_late_is_found(
    monkeypatch: pytest.MonkeyPatch, spans: Spans
) -> None:
    """The global provider counts from when it is set, though the middleware was there before."""
    # What `set_tracer_provider` sets, once in a process.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    app = observe(echo, None)
    await talk_twice(app)
    assert [] == spans.all()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    await talk_twice(app)
    await talk_twice(app)
    assert 6 == len(spans.all())


async def test_given_provider_wins_over_the_global_one(
    monkeypatch: pytest.MonkeyPatch, spans: Spans
) -> None:
    """The argument counts, whatever is set globally."""
    other = Spans()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: other.provider)
    await talk_twice(observe(echo, spans.provider))
    assert (3, 0) == (len(spans.all()), len(other.all()))


async def test_spans_name_the_library_that_made_them(spans: Spans) -> None:
    """A span says that this library made it, and in which version."""
    await talk_twice(observe(echo, spans.provider))
    scopes = {
        (span.instrumentation_scope.name, bool(span.instrumentation_scope.version))
        for span in spans.all()
        if span.instrumentation_scope
    }
    assert {("asgi_ws_observe", True)} == scopes


async def test_message_spans_off_leaves_the_connection(spans: Spans) -> None:
    """Without message spans the connection's is current in the handler, with its counts."""
    app = observe(by_async_for(spans), spans.provider, message_spans="off")
    await talk_twice(app, path="/rooms/7")
    works = [leaf("work on hello INTERNAL"), leaf("work on world! INTERNAL")]
    assert [("ws.upgrade /rooms/{room} SERVER", works)] == tree(spans.all())
    assert 2 == attributes(upgrade(spans))["ws.messages.in"]


async def test_connection_span_off_makes_no_spans(spans: Spans) -> None:
    """Without connection spans there are none, and the handler's own start their own traces."""
    registry = CollectorRegistry()
    app = observe(by_async_for(spans), spans.provider, registry, connection_span="off")
    await talk_twice(app, path="/rooms/7")
    works = [leaf("work on hello INTERNAL"), leaf("work on world! INTERNAL")]
    assert works == tree(spans.all())
    assert 2 == sample(registry, "ws_messages_total", route="/rooms/{room}", direction="in")


# What the application says.


def typed(*types: Any) -> ASGIApp:
    """Return an application that names its messages one after the other."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for kind in types:
            await receive()
            if kind is not None:
                current_message().type = kind
        await receive()

    return app


async def test_type_names_the_message_span(spans: Spans) -> None:
    """A handler's word for a message names its span; without one there is no such attribute."""
    await talk_twice(observe(typed("join", None), spans.provider))
    named, plain = spans.named("ws.message")
    assert ("ws.message join", "join") == (named.name, attributes(named)["ws.message.type"])
    assert "ws.message" == plain.name
    assert "ws.message.type" not in attributes(plain)


async def test_type_can_be_set_after_work_on_the_message(spans: Spans) -> None:
    """A message taken at the handler's start can be named later, and one too late is ignored."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        first = current_message()
        await asyncio.sleep(0)
        first.type = "join"
        await receive()
        first.type = "too late"
        await receive()

    await talk_twice(observe(app, spans.provider))
    assert ["ws.message join", "ws.message"] == [span.name for span in spans.named("ws.message")]


async def test_51st_type_is_other(spans: Spans) -> None:
    """A client that chooses the types cannot make more than 50 names, whatever the connection."""
    app = observe(typed(*(f"type{n}" for n in range(40))), spans.provider, message_spans="all")
    for _ in range(2):
        await run(app, *[text("x")] * 40, disconnect())
    app.app = typed(*(f"novel{n}" for n in range(40)), "type7")
    await run(app, *[text("x")] * 41, disconnect())
    names = [span.name for span in spans.named("ws.message")]
    assert 51 == len(set(names))
    assert 30 == names.count("ws.message other")
    assert "ws.message type7" == names[-1]


async def test_hostile_type_is_bounded(spans: Spans) -> None:
    """A type that comes from a client is no text, too long, or drives a terminal."""
    await talk_twice(observe(typed(["no", "text"], "\x1b[2J" + "x" * 9999), spans.provider))
    listed, long = spans.named("ws.message")
    assert "ws.message ['no', 'text']" == listed.name
    assert long.name.startswith(r"ws.message \x1b[2Jxxx")
    assert len(long.name) < 300


async def test_fields_are_attributes_of_the_connection(spans: Spans) -> None:
    """What the application sets on its connection is on the connection's span."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        current_connection().set("tenant", "acme")
        await send(ACCEPT)
        await receive()
        current_connection().set("seats", 7)
        current_connection().set("tenant", "other")
        current_connection().set("beta", True)
        current_connection().set("plan", ["gold"])

    await talk_twice(observe(app, spans.provider))
    found = attributes(upgrade(spans))
    assert {"tenant": "other", "seats": 7, "beta": True, "plan": "['gold']"} == {
        name: found[name] for name in ("tenant", "seats", "beta", "plan")
    }


async def test_sampled_message_is_an_exemplar(spans: Spans) -> None:
    """A handler's time points to the message's span; an unsampled one to nothing."""

    def exemplars(registry: CollectorRegistry) -> set[str]:
        return {
            each.exemplar.labels["span_id"]
            for family in registry.collect()
            for each in family.samples
            if each.exemplar is not None
        }

    sampled, unsampled = CollectorRegistry(), CollectorRegistry()
    await run(observe(echo, spans.provider, sampled), text("hello"), disconnect())
    await run(observe(echo, Spans(sampler=ALWAYS_OFF).provider, unsampled), text("x"), disconnect())
    (message,) = spans.named("ws.message")
    assert {trace.format_span_id(identity(message))} == exemplars(sampled)
    assert set() == exemplars(unsampled)


class RecordOnly(Sampler):
    """Records every span, for a processor in the process, and exports none."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "RecordOnly"


async def test_message_recorded_but_not_sampled_is_no_exemplar(
    registry: CollectorRegistry,
) -> None:
    """An exemplar never points to a trace that no backend has."""
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        seen.append(trace.get_current_span().is_recording())

    await talk_twice(observe(app, Spans(sampler=RecordOnly()).provider, registry))
    assert [True] == seen
    handled = "ws_handler_duration_seconds"
    assert 1 == sample(registry, f"{handled}_count", route="unmatched")
    assert [] == [
        each.exemplar
        for family in registry.collect()
        for each in family.samples
        if each.exemplar is not None
    ]


# What fails inside tracing.


class Failing(SpanProcessor):
    """A processor that fails where it is told.

    Args:
        where: ``on_start`` or ``on_end``.
        name: The beginning of the names of the spans that it fails for.
    """

    def __init__(self, where: str, name: str) -> None:
        self._where = where
        self._name = name

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._act("on_start", span)

    def on_end(self, span: ReadableSpan) -> None:
        self._act("on_end", span)

    def _act(self, where: str, span: Any) -> None:
        if where == self._where and span.name.startswith(self._name):
            raise RuntimeError("the exporter is gone")


@pytest.mark.parametrize("where", ["on_start", "on_end"])
@pytest.mark.parametrize("name", ["ws.upgrade", "ws.message"])
async def test_failing_processor_never_reaches_the_application(
    caplog: pytest.LogCaptureFixture, registry: CollectorRegistry, where: str, name: str
) -> None:
    """A processor that raises costs spans; messages, counts and the outcome stay as they are."""
    provider = TracerProvider()
    provider.add_span_processor(Failing(where, name))
    app = observe(echo, provider, registry)
    with caplog.at_level(logging.ERROR, "asgi_ws_observe"):
        for _ in range(2):
            sent = await run(app, text("hello"), text("world!"), disconnect())
            assert ["hello", "world!"] == [message["text"] for message in sent[1:]]
    failures = sample(registry, "ws_observe_errors_total", part="tracing")
    # The connection's span fails the whole reader at once, a message's those of its connection.
    assert {"ws.upgrade": 1, "ws.message": 2}[name] == failures
    assert 1 == len(caplog.records)
    assert "tracing failed in" in caplog.records[0].getMessage()
    closed = {"code": "1000", "closed_by": "client", "reason": "normal"}
    assert 2 == sample(registry, "ws_closes_total", route="unmatched", **closed)
    assert 4 == sample(registry, "ws_messages_total", route="unmatched", direction="in")
    assert 0 == sample(registry, "ws_observe_errors_total", part="record")


async def test_failing_message_spans_leave_the_connection_span(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where a message's span fails, the connection's is complete none the less."""
    spans = Spans()
    spans.provider.add_span_processor(Failing("on_start", "ws.message"))
    await talk_twice(observe(echo, spans.provider))
    assert [leaf("ws.upgrade SERVER")] == tree(spans.all())
    assert 2 == attributes(upgrade(spans))["ws.messages.in"]


async def test_kinds_are_those_of_opentelemetry(spans: Spans) -> None:
    """A connection is served, a message is consumed."""
    await talk_twice(observe(echo, spans.provider))
    kinds = {span.name: span.kind for span in spans.all()}
    assert {"ws.upgrade": SpanKind.SERVER, "ws.message": SpanKind.CONSUMER} == kinds


@pytest.mark.parametrize("header", [b"traceparent", b"baggage", b"\xff\\x"])
async def test_client_with_undecodable_headers_stops_no_tracing(
    spans: Spans, header: bytes
) -> None:
    """Its own connection has a span as well, and so has the next one."""
    app = observe(echo, spans.provider)
    await run(app, disconnect(), headers=[(header, b"\xff\\x")])
    await talk_twice(app)
    assert 2 == len(spans.named("ws.upgrade"))


@pytest.mark.parametrize("name", ["ws.close_code", "ws.outcome", "ws.connection.id"])
async def test_field_of_the_application_forges_no_attribute(spans: Spans, name: str) -> None:
    """A name of the library's own gets ``app.`` in front."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        current_connection().set(name, "forged")
        await receive()

    await run(observe(app, spans.provider), disconnect(1000))
    found = dict(upgrade(spans).attributes or {})
    assert "forged" != found[name]
    assert "forged" == found[f"app.{name}"]


@pytest.mark.parametrize("prefix", ["ws.upgrade", "ws.message"])
async def test_context_is_restored_when_a_span_fails_to_end(prefix: str) -> None:
    """Whatever a span processor raises, nothing stays current behind the connection."""
    provider = TracerProvider()
    provider.add_span_processor(Failing("on_end", prefix))
    await talk_twice(observe(echo, provider))
    assert trace.INVALID_SPAN is trace.get_current_span()


async def test_exception_describes_the_status(spans: Spans) -> None:
    """The exception's class is the description, though the close says 1006 afterwards."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        raise KeyError

    with pytest.raises(KeyError):
        await run(observe(app, spans.provider), text("the client is still there"))
    assert "KeyError" == upgrade(spans).status.description


@pytest.mark.parametrize(("status", "error"), [(429, False), (500, True), (503, True)])
async def test_denial_response_is_an_error_from_500_on(
    spans: Spans, status: int, error: bool
) -> None:
    """OpenTelemetry's rule for servers: 4xx is the client's fault."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    await run(observe(app, spans.provider), disconnect(1006))
    assert error == (upgrade(spans).status.status_code is StatusCode.ERROR)
