"""Clients that connect and leave: each outcome in metrics, spans and log lines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import socketio
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings
from tests.socketio.conftest import Make
from tests.socketio.peers import Peer
from tests.support import Spans, counted, sample, total

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"

Lines = Callable[..., list[dict[str, Any]]]


def connects(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Return how many clients connected, by namespace and outcome."""
    return counted(registry, "socketio_connects_total", "namespace", "outcome")


async def test_accepted_client_is_counted_traced_and_logged(
    make: Make, registry: CollectorRegistry, spans: Spans, lines: Lines
) -> None:
    """The span is around the connect handler, and its end is that of connecting."""
    sio = make(options={"settings": Settings(node="a")})
    inside: list[int] = []

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        with spans.provider.get_tracer("application").start_as_current_span("authenticate") as own:
            inside.append(own.get_span_context().trace_id)

    peer = await Peer.join(sio)

    assert {("/", "accepted"): 1} == connects(registry)
    assert 1 == total(registry, "socketio_connect_duration_seconds_count", namespace="/")
    (span,) = spans.named("connect /")
    assert span.context is not None
    assert [span.context.trace_id] == inside
    assert (SpanKind.SERVER, StatusCode.UNSET) == (span.kind, span.status.status_code)
    assert {
        "messaging.system": "socket.io",
        "messaging.destination.name": "/",
        "messaging.socket.io.namespace": "/",
        "socketio.transport": "polling",
        "socketio.connect.outcome": "accepted",
        "messaging.client.id": peer.sids["/"],
    } == dict(span.attributes or {})
    (line,) = lines("socketio_open")
    assert ("/", peer.sids["/"], "polling", "a") == tuple(
        line[name] for name in ("namespace", "sid", "transport", "node")
    )
    assert f"{span.context.trace_id:032x}" == line["trace_id"]


@pytest.mark.parametrize("how", ["false", "library", "builtin"])
async def test_refused_client_says_why(
    make: Make, registry: CollectorRegistry, spans: Spans, lines: Lines, how: str
) -> None:
    """A handler that says no is no error of the server, but its span is a failed one."""
    sio = make()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> bool | None:
        if how == "false":
            return False
        if how == "library":
            raise socketio.exceptions.ConnectionRefusedError("wrong token")
        raise ConnectionRefusedError

    peer = await Peer.open(sio)

    assert None is await peer.connect()
    assert {("/", "refused"): 1} == connects(registry)
    (span,) = spans.named("connect /")
    assert StatusCode.ERROR is span.status.status_code
    found = dict(span.attributes or {})
    assert ("refused", "refused") == (found["socketio.connect.outcome"], found["error.type"])
    assert ("wrong token" if how == "library" else None) == found.get("socketio.connect.refusal")
    assert ["refused"] == [line["outcome"] for line in lines("socketio_close")]
    assert [] == lines("socketio_error") + lines("socketio_open")


async def test_connect_handler_that_raises_is_an_error_and_an_orphan(
    make: Make, registry: CollectorRegistry, spans: Spans, lines: Lines
) -> None:
    """The client gets no answer, and the library keeps its sid when the transport is gone."""
    sio = make()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        raise LookupError("no such user")

    peer = await Peer.open(sio)
    with pytest.raises(LookupError):
        await peer.connect()
    await peer.drop()

    assert {("/", "error"): 1} == connects(registry)
    assert 1 == sample(registry, "socketio_orphan_sids", namespace="/")
    (span,) = spans.named("connect /")
    assert "LookupError" == (span.attributes or {})["error.type"]
    assert ["exception"] == [event.name for event in span.events]
    (line,) = lines("socketio_error")
    assert ("connect", "LookupError", "/") == (
        line["operation"],
        line["error_type"],
        line["namespace"],
    )
    assert "no such user" in line["exception"]


async def test_legacy_connect_handler_counts_once(
    make: Make, registry: CollectorRegistry, spans: Spans
) -> None:
    """The library tries one without `auth` a second time; only the second try counts."""
    sio = make()
    calls: list[str] = []

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        calls.append(sid)

    peer = await Peer.join(sio)

    assert [peer.sids["/"]] == calls
    assert {("/", "accepted"): 1} == connects(registry)
    (span,) = spans.named("connect")
    assert [] == list(span.events)


async def test_connect_handler_that_is_cancelled_is_no_error(
    make: Make, registry: CollectorRegistry
) -> None:
    """A server that shuts down ends handlers."""
    sio = make()

    class Own(socketio.AsyncNamespace):
        async def trigger_event(self, event: str, *args: Any) -> None:
            raise asyncio.CancelledError

    sio.register_namespace(Own("/"))
    peer = await Peer.open(sio)
    with pytest.raises(asyncio.CancelledError):
        await peer.connect()

    assert {("/", "cancelled"): 1} == connects(registry)


@pytest.mark.parametrize("namespaces", [None, "*"], ids=["listed", "all"])
async def test_unknown_namespaces_have_no_label_of_their_own(
    make: Make, registry: CollectorRegistry, spans: Spans, namespaces: Any
) -> None:
    """Their names are the client's; where all are taken, the first 50 count."""
    sio = make(namespaces=namespaces)
    peer = await Peer.open(sio)
    for number in range(60):
        await peer.connect(f"/{number}")

    found = connects(registry)
    if namespaces is None:
        assert {("_other", "unknown_namespace"): 60} == found
        assert ["connect _other"] * 60 == [span.name for span in spans.named("connect")]
    else:
        assert {"accepted"} == {outcome for _, outcome in found}
        assert 51 == len(found)
        assert 10 == found["_other", "accepted"]


async def test_second_connect_to_a_namespace_is_a_duplicate(
    make: Make, registry: CollectorRegistry
) -> None:
    """The client is in it already, and stays."""
    sio = make()
    peer = await Peer.join(sio)
    await peer.connect()
    assert {("/", "accepted"): 1, ("/", "duplicate"): 1} == connects(registry)
    assert 1 == sample(registry, "socketio_connections_active", namespace="/", transport="polling")


async def test_client_that_cannot_be_told_is_not_accepted(
    make: Make, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler said yes, but the packet could not be sent."""
    sio = make()

    async def refuse(*args: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr(sio, "_send_packet", refuse)
    peer = await Peer.open(sio)
    with pytest.raises(OSError, match="gone"):
        await peer.connect()
    assert {("/", "error"): 1} == connects(registry)


@pytest.mark.parametrize(
    ("trust", "parent", "links"),
    [(False, False, 1), (True, True, 0), ("never", False, 0), (lambda environ: True, True, 0)],
    ids=["link", "parent", "never", "asked"],
)
async def test_auth_carries_trace_context(
    make: Make, spans: Spans, trust: Any, parent: bool, links: int
) -> None:
    """It is a link unless the client is believed, and the handler never sees it."""
    sio = make(options={"trust_client": trust})
    seen: list[Any] = []

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        seen.append(auth)

    for auth in ({"token": "x", "traceparent": PARENT}, {"traceparent": PARENT}):
        peer = await Peer.open(sio)
        await peer.connect(auth=auth)

    assert [{"token": "x"}, None] == seen
    for span in spans.named("connect"):
        assert span.context is not None
        assert parent == (f"{span.context.trace_id:032x}" == TRACE)
        assert links == len(span.links)


@pytest.mark.parametrize(
    ("word", "parent", "links"),
    [("auto", True, 0), ("parent", True, 0), ("link", False, 1), ("never", False, 0)],
)
async def test_header_carries_trace_context(
    make: Make, spans: Spans, word: str, parent: bool, links: int
) -> None:
    """That of the transport's first request counts as `Settings.trust` says."""
    sio = make(options={"settings": Settings(trust=word)})
    await Peer.join(sio, HTTP_TRACEPARENT=PARENT)

    (span,) = spans.named("connect")
    assert parent == (span.parent is not None)
    assert links == len(span.links)


async def test_malformed_header_is_no_parent(make: Make, spans: Spans) -> None:
    """A trace context from outside is validated."""
    await Peer.join(make(), HTTP_TRACEPARENT="00-zz-zz-01")
    (span,) = spans.named("connect")
    assert (None, 0) == (span.parent, len(span.links))


async def test_span_of_the_transport_is_linked(make: Make, spans: Spans) -> None:
    """From Socket.IO's connection one gets to the request, or the WebSocket, that carried it."""
    sio = make()
    with spans.provider.get_tracer("server").start_as_current_span("GET /socket.io/") as outer:
        await Peer.join(sio)
    (span,) = spans.named("connect")
    assert span.context is not None
    assert outer.get_span_context().trace_id != span.context.trace_id
    assert [outer.get_span_context()] == [link.context for link in span.links]


async def test_trust_that_fails_believes_nobody(
    make: Make, registry: CollectorRegistry, spans: Spans
) -> None:
    """The connection never notices, and the failure is counted."""

    def trust(environ: Any) -> bool:
        raise RuntimeError("bug")

    sio = make(options={"trust_client": trust})
    peer = await Peer.open(sio)
    await peer.connect(auth={"traceparent": PARENT})
    (span,) = spans.named("connect")
    assert (None, 0) == (span.parent, len(span.links))
    assert 1 == sample(registry, "ws_observe_errors_total", part="trust")


async def test_client_that_leaves_ends_its_connection(
    make: Make, registry: CollectorRegistry, spans: Spans, lines: Lines
) -> None:
    """The connection's span is made at its end, with its true beginning."""
    sio = make()
    told: list[Any] = []

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        told.append(reason)

    @sio.event
    async def chat(sid: str) -> None:
        pass

    peer = await Peer.join(sio)
    await peer.emit("chat")
    await peer.emit("chat")
    await peer.leave()

    assert ["client disconnect"] == told
    reasons = {
        each: sample(registry, "socketio_disconnects_total", namespace="/", reason=each)
        for each in ("client_disconnect", "server_disconnect")
    }
    assert {"client_disconnect": 1, "server_disconnect": 0} == reasons
    (opened,), (ended,), (handler,) = map(spans.named, ("connect ", "connection", "disconnect"))
    assert opened.context is not None
    for span in (ended, handler):
        assert span.parent is not None
        assert opened.context.span_id == span.parent.span_id
        assert "client_disconnect" == (span.attributes or {})["socketio.disconnect.reason"]
    assert ended.start_time is not None
    assert opened.start_time is not None
    assert opened.start_time <= ended.start_time
    assert 2 == (ended.attributes or {})["socketio.events.in"]
    (line,) = lines("socketio_close")
    assert ("client_disconnect", 2, "accepted") == (
        line["reason"],
        line["events_in"],
        line["outcome"],
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("transport close", "transport_close"),
        ("transport error", "transport_error"),
        ("ping timeout", "ping_timeout"),
        ("something new", "unknown"),
    ],
)
async def test_reason_is_of_a_closed_set(
    make: Make, registry: CollectorRegistry, told: str, expected: str
) -> None:
    """The library's words become ours."""
    sio = make()
    peer = await Peer.join(sio)
    await peer.drop(told)
    assert 1 == sample(registry, "socketio_disconnects_total", namespace="/", reason=expected)


async def test_server_that_disconnects_a_client_is_the_reason(
    make: Make, registry: CollectorRegistry
) -> None:
    """`disconnect` of the server."""
    sio = make()
    peer = await Peer.join(sio)
    await sio.disconnect(peer.sids["/"])
    assert 1 == sample(
        registry, "socketio_disconnects_total", namespace="/", reason="server_disconnect"
    )


async def test_disconnect_handler_that_raises_is_logged(
    make: Make, registry: CollectorRegistry, spans: Spans, lines: Lines
) -> None:
    """The connection has ended all the same."""
    sio = make()

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        raise LookupError("late")

    peer = await Peer.join(sio)
    with pytest.raises(LookupError):
        await peer.leave()

    (line,) = lines("socketio_error")
    assert ("disconnect", "LookupError") == (line["operation"], line["error_type"])
    (span,) = spans.named("disconnect")
    assert StatusCode.ERROR is span.status.status_code
    assert 1 == total(registry, "socketio_disconnects_total")


async def test_client_from_before_is_not_a_known_connection(
    registry: CollectorRegistry, spans: Spans, make: Make
) -> None:
    """What began unobserved ends unobserved; its events count."""
    sio = socketio.AsyncServer(async_mode="asgi")

    @sio.event
    async def chat(sid: str) -> None:
        pass

    peer = await Peer.join(sio)
    make(server=sio)
    await peer.emit("chat")
    await peer.leave()

    assert 0 == total(registry, "socketio_disconnects_total")
    assert 1 == sample(registry, "socketio_events_total", namespace="/", event="chat", outcome="ok")
    assert ["process chat"] == [span.name for span in spans.all()]


async def test_without_an_sdk_there_are_numbers_and_lines(
    make: Make, registry: CollectorRegistry, lines: Lines
) -> None:
    """Spans cost nothing where nobody collects them."""
    sio = make(traced=False)
    peer = await Peer.join(sio)
    await peer.leave()
    assert {("/", "accepted"): 1} == connects(registry)
    assert ["socketio_open", "socketio_close"] == [line["event"] for line in lines()]
    assert all("trace_id" not in line for line in lines())


async def test_lines_can_be_turned_off(make: Make, lines: Lines) -> None:
    """As those of WebSockets can."""
    sio = make(options={"settings": Settings(log_open=False, log_close=False)})
    peer = await Peer.join(sio)
    await peer.leave()
    assert [] == lines()


async def test_connection_spans_can_be_turned_off(make: Make, spans: Spans) -> None:
    """`Settings.connection_span` counts here as well: no spans at all."""
    sio = make(options={"settings": Settings(connection_span="off")})

    @sio.event
    async def chat(sid: str) -> None:
        pass

    peer = await Peer.join(sio)
    await peer.emit("chat")
    await peer.leave()
    assert [] == spans.all()


async def test_tracer_that_fails_changes_nothing(
    make: Make, registry: CollectorRegistry, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is accepted, its event handled, and the failures are counted."""
    sio = make()
    handled: list[str] = []

    @sio.event
    async def chat(sid: str) -> str:
        handled.append(sid)
        await sio.emit("news", {"text": "hello"})
        return "thanks"

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr("opentelemetry.sdk.trace.Tracer.start_span", fail)
    peer = await Peer.join(sio)
    await peer.emit("chat", ack=1)
    await peer.leave()

    assert [peer.sids["/"]] == handled
    assert [["news", {"text": "hello"}]] == peer.events()
    assert '31["thanks"]' in peer.all()
    assert total(registry, "ws_observe_errors_total", part="socketio") >= 3
