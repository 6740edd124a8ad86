"""Below Socket.IO: pings, upgrades, refused requests and true ends, through ASGI itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import orjson
import pytest
import socketio
from engineio import packet
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from asgi_ws_observe.socketio import instrument_server
from asgi_ws_observe.states import Ending, Verdict
from tests.socketio.conftest import Make
from tests.socketio.peers import Peer
from tests.support import Spans, counted, sample, scope, total, until


class Socket:
    """A WebSocket of a server's, as ASGI.

    Attributes:
        sent: What the server sent.
    """

    def __init__(self, app: Any, query: str = "", path: str = "/socket.io/") -> None:
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.scope = scope(
            path,
            query_string=f"EIO=4&transport=websocket{query}".encode(),
            headers=[(b"connection", b"upgrade"), (b"upgrade", b"websocket")],
        )
        self.put(type="websocket.connect")
        self.task = asyncio.create_task(app(self.scope, self._queue.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def put(self, **message: Any) -> None:
        """Say something."""
        self._queue.put_nowait(message)

    def text(self, data: str) -> None:
        """Send a packet of Engine.IO."""
        self.put(type="websocket.receive", text=data)

    def texts(self) -> list[str]:
        """Return the packets that came."""
        return [each["text"] for each in self.sent if each.get("text")]

    async def got(self, start: str) -> str:
        """Return the first packet that begins so."""
        await until(lambda: any(each.startswith(start) for each in self.texts()))
        return next(each for each in self.texts() if each.startswith(start))

    async def connect(self) -> None:
        """Open the session and connect to the default namespace."""
        await self.got("0{")
        self.text("40")
        await self.got("40{")

    async def close(self, code: int = 1000) -> None:
        """End it."""
        self.put(type="websocket.disconnect", code=code)
        await self.task


def polling(app: Any) -> httpx.AsyncClient:
    """Return what sends requests."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


async def opened(client: httpx.AsyncClient) -> str:
    """Open a session over polling; return its sid."""
    answer = await client.get("/socket.io/?EIO=4&transport=polling")
    return str(orjson.loads(answer.text[1:])["sid"])


def reasons(registry: CollectorRegistry) -> dict[str, float]:
    """Return why clients left."""
    return counted(registry, "socketio_disconnects_total", "reason")


async def test_round_trip_and_wait_in_the_queue_are_told_apart(
    make: Make, registry: CollectorRegistry
) -> None:
    """A ping waits behind what was emitted, then travels."""
    sio = make(ping_interval=0.01, ping_timeout=5)
    socket = Socket(socketio.ASGIApp(sio))
    await socket.connect()
    await socket.got("2")
    socket.text("3")
    rtt, delay = "engineio_ping_rtt_seconds_count", "engineio_ping_queue_delay_seconds_count"
    await until(lambda: sample(registry, rtt, transport="websocket") == 1)
    assert (sample(registry, delay, transport="websocket") or 0) >= 1
    assert 0 == sample(registry, rtt, transport="polling")
    await socket.close()


async def test_ping_of_a_polling_client_is_measured(
    make: Make, registry: CollectorRegistry
) -> None:
    """From the answer that had the ping until the request that has the pong."""
    sio = make(ping_interval=0.01, ping_timeout=5)
    async with polling(socketio.ASGIApp(sio)) as client:
        address = f"/socket.io/?EIO=4&transport=polling&sid={await opened(client)}"
        answer = await client.get(address)
        assert "2" in answer.text.split("\x1e")
        await client.post(address, content="3")
    assert 1 == sample(registry, "engineio_ping_rtt_seconds_count", transport="polling")
    assert 1 == sample(registry, "engineio_ping_queue_delay_seconds_count", transport="polling")


async def test_other_packets_are_no_ping(make: Make, registry: CollectorRegistry) -> None:
    """While one waits for its turn."""
    sio = make()
    peer = await Peer.join(sio)
    peer.session.last_ping = time.time()
    await peer.session.poll()
    assert 0 == total(registry, "engineio_ping_queue_delay_seconds_count")


async def test_session_of_another_kind_is_left_alone(make: Make) -> None:
    """A threaded one, or a test's."""
    sio = make()
    sio.eio.sockets["x"] = other = object()
    await sio._handle_eio_connect("x", {})
    assert object is type(other)


async def test_end_of_a_client_that_nobody_knows_has_no_reason(
    make: Make, registry: CollectorRegistry, lines: Any
) -> None:
    """It was in no namespace: nothing is counted, and nothing breaks."""
    sio = make(namespaces=["/", "/chat"])
    await Peer.join(sio)
    await Peer.join(sio, "/chat")
    await sio._trigger_event("disconnect", "/", "unknown")
    assert {} == reasons(registry)
    assert 0 == sample(registry, "ws_observe_errors_total", part="socketio")


async def test_pong_without_a_ping_is_no_measurement(
    make: Make, registry: CollectorRegistry
) -> None:
    """Clients may send what they like."""
    sio = make()
    peer = await Peer.join(sio)
    await peer.session.receive(packet.Packet(packet.PONG))
    assert 0 == total(registry, "engineio_ping_rtt_seconds_count")


@pytest.mark.parametrize(
    ("answers", "outcome"), [(["2probe", "5"], "ok"), (["4hello"], "failed"), ([], "failed")]
)
async def test_upgrade_is_counted_by_outcome(
    make: Make, registry: CollectorRegistry, answers: list[str], outcome: str
) -> None:
    """One that a proxy cuts leaves the client on polling."""
    sio = make()
    app = socketio.ASGIApp(sio)
    async with polling(app) as client:
        sid = await opened(client)
        socket = Socket(app, f"&sid={sid}")
        for answer in answers:
            socket.text(answer)
        if outcome == "ok":
            await socket.got("3probe")
            socket.text("40")
            await socket.got("40{")
        await socket.close()
    found = {
        each: sample(registry, "engineio_upgrades_total", outcome=each) for each in ("ok", "failed")
    }
    assert {"ok": 0, "failed": 0} | {outcome: 1} == found


async def test_first_websocket_is_no_upgrade(make: Make, registry: CollectorRegistry) -> None:
    """A client that begins with WebSocket."""
    sio = make()
    socket = Socket(socketio.ASGIApp(sio))
    await socket.connect()
    assert 1 == sample(
        registry, "socketio_connections_active", namespace="/", transport="websocket"
    )
    await socket.close()
    assert 0 == total(registry, "engineio_upgrades_total")


@pytest.mark.parametrize(
    ("query", "headers", "reason"),
    [
        ("EIO=4&transport=polling&sid=unknown", {}, "bad-sid"),
        ("EIO=4&transport=carrier-pigeon", {}, "bad-transport"),
        ("EIO=2&transport=polling", {}, "bad-version"),
        ("EIO=4&transport=polling", {"origin": "http://evil.example"}, "bad-origin"),
    ],
)
async def test_rejected_request_is_counted_by_reason(
    make: Make, registry: CollectorRegistry, query: str, headers: dict[str, str], reason: str
) -> None:
    """`bad-sid` on several nodes is a load balancer without sticky sessions."""
    sio = make()
    async with polling(socketio.ASGIApp(sio)) as client:
        answer = await client.get(f"/socket.io/?{query}", headers=headers)
    assert 400 == answer.status_code
    assert 1 == sample(registry, "engineio_rejections_total", reason=reason)


async def test_new_reason_of_rejection_is_other(make: Make, registry: CollectorRegistry) -> None:
    """A later version may have more."""
    make().eio._log_error_once("strange", "something-new")
    assert 1 == sample(registry, "engineio_rejections_total", reason="other")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, "transport_close"),
        (1001, "transport_close"),
        (1005, "transport_lost"),
        (1006, "transport_lost"),
        (1012, "server_shutdown"),
    ],
)
@pytest.mark.parametrize("around", [False, True], ids=["alone", "middleware"])
async def test_true_end_is_told_by_the_close_code(
    make: Make, registry: CollectorRegistry, spans: Spans, around: bool, code: int, reason: str
) -> None:
    """The library calls all of them a transport close."""
    sio = make()
    app: Any = socketio.ASGIApp(sio)
    if around:
        app = WebSocketObserveMiddleware(
            app, registry=registry, settings=Settings(log_handler="off")
        )
    socket = Socket(app)
    await socket.connect()
    await socket.close(code)
    assert {reason: 1} == reasons(registry)
    (span,) = spans.named("connection")
    # Without a reason it is uvicorn's word for a lost connection.
    expected = 1006 if code == 1005 else code
    assert expected == (span.attributes or {})["socketio.close_code"]


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (Ending(lost_by="tcp_reset"), "transport_lost"),
        (Ending(cause="ping_timeout"), "ping_timeout"),
        (Ending(sent=(1009, ""), cause="too_big"), "transport_error"),
        (Ending(sent=(1012, ""), cause="server_shutdown"), "server_shutdown"),
    ],
    ids=["reset", "ping", "too-big", "shutdown"],
)
async def test_true_end_is_told_by_the_record(
    make: Make, registry: CollectorRegistry, ending: Ending, reason: str
) -> None:
    """What a probe saw below ASGI is better than what ASGI says."""
    sio = make()
    app = WebSocketObserveMiddleware(
        socketio.ASGIApp(sio), registry=registry, settings=Settings(log_handler="off")
    )
    socket = Socket(app)
    await socket.connect()
    socket.scope["asgi_ws_observe"].lost(ending, time.perf_counter())
    await socket.close(1006)
    assert {reason: 1} == reasons(registry)


async def test_silent_websocket_is_a_ping_timeout(make: Make, registry: CollectorRegistry) -> None:
    """The library calls it a transport close: it waits for a message, not for a pong."""
    sio = make(ping_interval=0.05, ping_timeout=0.1)
    socket = Socket(socketio.ASGIApp(sio))
    await socket.connect()
    await asyncio.wait_for(socket.task, 10)
    assert {"ping_timeout": 1} == reasons(registry)


@pytest.mark.parametrize(
    ("mount", "route"),
    [("", "/socket.io/"), ("/", "/socket.io/"), ("/socket.io", "/socket.io/{path}")],
    ids=["around", "mounted", "mounted-path"],
)
async def test_middleware_keeps_the_truth_of_the_transport_and_is_silent_about_packets(
    make: Make, registry: CollectorRegistry, spans: Spans, mount: str, route: str
) -> None:
    """Closes and bytes count by a route; no spans of messages, no handler times."""
    sio = make()
    inner: Any = socketio.ASGIApp(sio, socketio_path="" if mount == "/socket.io" else "socket.io")
    if mount:
        inner = Starlette(routes=[Mount(mount, app=inner)])
    app = WebSocketObserveMiddleware(
        inner,
        registry=registry,
        tracer_provider=spans.provider,
        settings=Settings(log_handler="off", message_spans="all"),
    )
    sio.on("chat", lambda sid: None)
    socket = Socket(app)
    await socket.connect()
    socket.text('42["chat"]')
    await until(lambda: total(registry, "socketio_events_total") == 1)
    await socket.close(1001)

    assert 1 == total(registry, "ws_closes_total", route=route, code="1001")
    assert 2 == sample(registry, "ws_messages_total", route=route, direction="in")
    assert 0 == total(registry, "ws_handler_duration_seconds_count")
    assert [] == spans.named("ws.message")
    (upgrade,), (connected,) = spans.named("ws.upgrade"), spans.named("connect /")
    assert [upgrade.context] == [link.context for link in connected.links]


async def test_line_names_the_connection_of_the_middleware(
    make: Make, registry: CollectorRegistry, lines: Any
) -> None:
    """From a client's line one gets to the lines of its WebSocket."""
    sio = make()
    app = WebSocketObserveMiddleware(
        socketio.ASGIApp(sio), registry=registry, settings=Settings(log_handler="off")
    )
    socket = Socket(app)
    await socket.connect()
    await socket.close()
    expected = socket.scope["asgi_ws_observe"].id
    assert [expected] * 2 == [line["connection_id"] for line in lines()]


async def test_sessions_from_before_are_observed_and_given_back(
    make: Make, registry: CollectorRegistry
) -> None:
    """Their class is theirs again when nobody observes any more."""
    sio = socketio.AsyncServer(async_mode="asgi")
    peer = await Peer.join(sio)
    kind = type(peer.session)
    make(server=sio)
    assert kind is not type(peer.session)
    assert isinstance(peer.session, kind)
    await peer.session.poll()
    make(server=sio)
    instrument_server(sio).uninstrument()
    assert kind is type(peer.session)
    await peer.emit("chat")


async def test_failure_to_find_the_websocket_changes_nothing(
    make: Make, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is connected, and the failure is counted."""

    def fail(*args: Any) -> Any:
        raise RuntimeError("bug")

    monkeypatch.setattr("asgi_ws_observe.socketio.engine._find_record", fail)
    sio = make()
    socket = Socket(socketio.ASGIApp(sio))
    await socket.connect()
    await socket.close()
    assert {"transport_close": 1} == reasons(registry)
    assert 1 == sample(registry, "ws_observe_errors_total", part="socketio")


async def test_websocket_that_is_no_asgi_is_observed_as_far_as_it_goes(
    make: Make, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another framework's environ has no scope."""
    sio = make()
    peer = await Peer.join(sio)

    async def upgrade(socket: Any, environ: Any) -> str:
        return "done"

    monkeypatch.setattr("engineio.async_socket.AsyncSocket._upgrade_websocket", upgrade)
    assert "done" == await peer.session._upgrade_websocket({})
    await peer.drop()
    assert {"transport_close": 1} == reasons(registry)


async def test_reason_before_5_12_is_found_without_the_librarys(
    make: Make, registry: CollectorRegistry
) -> None:
    """It says none there."""
    sio = make()
    peer = await Peer.join(sio)
    peer.session.verdict = Verdict(1000, "", "client", "normal")
    await sio._trigger_event("disconnect", "/", peer.sids["/"])
    assert {"transport_close": 1} == reasons(registry)


async def test_poll_that_ends_when_nobody_observes_any_more_counts_nothing(
    make: Make, registry: CollectorRegistry
) -> None:
    """It waits for long, and the session has its own class again meanwhile."""
    sio = make()
    peer = await Peer.join(sio)
    peer.all()
    waiting = asyncio.create_task(peer.session.poll())
    await asyncio.sleep(0)
    instrument_server(sio).uninstrument()
    peer.session.last_ping = time.time()
    ping = packet.Packet(packet.PING)
    await peer.session.queue.put(ping)
    assert [ping] == await waiting
    assert "2" == ping.encode()
    assert 0 == total(registry, "engineio_ping_queue_delay_seconds_count")


async def test_ping_that_is_encoded_twice_left_once(
    make: Make, registry: CollectorRegistry
) -> None:
    """A polling client's may be, for its compression."""
    sio = make()
    peer = await Peer.join(sio)
    peer.all()
    peer.session.last_ping = time.time()
    await peer.session.queue.put(packet.Packet(packet.PING))
    (ping,) = await peer.session.poll()
    assert ["2", "2"] == [ping.encode(), ping.encode()]
    assert 1 == total(registry, "engineio_ping_queue_delay_seconds_count")


async def test_websocket_that_engineio_refuses_has_its_route(
    make: Make, registry: CollectorRegistry
) -> None:
    """The middleware counts the handshake that failed."""
    app = WebSocketObserveMiddleware(
        socketio.ASGIApp(make()), registry=registry, settings=Settings(log_handler="off")
    )
    socket = Socket(app, "&sid=unknown")
    await socket.task
    assert 1 == sample(registry, "engineio_rejections_total", reason="bad-sid")
    assert 1 == total(registry, "ws_handshake_failures_total", route="/socket.io/")
