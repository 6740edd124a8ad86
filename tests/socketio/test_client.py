"""Clients of python-socketio against its own server, under uvicorn: what they send and trace."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
import socketio
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from asgi_ws_observe import SettingsError
from asgi_ws_observe.socketio.client import ClientInstrumentation, instrument_client
from asgi_ws_observe.tracing.contexts import attach, get_current
from tests.socketio.plain_server import CLOSED, PlainServer, plain_server
from tests.socketio.test_carrier import CARRIER, SPAN, TRACE, holding
from tests.support import Spans, until, wait_until

#: Makes a client that is disconnected when the test is over.
MakeClient = Callable[..., Any]


@pytest.fixture(scope="module")
def served() -> Iterator[PlainServer]:
    """A server for the whole file, since starting one takes a while."""
    with plain_server() as server:
        yield server


@pytest.fixture
def server(served: PlainServer) -> PlainServer:
    """The server, with nothing in it."""
    served.clear()
    return served


@pytest_asyncio.fixture
async def make() -> AsyncIterator[MakeClient]:
    """What makes clients that come back soon."""
    made: list[Any] = []

    def client(**options: Any) -> Any:
        usual = {"reconnection_delay": 0.01, "randomization_factor": 0, "handle_sigint": False}
        made.append(socketio.AsyncClient(**usual | options))
        return made[-1]

    before = get_current()
    yield client
    attach(before)
    for each in made:
        each.reconnection = False
        await each.disconnect()


@pytest_asyncio.fixture
async def client(make: MakeClient, server: PlainServer, spans: Spans) -> Any:
    """A client that is instrumented after it has connected, so that there is no span so far."""
    connected = make()
    await connected.connect(server.url, transports=["websocket"])
    instrument_client(connected, tracer_provider=spans.provider)
    return connected


def identity(span: ReadableSpan) -> tuple[str, str]:
    """Return a span's two ids as they stand in a ``traceparent``."""
    context = span.get_span_context()
    assert context is not None
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def parent(span: ReadableSpan) -> tuple[str, str] | None:
    """Return the two ids of a span's parent."""
    found = span.parent
    if found is None:
        return None
    return trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)


def carried(carrier: Any) -> tuple[str, str]:
    """Return the two ids of a carrier that the server got."""
    assert isinstance(carrier, dict)
    assert {"traceparent"} == set(carrier)
    return parts(carrier["traceparent"])


def parts(header: str | None) -> tuple[str, str]:
    """Return the two ids of a ``traceparent``."""
    assert header is not None
    _, trace_id, span_id, _ = header.split("-")
    return trace_id, span_id


async def one(spans: Spans, name: str) -> ReadableSpan:
    """Wait for the only span of this name."""
    await until(lambda: spans.named(name))
    (found,) = spans.named(name)
    assert name == found.name
    return found


def attributes(operation: str | None, event: str | None, namespace: str = "/") -> dict[str, str]:
    """Return the attributes of a span that failed at nothing."""
    found = {
        "messaging.system": "socket.io",
        "messaging.destination.name": namespace,
        "messaging.socket.io.namespace": namespace,
    }
    if operation is not None:
        found["messaging.operation.type"] = operation
    if event is not None:
        found["messaging.socket.io.event_name"] = event
    return found


async def drop(client: Any, server: PlainServer) -> None:
    """Break the connection, and wait until the client is back."""
    before = len(server.auth)
    await client.eio.ws.close()
    await until(lambda: len(server.auth) > before and client.connected)


# Connecting.


async def test_connection_is_a_span_that_the_server_is_told_of(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """In a header, never in ``auth``, which a server shows to its handlers."""
    client = make()
    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url, headers={"x-user": "7"}, auth={"token": "t"})
    span = await one(spans, "connect /")
    assert SpanKind.CLIENT == span.kind
    assert attributes(None, None) == span.attributes
    assert StatusCode.UNSET == span.status.status_code
    assert [identity(span)] == [parts(each) for each in server.headers]
    assert [{"token": "t"}] == server.auth
    assert "7" == server.requests[0]["HTTP_X_USER"]


async def test_connection_to_several_namespaces_is_one_span(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """Those of its handlers, where the application names none."""
    client = make()
    client.on("*", print, namespace="/chat")
    client.register_namespace(socketio.AsyncClientNamespace("/"))
    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url, transports=["websocket"])
    span = await one(spans, "connect /,/chat")
    assert attributes(None, None, "/,/chat") == span.attributes
    assert [identity(span)] * 2 == [parts(each) for each in server.headers]


@pytest.mark.parametrize("namespaces", ["/chat", ["/chat"]])
async def test_connection_to_a_namespace_is_named_after_it(
    make: MakeClient, server: PlainServer, spans: Spans, namespaces: Any
) -> None:
    """Written either way."""
    client = make()
    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url, namespaces=namespaces)
    await one(spans, "connect /chat")


async def test_refused_connection_fails(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """The client's exception comes through and is the span's."""
    client = make()
    instrument_client(client, tracer_provider=spans.provider)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(server.url, namespaces=[CLOSED])
    span = await one(spans, f"connect {CLOSED}")
    assert StatusCode.ERROR == span.status.status_code
    assert attributes(None, None, CLOSED) | {"error.type": "ConnectionError"} == span.attributes


async def test_wrong_arguments_are_the_clients_affair(make: MakeClient, spans: Spans) -> None:
    """Its own exception says what is wrong, and no span is made."""
    client = make()
    instrument_client(client, tracer_provider=spans.provider)
    with pytest.raises(TypeError, match="url"):
        await client.connect()
    with pytest.raises(TypeError, match="event"):
        await client.emit()
    with pytest.raises(TypeError, match="event"):
        await client.call()
    assert [] == spans.all()


async def test_connection_that_is_there_is_not_made_again(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """The client's exception comes through, and a reconnection is one as before."""
    client = make()
    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url, transports=["websocket"])
    with pytest.raises(socketio.exceptions.ConnectionError, match="Already connected"):
        await client.connect(server.url)
    await drop(client, server)
    first, failed, again = spans.named("connect /")
    assert StatusCode.ERROR == failed.status.status_code
    assert [first.get_span_context()] == [each.context for each in again.links]
    assert [identity(again)] == [parts(each) for each in server.headers[1:]]


async def test_reconnection_is_a_trace_of_its_own(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """With a new header, and a link to the first; what was current then is long over."""
    client, turns = make(), iter("12")
    instrument_client(client, tracer_provider=spans.provider)
    with spans.provider.get_tracer("test").start_as_current_span("start") as started:
        await client.connect(
            server.url, headers=lambda: {"x-turn": next(turns)}, transports=["websocket"]
        )
    await drop(client, server)
    first, second = spans.named("connect /")
    assert first.parent is not None
    assert started.get_span_context().span_id == first.parent.span_id
    assert second.parent is None
    assert [first.get_span_context()] == [each.context for each in second.links]
    assert [identity(first), identity(second)] == [parts(each) for each in server.headers]
    assert ["1", "2"] == [each["HTTP_X_TURN"] for each in server.requests]


async def test_headers_from_a_coroutine_are_fresh(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """It is asked again for each connection."""
    client, turns = make(), iter("12")

    async def headers() -> dict[str, str]:
        return {"x-turn": next(turns)}

    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url, headers=headers, transports=["websocket"])
    await drop(client, server)
    assert ["1", "2"] == [each["HTTP_X_TURN"] for each in server.requests]
    assert 2 == len(set(server.headers))


@pytest.mark.skipif(
    "retry" not in inspect.signature(socketio.AsyncClient.connect).parameters,
    reason="python-socketio 5.11 and later",
)
async def test_first_connection_that_is_retried_is_one_trace(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """The attempts that ``retry`` makes belong to the call."""
    client = make()
    urls, seen = iter(["http://127.0.0.1:1", server.url]), []
    client.on("connect", lambda: seen.append(get_current()))
    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(lambda: next(urls), transports=["websocket"], retry=True)
    await until(lambda: seen)
    assert [get_current()] == seen
    inner, outer = spans.named("connect /")
    assert identity(outer) == parent(inner)
    assert [identity(inner)] == [parts(each) for each in server.headers]


async def test_connection_leaves_nothing_current_behind(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """What handlers do while it lasts is no part of the span that made it."""
    client, seen = make(), []

    client.on("connect", lambda: seen.append(get_current()))
    instrument_client(client, tracer_provider=spans.provider)
    before = get_current()
    await client.connect(server.url)
    assert [before] == seen
    assert before is get_current()


async def test_headers_that_the_client_moves_are_there_again(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """It puts those for WebSockets into the application's own, at the first connection."""
    client = make(websocket_extra_options={"headers": {"x-extra": "1"}})
    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url, headers={"x-user": "7"}, transports=["websocket"])
    await drop(client, server)
    assert [("7", "1")] * 2 == [
        (each["HTTP_X_USER"], each.get("HTTP_X_EXTRA")) for each in server.requests
    ]


# Sending.


@pytest.mark.parametrize(
    ("data", "arguments"),
    [(None, []), ("hi", ["hi"]), (("a", b"b"), ["a", b"b"]), ([1, 2], [[1, 2]]), ((), [])],
)
async def test_event_is_a_span_that_the_server_is_told_of(
    client: Any, server: PlainServer, spans: Spans, data: Any, arguments: list[Any]
) -> None:
    """In one more argument."""
    with spans.provider.get_tracer("test").start_as_current_span("work") as work:
        await client.emit("echo", data)
    await until(lambda: server.args("echo"))
    (received,) = server.args("echo")
    span = await one(spans, "send echo")
    assert arguments == received[:-1]
    assert identity(span) == carried(received[-1])
    assert work.get_span_context().span_id == int((parent(span) or ("", ""))[1], 16)
    assert SpanKind.PRODUCER == span.kind
    assert attributes("send", "echo") == span.attributes


async def test_message_is_an_event(client: Any, server: PlainServer, spans: Spans) -> None:
    """``send`` is ``emit("message")``."""
    await client.send("hi")
    await until(lambda: server.args("message"))
    assert ["hi"] == server.args("message")[0][:-1]
    assert 1 == len(spans.named("send message"))


async def test_event_of_a_class_has_its_namespace(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """And its handlers get what was sent, and no carrier."""
    got = []

    class Chat(socketio.AsyncClientNamespace):  # type: ignore[misc]
        async def on_news(self, *args: Any) -> None:
            got.append(args)
            await self.emit("seen", "it")

    client = make()
    client.register_namespace(Chat("/chat"))
    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url)
    await client.emit("tell", ("news", [1, CARRIER]), namespace="/chat")
    await until(lambda: server.args("seen"))
    span = await one(spans, "send seen")
    assert [(1,)] == got
    assert attributes("send", "seen", "/chat") == span.attributes
    assert TRACE == identity(span)[0] == identity(await one(spans, "process news"))[0]


@pytest.mark.parametrize(
    ("inject", "injected"),
    [(True, {"echo", "other"}), (False, set()), (["echo"], {"echo"}), (frozenset(), set())],
)
async def test_only_chosen_events_carry_context(
    make: MakeClient, server: PlainServer, spans: Spans, inject: Any, injected: set[str]
) -> None:
    """The spans are made for all of them; without any, connections have no header."""
    client = make()
    instrument_client(client, tracer_provider=spans.provider, inject=inject)
    await client.connect(server.url)
    await client.emit("echo", "hi")
    await client.emit("other", "hi")
    await until(lambda: len(server.events) == 2)
    assert injected == {name for _, name, *args in server.events if len(args) == 2}
    assert 2 == len(spans.named("send"))
    assert bool(injected) == bool(server.headers[0])


async def test_events_failure_comes_through(client: Any, spans: Spans) -> None:
    """As the client raised it, and the span has it."""
    with pytest.raises(socketio.exceptions.BadNamespaceError):
        await client.emit("echo", namespace="/nowhere")
    span = await one(spans, "send echo")
    assert StatusCode.ERROR == span.status.status_code
    assert "BadNamespaceError" == (span.attributes or {})["error.type"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_answer_is_a_span_that_began_with_the_event(
    client: Any, server: PlainServer, spans: Spans, is_async: bool
) -> None:
    """The callback is called as it is without us, in the answer's context."""
    got: list[Any] = []

    def plain(*args: Any) -> None:
        got.append((args, trace.get_current_span().get_span_context()))

    async def awaited(*args: Any) -> None:
        plain(*args)

    await client.emit("echo", ("a", 1), callback=awaited if is_async else plain)
    await until(lambda: got)
    sent, answered = await one(spans, "send echo"), await one(spans, "ack echo")
    assert [("a", 1)] == [args[:2] for args, _ in got]
    assert [answered.get_span_context()] == [current for _, current in got]
    assert identity(sent) == parent(answered)
    assert sent.start_time == answered.start_time
    assert (sent.end_time or 0) <= (answered.end_time or 0)
    assert SpanKind.CLIENT == answered.kind
    assert attributes("settle", "echo") == answered.attributes


async def test_callbacks_failure_comes_through(
    client: Any, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not the answer's."""

    def fails(*_: Any) -> None:
        raise ValueError("of the application")

    await client.emit("echo", callback=fails)
    answered = await one(spans, "ack echo")
    assert StatusCode.UNSET == answered.status.status_code
    await until(lambda: _logged(caplog, "of the application"))


def _logged(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    """Return whether asyncio said that nobody took this exception."""
    gc.collect()
    return any(text in str(each.exc_info) for each in caplog.records)


# Calling.


async def test_call_is_one_span_around_the_wait(
    client: Any, server: PlainServer, spans: Spans
) -> None:
    """What it sends carries the call's own context."""
    answer = await client.call("echo", ("a", b"b"), timeout=10)
    (received,) = server.args("echo")
    span = await one(spans, "call echo")
    assert ("a", b"b") == tuple(answer[:2])
    assert identity(span) == carried(received[-1])
    assert [span] == spans.all()
    assert SpanKind.CLIENT == span.kind
    assert attributes("send", "echo") == span.attributes


async def test_event_inside_a_call_is_a_span_of_its_own(server: PlainServer, spans: Spans) -> None:
    """Where a class of the application's sends more than it was told to."""

    class Audited(socketio.AsyncClient):  # type: ignore[misc]
        async def emit(self, event: str, *args: Any, **kwargs: Any) -> None:
            if event != "audit":
                await self.emit("audit")
            await super().emit(event, *args, **kwargs)

    client = Audited(handle_sigint=False)
    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url, transports=["websocket"])
    await client.call("echo")
    await client.disconnect()
    called, audited = await one(spans, "call echo"), await one(spans, "send audit")
    assert identity(called) == parent(audited) == carried(server.args("echo")[0][0])
    assert identity(audited) == carried(server.args("audit")[0][0])


async def test_call_without_an_answer_fails(client: Any, spans: Spans) -> None:
    """The client's exception comes through."""
    with pytest.raises(socketio.exceptions.TimeoutError):
        await client.call("silent", timeout=0.01)
    span = await one(spans, "call silent")
    assert (StatusCode.ERROR, "TimeoutError") == (span.status.status_code, span.status.description)
    assert "TimeoutError" == (span.attributes or {})["error.type"]


async def test_cancelled_call_is_cancelled(client: Any, server: PlainServer, spans: Spans) -> None:
    """The span says so."""
    task = asyncio.ensure_future(client.call("silent"))
    await until(lambda: server.args("silent"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    span = await one(spans, "call silent")
    assert "CancelledError" == (span.attributes or {})["error.type"]


async def test_simple_clients_own_client_is_traced(server: PlainServer, spans: Spans) -> None:
    """Once it has connected."""
    async with socketio.AsyncSimpleClient(handle_sigint=False) as simple:
        await simple.connect(server.url, transports=["websocket"])
        instrument_client(simple.client, tracer_provider=spans.provider)
        assert "a" == (await simple.call("echo", "a"))[0]
        await simple.emit("tell", ("news", [1, CARRIER]))
        assert ["news", 1] == await simple.receive(timeout=10)
    await one(spans, "call echo")
    await one(spans, "process news")


# Receiving.


async def test_handling_belongs_to_the_senders_trace(
    client: Any, server: PlainServer, spans: Spans
) -> None:
    """The carrier is taken off, the return value is the answer."""
    seen = []

    async def news(*args: Any) -> Any:
        seen.append((args, trace.get_current_span().get_span_context()))
        return args

    client.on("news", news)
    await client.emit("ask", ("news", ["a", b"b", CARRIER]))
    await until(lambda: server.answers)
    span = await one(spans, "process news")
    assert [("a", b"b")] == [args for args, _ in seen]
    assert [span.get_span_context()] == [current for _, current in seen]
    assert [("a", b"b")] == [tuple(each) for each in server.answers]
    assert (TRACE, SPAN) == parent(span)
    assert () == tuple(span.links)
    assert SpanKind.CONSUMER == span.kind
    assert attributes("process", "news") == span.attributes


async def test_handling_without_a_carrier_is_a_trace_of_its_own(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """What was current when the client connected is no part of it."""
    client, seen = make(), []
    client.on("*", lambda *args: seen.append((args, get_current())))
    instrument_client(client, tracer_provider=spans.provider)
    with spans.provider.get_tracer("test").start_as_current_span("start"):
        await client.connect(server.url)
    await client.emit("tell", ("news", [{"traceparent": "mine"}]))
    span = await one(spans, "process news")
    assert [("news", {"traceparent": "mine"})] == [args for args, _ in seen]
    assert span.parent is None
    assert [1] == [len(context) for _, context in seen]


async def test_server_that_is_not_believed_is_linked(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """Its carrier is taken off all the same."""
    client, got = make(), []
    client.on("news", lambda *args: got.append(args))
    instrument_client(client, tracer_provider=spans.provider, trust_server=False)
    await client.connect(server.url)
    await client.emit("tell", ("news", [1, CARRIER]))
    span = await one(spans, "process news")
    assert [(1,)] == got
    assert span.parent is None
    assert [(TRACE, SPAN)] == [
        (trace.format_trace_id(each.context.trace_id), trace.format_span_id(each.context.span_id))
        for each in span.links
    ]


async def test_handlers_failure_comes_through(
    client: Any, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    """The span has it, with its traceback."""

    def news(*_: Any) -> None:
        raise ValueError("of the application")

    client.on("news", news)
    await client.emit("tell", ("news", []))
    span = await one(spans, "process news")
    assert StatusCode.ERROR == span.status.status_code
    assert attributes("process", "news") | {"error.type": "ValueError"} == span.attributes
    assert ["exception"] == [each.name for each in span.events]
    await until(lambda: _logged(caplog, "of the application"))


async def test_event_without_a_name_is_the_clients_affair(client: Any, spans: Spans) -> None:
    """It raises what it raises, and no span is made."""
    for data, error in (([], IndexError), (None, TypeError), ({}, KeyError)):
        with pytest.raises(error):
            await client._handle_event("/", None, data)
    assert [] == spans.all()


# Without an SDK, and with one that is in trouble.


async def test_without_an_sdk_a_current_context_is_sent_along(
    make: MakeClient, server: PlainServer
) -> None:
    """By connections and events; a reconnection has none, for what was current is over."""
    client, seen = make(), []
    client.on("news", lambda *_: seen.append(get_current()))
    instrument_client(client)
    attach(holding())
    await client.connect(server.url, transports=["websocket"])
    await client.emit("echo", "a")
    await until(lambda: server.args("echo"))
    assert [(TRACE, SPAN)] == [parts(each) for each in server.headers]
    assert ["a", CARRIER] == server.args("echo")[0]
    attach(Context())
    await client.emit("tell", ("news", [CARRIER]))
    await client.emit("tell", ("news", []))
    await until(lambda: len(seen) == 2)
    ids = [trace.get_current_span(each).get_span_context().span_id for each in seen]
    assert [int(SPAN, 16), 0] == ids
    await drop(client, server)
    assert server.headers[1] is None


async def test_without_an_sdk_and_context_nothing_is_different(
    make: MakeClient, server: PlainServer
) -> None:
    """Neither headers nor arguments nor callbacks."""
    client = make()
    got: list[Any] = []
    instrument_client(client)
    await client.connect(server.url)
    callback = got.append
    await client.emit("echo", "a", callback=callback)
    assert callback in client.callbacks["/"].values() or got
    assert ["b"] == [await client.call("echo", "b")]
    await until(lambda: got)
    assert [["a"], ["b"]] == server.args("echo")
    assert [None] == server.headers


@pytest.mark.parametrize("provider", [TracerProvider, lambda: Off()])
async def test_sdk_that_is_switched_off_is_none(
    make: MakeClient, server: PlainServer, monkeypatch: pytest.MonkeyPatch, provider: Any
) -> None:
    """A current context is sent along."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    client = make()
    instrument_client(client, tracer_provider=provider())
    attach(holding())
    await client.connect(server.url)
    await client.call("echo", "a")
    assert ["a", CARRIER] == server.args("echo")[0]


async def test_trace_that_is_not_sampled_is_sent_along(
    make: MakeClient, server: PlainServer
) -> None:
    """The server is told not to sample it either."""
    spans = Spans(sampler=ALWAYS_OFF)
    client = make()
    instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url)
    await client.call("echo", "a")
    assert server.args("echo")[0][1]["traceparent"].endswith(("-00", "-02"))
    assert [] == spans.all()


class Off(trace.TracerProvider):
    """Switched off, as versions of the API before 1.30 have it."""

    def get_tracer(self, *_: Any, **__: Any) -> Any:
        return self

    def start_span(self, *_: Any, **__: Any) -> trace.Span:
        return trace.INVALID_SPAN


class Broken(Sampler, SpanProcessor):
    """Fails at everything."""

    def should_sample(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("of a sampler")

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("of a processor")

    def get_description(self) -> str:
        return "broken"


@pytest.mark.parametrize("where", ["sampler", "processor"])
async def test_trouble_of_the_sdk_stays_there(
    make: MakeClient, server: PlainServer, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, and the client works on."""
    provider = TracerProvider(sampler=Broken()) if where == "sampler" else TracerProvider()
    if where == "processor":
        provider.add_span_processor(Broken())
    client, got = make(), []
    client.on("news", lambda *args: got.append(args))
    instrument_client(client, tracer_provider=provider)
    await client.connect(server.url)
    assert "a" == (await client.call("echo", ("a", "b")))[0]
    await client.emit("tell", ("news", [1]), callback=got.append)
    await until(lambda: got)
    (line,) = [each for each in caplog.records if each.name == "asgi_ws_observe"]
    assert "spans of a Socket.IO client fail; it works on" == line.getMessage()
    assert logging.ERROR == line.levelno


# Names.


async def test_event_names_are_bounded(client: Any, server: PlainServer, spans: Spans) -> None:
    """A hundred of a client's, then ``_other``; the server gets them all."""
    for number in range(102):
        await client.emit(f"event {number}")
    await client.emit("event 7")
    names = [each.name for each in spans.named("send")]
    assert [f"send event {number}" for number in range(100)] == names[:100]
    assert ["send _other", "send _other", "send event 7"] == names[100:]
    await until(lambda: server.args("event 101"))


@pytest.mark.parametrize(
    ("event", "name"),
    [("a\nb", "a\\nb"), ("x" * 1000, "x" * 256), (7, "7")],
)
async def test_event_names_are_harmless(client: Any, spans: Spans, event: Any, name: str) -> None:
    """In spans; what is sent is what was given."""
    await client.emit(event)
    await one(spans, f"send {name}")


async def test_call_that_is_thrown_away_changes_nothing_elsewhere(
    client: Any, server: PlainServer, spans: Spans
) -> None:
    """What is current where it is closed stays so."""
    call = client.call("silent")
    contextvars.copy_context().run(call.send, None)
    attach(before := holding())
    call.close()
    assert before is get_current()
    assert "GeneratorExit" == ((await one(spans, "call silent")).attributes or {})["error.type"]


# Once, and undone.


async def test_second_call_returns_the_first(make: MakeClient, spans: Spans) -> None:
    """A client is instrumented once."""
    client = make()
    first = instrument_client(client, tracer_provider=spans.provider)
    patched = client.emit
    assert first is instrument_client(client, inject=False)
    assert patched is client.emit
    assert client is first.client


async def test_client_is_left_as_it_was(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """Everything, even while it is connected; it may be instrumented again."""
    client, headers = make(), {"x-user": "7"}
    before = dict(client.__dict__), dict(client.eio.__dict__)
    undo = instrument_client(client, tracer_provider=spans.provider)
    assert (dict(client.__dict__), dict(client.eio.__dict__)) != before
    undo.uninstrument()
    assert (dict(client.__dict__), dict(client.eio.__dict__)) == before
    again = instrument_client(client, tracer_provider=spans.provider)
    assert again is not undo
    await client.connect(server.url, headers=headers, transports=["websocket"])
    again.uninstrument()
    again.uninstrument()
    assert headers is client.connection_headers
    assert ["a"] == [await client.call("echo", "a")]
    await drop(client, server)
    assert 1 == len(spans.all())
    assert server.headers[1] is None


async def test_answer_after_all_is_undone_makes_no_span(
    client: Any, server: PlainServer, spans: Spans
) -> None:
    """The callback is called nevertheless."""
    got: list[Any] = []
    await client.emit("echo", callback=lambda *args: got.append(args))
    client._asgi_ws_observe.uninstrument()
    await until(lambda: got)
    assert [] == spans.named("ack")


async def test_headers_that_were_kept_are_the_applications(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """What was ours adds nothing any more."""
    client = make()
    undo = instrument_client(client, tracer_provider=spans.provider)
    await client.connect(server.url, headers={"x-user": "7"})
    kept = client.connection_headers
    undo.uninstrument()
    await client.disconnect()
    attach(holding())
    await client.connect(server.url, headers=kept)
    assert "7" == server.requests[1]["HTTP_X_USER"]
    assert server.headers[1] is None


async def test_somebody_elses_patches_survive(
    make: MakeClient, server: PlainServer, spans: Spans
) -> None:
    """Those below are put back, those above keep working on what has become a way through."""
    client, calls = make(), []
    below = client.emit

    async def first(*args: Any, **kwargs: Any) -> None:
        calls.append("below")
        await below(*args, **kwargs)

    client.emit = first
    undo = instrument_client(client, tracer_provider=spans.provider)
    above = client.call

    async def second(*args: Any, **kwargs: Any) -> Any:
        calls.append("above")
        return await above(*args, **kwargs)

    client.call = second
    await client.connect(server.url)
    undo.uninstrument()
    assert first is client.emit
    assert second is client.call
    assert "a" == await client.call("echo", "a")
    assert ["above", "below"] == calls
    assert [["a"]] == server.args("echo")
    instrument_client(client, tracer_provider=spans.provider)
    await client.call("echo", "b")
    assert 1 == len(spans.named("call echo"))


async def test_client_can_be_forgotten(spans: Spans) -> None:
    """Nothing holds on to it."""
    client = socketio.AsyncClient(handle_sigint=False)
    instrument_client(client, tracer_provider=spans.provider)
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("client", [None, object(), socketio.AsyncSimpleClient()])
def test_anything_but_a_client_is_refused(client: Any) -> None:
    """The message names what is accepted."""
    with pytest.raises(
        SettingsError, match=r"accepted: socketio\.AsyncClient and socketio\.Client"
    ):
        instrument_client(client)


@pytest.mark.parametrize("inject", ["chat", b"chat", None, 7, [7], [["chat"]]])
def test_anything_but_names_is_refused(inject: Any) -> None:
    """A single name is a collection of letters, and never meant."""
    with pytest.raises(SettingsError, match=r"inject: got .*; accepted: True, False or a coll"):
        instrument_client(socketio.AsyncClient(handle_sigint=False), inject=inject)


# The client with threads.


@contextmanager
def leaving(client: Any) -> Iterator[None]:
    """Let the server send a client away in the end.

    One that leaves by itself would wait for an answer to its last poll, for most of a minute.
    """
    yield
    client.emit("leave")
    wait_until(lambda: client.eio.state == "disconnected")


def test_client_with_threads_is_traced(server: PlainServer, spans: Spans) -> None:
    """Its hooks are the same."""
    client, got = socketio.Client(handle_sigint=False, reconnection=False), []
    client.on("news", lambda *args: got.append(args))
    instrument_client(client, tracer_provider=spans.provider)
    before = get_current()
    client.connect(server.url, headers={"x-user": "7"}, transports=["polling"])
    with leaving(client):
        assert "a" == client.call("echo", ("a",), timeout=10)[0]
        with pytest.raises(socketio.exceptions.TimeoutError):
            client.call("silent", timeout=0.01)
        client.emit("echo", "b", callback=lambda *args: got.append(args))
        client.emit("tell", ("news", [1, CARRIER]))
        wait_until(lambda: len(got) == 2)
    assert before is get_current()
    assert ("b",) in [args[:1] for args in got]
    assert (1,) in got
    assert [identity(spans.named("connect /")[0])] == [parts(each) for each in server.headers]
    (process,) = spans.named("process news")
    assert (TRACE, SPAN) == parent(process)
    (sent,), (answered,) = spans.named("send echo"), spans.named("ack echo")
    assert identity(sent) == parent(answered) == carried(server.args("echo")[1][-1])
    assert 2 == len(spans.named("call"))


def test_client_with_threads_is_left_as_it_was(server: PlainServer, spans: Spans) -> None:
    """Ours are a way through while they are still there."""
    client = socketio.Client(handle_sigint=False, reconnection=False)
    undo = instrument_client(client, tracer_provider=spans.provider)
    ours = client.call
    client.connect(server.url, transports=["polling"])
    undo.uninstrument()
    with leaving(client):
        assert "a" == ours("echo", "a", timeout=10)
    assert ["connect /"] == [each.name for each in spans.all()]
    assert isinstance(undo, ClientInstrumentation)
