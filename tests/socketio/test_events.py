"""Events of clients: outcome, time, trace, and names that are bounded."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings
from asgi_ws_observe.socketio.events import ReceivedEvent, received
from tests.socketio.conftest import Make
from tests.socketio.peers import Peer
from tests.support import Spans, counted, sample, total

TRACE = "0af7651916cd43dd8448eb211c80319c"
CARRIER = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}

Lines = Callable[..., list[dict[str, Any]]]


def events(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Return how many events came, by name and outcome."""
    return counted(registry, "socketio_events_total", "event", "outcome")


async def test_handled_event_is_counted_timed_and_traced(
    make: Make, registry: CollectorRegistry, spans: Spans
) -> None:
    """The handler runs inside a span of its own, with a link to its connection."""
    sio = make()
    inside: list[Any] = []

    @sio.event
    async def chat(sid: str, text: str) -> str:
        inside.append(trace.get_current_span().get_span_context())
        return text.upper()

    peer = await Peer.join(sio)
    await peer.emit("chat", "hello", ack=7)

    assert '37["HELLO"]' == peer.all()[-1]
    assert {("chat", "ok"): 1} == events(registry)
    for name in ("socketio_event_duration_seconds", "socketio_event_schedule_delay_seconds"):
        assert 1 == total(registry, f"{name}_count")
    (span,), (connected,) = spans.named("process"), spans.named("connect")
    assert [span.context] == inside
    assert ("process chat", SpanKind.CONSUMER, None) == (span.name, span.kind, span.parent)
    assert [connected.context] == [link.context for link in span.links]
    assert {
        "messaging.system": "socket.io",
        "messaging.operation.type": "process",
        "messaging.destination.name": "/",
        "messaging.socket.io.namespace": "/",
        "messaging.socket.io.event_name": "chat",
        "messaging.client.id": peer.sids["/"],
        "socketio.ack.requested": True,
        "socketio.event.outcome": "ok",
    } == dict(span.attributes or {})


async def test_handler_that_raises_is_an_error_with_a_line(
    make: Make, registry: CollectorRegistry, spans: Spans, lines: Lines
) -> None:
    """The line has the event, the namespace and the trace; asyncio's complaint has none of it."""
    sio = make(options={"settings": Settings(node="a")})

    @sio.event(namespace="/chat")
    async def boom(sid: str) -> None:
        raise LookupError("no such room")

    peer = await Peer.join(sio, "/chat")
    await peer.emit("boom", namespace="/chat")

    assert {("boom", "error"): 1} == events(registry)
    (span,) = spans.named("process boom")
    assert span.context is not None
    assert (StatusCode.ERROR, "LookupError") == (
        span.status.status_code,
        (span.attributes or {})["error.type"],
    )
    (line,) = lines("socketio_error")
    expected = {
        "operation": "event",
        "event_name": "boom",
        "namespace": "/chat",
        "sid": peer.sids["/chat"],
        "error_type": "LookupError",
        "trace_id": f"{span.context.trace_id:032x}",
        "node": "a",
    }
    assert expected == {name: line[name] for name in expected}
    assert "no such room" in line["exception"]


def function_server(sio: Any, handler: Callable[..., Any]) -> None:
    sio.on("chat", handler)


def catch_all_server(sio: Any, handler: Callable[..., Any]) -> None:
    @sio.on("*")
    async def anything(event: str, sid: str, *args: Any) -> Any:
        return await handler(sid, *args)


def any_namespace_server(sio: Any, handler: Callable[..., Any]) -> None:
    @sio.on("chat", namespace="*")
    async def chat(namespace: str, sid: str, *args: Any) -> Any:
        return await handler(sid, *args)


def any_everything_server(sio: Any, handler: Callable[..., Any]) -> None:
    @sio.on("*", namespace="*")
    async def anything(event: str, namespace: str, sid: str, *args: Any) -> Any:
        return await handler(sid, *args)


def class_server(sio: Any, handler: Callable[..., Any]) -> None:
    class Chat(socketio.AsyncNamespace):
        async def on_chat(self, sid: str, *args: Any) -> Any:
            return await handler(sid, *args)

    sio.register_namespace(Chat("/"))


def any_class_server(sio: Any, handler: Callable[..., Any]) -> None:
    class Chat(socketio.AsyncNamespace):
        async def on_chat(self, namespace: str, sid: str, *args: Any) -> Any:
            return await handler(sid, *args)

    sio.register_namespace(Chat("*"))


def own_dispatch_server(sio: Any, handler: Callable[..., Any]) -> None:
    class Chat(socketio.AsyncNamespace):
        async def trigger_event(self, event: str, *args: Any) -> Any:
            return await handler(*args) if event == "chat" else None

    sio.register_namespace(Chat("/"))


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    ("register", "label"),
    [
        (function_server, "chat"),
        (any_namespace_server, "chat"),
        (class_server, "chat"),
        (any_class_server, "chat"),
        (catch_all_server, "_other"),
        (any_everything_server, "_other"),
        (own_dispatch_server, "_other"),
    ],
)
async def test_every_kind_of_handler_is_observed(
    make: Make,
    registry: CollectorRegistry,
    register: Callable[[Any, Any], None],
    label: str,
    before: bool,
) -> None:
    """Registered before the server is observed or after; only its own name is a label."""
    sio = socketio.AsyncServer(async_mode="asgi")
    handled: list[Any] = []

    async def handler(sid: str, *args: Any) -> None:
        handled.append(args)

    if before:
        make(server=sio)
    register(sio, handler)
    if not before:
        make(server=sio)
    peer = await Peer.join(sio)
    await peer.emit("chat", 1, 2)

    assert [(1, 2)] == handled
    assert {(label, "ok"): 1} == events(registry)


async def test_plain_function_is_observed(make: Make, registry: CollectorRegistry) -> None:
    """Handlers need not be coroutine functions."""
    sio = make()
    sio.on("chat", lambda sid: "thanks")
    peer = await Peer.join(sio)
    await peer.emit("chat", ack=1)
    assert '31["thanks"]' == peer.all()[-1]
    assert {("chat", "ok"): 1} == events(registry)


async def test_handler_in_the_reader_is_observed(make: Make, registry: CollectorRegistry) -> None:
    """`async_handlers=False` runs handlers where packets are read."""
    sio = make(async_handlers=False)
    sio.on("chat", lambda sid: None)
    peer = await Peer.join(sio)
    await peer.emit("chat")
    assert {("chat", "ok"): 1} == events(registry)
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("has_namespace", [False, True], ids=["no-handler", "class"])
async def test_unhandled_events_share_one_name(
    make: Make, registry: CollectorRegistry, has_namespace: bool
) -> None:
    """Clients choose names; 500 of them are one label."""
    sio = make()
    if has_namespace:
        sio.register_namespace(socketio.AsyncNamespace("/"))
    peer = await Peer.join(sio)
    for number in range(500):
        await peer.emit(f"bogus {number}")
    assert {("_other", "unhandled"): 500} == events(registry)


@pytest.mark.parametrize("name", ["connect", "disconnect"])
async def test_forged_reserved_event_is_counted_and_moves_nothing(
    make: Make, registry: CollectorRegistry, name: str
) -> None:
    """The library calls the application's handler; the client stays connected."""
    sio = make()
    called: list[str] = []

    async def handler(sid: str, *args: Any) -> None:
        called.append(sid)

    peer = await Peer.join(sio)
    sio.on(name, handler)
    await peer.emit(name, "forged")

    assert [peer.sids["/"]] == called
    assert 1 == sample(registry, "socketio_reserved_events_total")
    assert {(name, "ok"): 1} == events(registry)
    assert 0 == total(registry, "socketio_disconnects_total")
    assert 1 == total(registry, "socketio_connections_active")


@pytest.mark.parametrize(
    ("trust", "parent", "links"),
    [(False, False, 2), (True, True, 1), ("never", False, 1)],
    ids=["link", "parent", "never"],
)
async def test_carrier_is_taken_off_and_counts_as_trusted(
    make: Make, spans: Spans, trust: Any, parent: bool, links: int
) -> None:
    """The connection is linked in any case."""
    sio = make(options={"trust_client": trust})
    seen: list[Any] = []

    @sio.event
    async def chat(sid: str, *args: Any) -> None:
        seen.append(args)

    peer = await Peer.join(sio)
    await peer.emit("chat", "hello", CARRIER)
    await peer.emit("chat", CARRIER)
    await peer.emit("chat", CARRIER | {"user": 7})

    assert [("hello",), (), (CARRIER | {"user": 7},)] == seen
    *carried, plain = spans.named("process")
    for span in carried:
        assert span.context is not None
        assert parent == (f"{span.context.trace_id:032x}" == TRACE)
        assert links == len(span.links)
    assert (None, 1) == (plain.parent, len(plain.links))


@pytest.mark.parametrize("data", ["[]", "[7]", "[{}]", '[["x"]]', "{}", '"x"', "7", "[null]"])
async def test_nonsense_ends_as_it_did_without_us(
    make: Make, registry: CollectorRegistry, data: str
) -> None:
    """What clients send need not be an event at all."""
    outcomes = []
    for observed in (False, True):
        sio = make() if observed else socketio.AsyncServer(async_mode="asgi")
        sio.on("chat", lambda sid: None)
        peer = await Peer.join(sio)
        try:
            await peer.send(f"2{data}")
        except Exception as error:
            outcomes.append(repr(error))
        else:
            outcomes.append("fine")
        tasks = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        outcomes += [repr(each) for each in await asyncio.gather(*tasks, return_exceptions=True)]
    middle = len(outcomes) // 2
    assert outcomes[:middle] == outcomes[middle:]
    assert 0 == sample(registry, "ws_observe_errors_total", part="socketio")


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_received_never_raises_and_keeps_what_is_no_event(data: Any) -> None:
    """Whatever a client sends; an event keeps its name and its arguments."""
    found = received(None, data)
    assert data == found


def test_marked_name_is_the_name() -> None:
    """It is equal, hashes and prints as what it stands for."""
    name, argument = received(3, ["chat", {"a": 1}])
    assert isinstance(name, ReceivedEvent)
    assert ("chat", True, {"a": 1}) == (name, name.wants_ack, argument)
    assert hash("chat") == hash(name)


async def test_ignored_events_leave_nothing(
    make: Make, registry: CollectorRegistry, spans: Spans, lines: Lines
) -> None:
    """Of those that come a hundred times a second; failures have a line still."""
    sio = make(options={"ignore_events": ["move"]})

    @sio.event
    async def move(sid: str, fails: bool) -> None:
        if fails:
            raise LookupError

    peer = await Peer.join(sio)
    await peer.emit("move", False)
    await peer.emit("move", True)
    assert {} == events(registry)
    assert [] == spans.named("process")
    assert ["move"] == [line["event_name"] for line in lines("socketio_error")]


async def test_capped_events_keep_the_slow_and_the_failed(
    make: Make, registry: CollectorRegistry, spans: Spans
) -> None:
    """Beyond so many a second only those have a span, made afterwards with its true times."""
    settings = Settings(message_span_rate=0.01, slow_message_seconds=0.2)
    sio = make(options={"event_spans": "capped", "settings": settings})
    inside: list[Any] = []

    @sio.event
    async def chat(sid: str, what: str) -> None:
        inside.append(trace.get_current_span().get_span_context())
        if what == "slow":
            # Waits for time to pass, which is what it is about.
            await asyncio.sleep(0.25)
        if what == "fails":
            raise LookupError

    peer = await Peer.join(sio)
    for what in ("first", "fast", "slow", "fails"):
        await peer.emit("chat", what)

    first, slow, failed = spans.named("process chat")
    (connected,) = spans.named("connect")
    assert connected.context is not None
    # The handler of what has no span works in its connection's trace.
    assert [connected.context.span_id] * 3 == [each.span_id for each in inside[1:]]
    assert first.context == inside[0]
    assert slow.end_time is not None
    assert slow.start_time is not None
    assert slow.end_time - slow.start_time >= 200_000_000
    assert StatusCode.ERROR is failed.status.status_code
    assert ["ok", "ok", "error"] == [
        (span.attributes or {})["socketio.event.outcome"] for span in (first, slow, failed)
    ]


async def test_client_from_before_has_no_connection_to_work_in(make: Make, spans: Spans) -> None:
    """Nothing is current in the handler of what has no span; two servers share one allowance."""
    settings = Settings(message_span_rate=0.01)
    options = {"event_spans": "capped", "settings": settings}
    sio = socketio.AsyncServer(async_mode="asgi")
    peer = await Peer.join(sio)
    make(options=options)
    make(server=sio, options=options)
    inside: list[bool] = []
    sio.on("chat", lambda sid: inside.append(trace.get_current_span().is_recording()))
    await peer.emit("chat")
    await peer.emit("chat")
    assert [True, False] == inside


async def test_event_spans_can_be_turned_off(make: Make, spans: Spans) -> None:
    """The connection's are made still, and what fails has none either."""
    sio = make(options={"event_spans": "off"})

    @sio.event
    async def chat(sid: str) -> None:
        raise LookupError

    peer = await Peer.join(sio)
    await peer.emit("chat")
    assert ["connect /"] == [span.name for span in spans.all()]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python says it from 3.11 on")
async def test_cancelled_handler_is_no_success(make: Make, registry: CollectorRegistry) -> None:
    """The library takes it for one that returned nothing."""
    sio = make()
    started = asyncio.Event()

    @sio.event
    async def wait(sid: str) -> None:
        started.set()
        await asyncio.get_running_loop().create_future()

    peer = await Peer.join(sio)
    before = asyncio.all_tasks()
    await peer.send('2["wait"]')
    (handler,) = asyncio.all_tasks() - before
    await started.wait()
    handler.cancel()
    await asyncio.wait([handler])
    assert {("wait", "cancelled"): 1} == events(registry)


async def test_handler_that_ends_the_task_is_cancelled(
    make: Make, registry: CollectorRegistry
) -> None:
    """What the library does not swallow is no error of the application."""
    sio = make()

    class Own(socketio.AsyncNamespace):
        async def trigger_event(self, event: str, *args: Any) -> None:
            if event == "chat":
                raise asyncio.CancelledError

    sio.register_namespace(Own("/"))
    peer = await Peer.join(sio)
    await peer.emit("chat")
    assert {("_other", "cancelled"): 1} == events(registry)


async def test_event_after_the_end_is_not_counted(make: Make, registry: CollectorRegistry) -> None:
    """The library drops it: nobody is connected any more."""
    sio = make()
    sio.on("chat", lambda sid: None)
    peer = await Peer.join(sio)
    await peer.leave()
    await peer.emit("chat")
    assert {} == events(registry)


async def test_failure_of_ours_at_the_end_changes_nothing(
    make: Make, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has its acknowledgement, and nothing stays current."""

    def fail(*args: Any) -> Any:
        raise RuntimeError("bug")

    sio = make(async_handlers=False)
    sio.on("chat", lambda sid: "thanks")
    monkeypatch.setattr("asgi_ws_observe.socketio.events.Handling._outcome", fail)
    peer = await Peer.join(sio)
    await peer.emit("chat", ack=1)
    assert '31["thanks"]' == peer.all()[-1]
    assert not trace.get_current_span().get_span_context().is_valid
    assert 1 == sample(registry, "ws_observe_errors_total", part="socketio")
