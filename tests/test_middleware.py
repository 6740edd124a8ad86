"""The ASGI shell: what passes through it, what it starts, what it refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.websockets import WebSocket

from asgi_ws_observe import (
    ConnectionHook,
    Settings,
    SettingsError,
    WebSocketObserveMiddleware,
    current_connection,
    current_message,
)
from asgi_ws_observe.metrics.prometheus import numbers_of
from asgi_ws_observe.probe import Probe
from tests.support import (
    ACCEPT,
    CONNECT,
    Server,
    Spans,
    disconnect,
    sample,
    scope,
    text,
    total,
    until,
)

App = Callable[[Any, Any, Any], Awaitable[None]]


async def run(app: App, *events: dict[str, Any], **more: Any) -> Server:
    """Run an application for one connection and return the server it talked to."""
    server = Server(events or (CONNECT, disconnect()))
    await app(scope(**more), server.receive, server.send)
    return server


async def accepting(scope: Any, receive: Any, send: Any) -> None:
    """Accept, and receive until the client leaves."""
    await receive()
    await send(ACCEPT)
    while (await receive())["type"] == "websocket.receive":
        pass


@pytest.mark.parametrize("kind", ["http", "lifespan", "unheard_of"])
async def test_scope_that_is_no_websocket_reaches_the_application_as_it_is(
    kind: str, registry: CollectorRegistry, settings: Settings
) -> None:
    """The application gets the same scope and channel objects, and nothing is counted."""
    got: list[Any] = []

    async def app(*arguments: Any) -> None:
        got.extend(arguments)

    given = {"type": kind}
    server = Server([CONNECT])
    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    await middleware(given, server.receive, server.send)
    assert got[0] is given
    assert {"type": kind} == given
    assert server.receive == got[1]
    if kind != "lifespan":
        assert server.send == got[2]
    assert 0 == total(registry, "ws_handshake_failures_total")


async def test_disabled_passes_websockets_through(registry: CollectorRegistry) -> None:
    """With `enabled` off the scope stays untouched and nothing is counted."""
    middleware = WebSocketObserveMiddleware(
        accepting, registry=registry, settings=Settings(enabled=False)
    )
    given, server = scope(), Server([CONNECT, disconnect()])
    await middleware(given, server.receive, server.send)
    assert scope() == given
    assert 0 == total(registry, "ws_connects_total")


@pytest.mark.parametrize(
    ("path", "counted"),
    [("/health", 0), ("/internal/a/b", 0), ("/healthy", 1), ("/ws", 1)],
)
async def test_excluded_path(path: str, counted: int, registry: CollectorRegistry) -> None:
    """Excluded paths are passed through; a pattern is the whole path."""
    settings = Settings(excluded_paths=["/health", "/internal/*"], log_handler="off")
    middleware = WebSocketObserveMiddleware(accepting, registry=registry, settings=settings)
    await run(middleware, path=path)
    assert counted == total(registry, "ws_connects_total")


async def test_middleware_inside_another_steps_aside(
    registry: CollectorRegistry, settings: Settings
) -> None:
    """A connection that passes two of them is counted once."""
    inner = WebSocketObserveMiddleware(accepting, registry=registry, settings=settings)
    outer = WebSocketObserveMiddleware(inner, registry=registry, settings=settings)
    await run(outer)
    assert 1 == total(registry, "ws_connects_total")


async def test_lifespan_starts_and_stops_the_periodic_work(registry: CollectorRegistry) -> None:
    """The event loop's lag is measured from start-up to shutdown, without any connection."""
    lag = numbers_of(registry).store.lag

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        await until(lambda: sum(lag.counts))
        await send({"type": "lifespan.shutdown.complete"})

    settings = Settings(loop_lag_interval=0.001)
    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    server = Server([{"type": "lifespan.startup"}])
    await middleware({"type": "lifespan"}, server.receive, server.send)
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == [
        each["type"] for each in server.sent
    ]
    assert middleware._runtime._loop is None


async def test_start_up_that_fails_starts_nothing(registry: CollectorRegistry) -> None:
    """The server hears of it from the application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    middleware = WebSocketObserveMiddleware(
        app, registry=registry, settings=Settings(loop_lag_interval=0.001, log_handler="off")
    )
    server = Server([{"type": "lifespan.startup"}])
    await middleware({"type": "lifespan"}, server.receive, server.send)

    assert [{"type": "lifespan.startup.failed", "message": "no database"}] == server.sent
    assert middleware._runtime._loop is None


async def test_without_lifespan_the_first_websocket_starts_the_periodic_work(
    registry: CollectorRegistry,
) -> None:
    """A server that runs no lifespan gets the event loop's lag as well."""
    settings = Settings(loop_lag_interval=0.001, log_handler="off")
    middleware = WebSocketObserveMiddleware(accepting, registry=registry, settings=settings)
    await run(middleware)
    await until(lambda: total(registry, "event_loop_lag_seconds_count"))


def test_bad_environment_raises_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside an event loop the constructor says it."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_MAX_ROUTES", "many")
    with pytest.raises(SettingsError, match="max_routes"):
        WebSocketObserveMiddleware(accepting)


async def test_bad_environment_in_a_running_server_fails_the_start_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frameworks build their middleware when the lifespan begins; then that fails, and all else."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_MAX_ROUTES", "many")
    middleware = WebSocketObserveMiddleware(accepting)
    server = Server([{"type": "lifespan.startup"}])
    await middleware({"type": "lifespan"}, server.receive, server.send)
    assert ["lifespan.startup.failed"] == [each["type"] for each in server.sent]
    assert "ASGI_WS_OBSERVE_MAX_ROUTES" in server.sent[0]["message"]
    with pytest.raises(SettingsError, match="max_routes"):
        await run(middleware)


@pytest.mark.parametrize("extensions", [{}, None, {"websocket.http.response": {}}])
async def test_handshake_above_the_limit_is_refused(
    extensions: Any, registry: CollectorRegistry
) -> None:
    """With `enforce` it is a 503 where the server can, else a close, counted as `limit`."""
    settings = Settings(max_connections=1, enforce=True, log_handler="off")
    refused: list[Server] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        refused.append(await run(middleware, CONNECT, extensions=extensions))
        await receive()

    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    await run(middleware)
    sent = refused[0].sent
    if extensions:
        assert [503] == [each["status"] for each in sent if "status" in each]
        assert (b"content-length", b"%d" % len(sent[1]["body"])) in sent[0]["headers"]
    else:
        assert [("websocket.close", 1013)] == [(each["type"], each["code"]) for each in sent]
    assert 1 == sample(registry, "ws_handshake_failures_total", route="unmatched", reason="limit")
    assert 1 == sample(registry, "ws_connections_limit")
    assert 1 == total(registry, "ws_connects_total")
    assert 0 == total(registry, "ws_connections_active")
    assert len(refused) == 1


async def test_limit_without_enforce_refuses_nobody(registry: CollectorRegistry) -> None:
    """The gauge shows the limit; connections above it go on."""
    settings = Settings(max_connections=1, log_handler="off")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        if scope["path"] == "/ws":
            await run(middleware, path="/second")
        await receive()

    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    await run(middleware)
    assert 2 == total(registry, "ws_connects_total")
    assert 1 == sample(registry, "ws_connections_limit")


async def test_current_connection_and_message_inside_the_application(
    registry: CollectorRegistry, settings: Settings
) -> None:
    """The handler finds its own connection and message, tasks that it starts too, others not."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        await websocket.receive_text()
        seen.append(current_connection())
        seen.append(await asyncio.create_task(_connection_of_a_task()))
        seen.append((current_message().number, current_message().size))
        await websocket.close()

    settings = Settings(connection_id=lambda scope: "c-1", log_handler="off")
    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    await run(middleware, CONNECT, text("größe"), disconnect())
    assert "c-1" == seen[0].id
    assert seen[0] is seen[1]
    assert (1, 7) == seen[2]
    assert "" == current_connection().id


async def _connection_of_a_task() -> Any:
    return current_connection()


class Recorder(ConnectionHook):
    """Keeps the events of a life."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def started(self, connection: Any) -> None:
        self.events.append("started")

    def opened(self, connection: Any) -> None:
        self.events.append("opened")

    def message_received(self, connection: Any, message: Any, size: int) -> None:
        self.events.append(f"received {size}")

    def message_handled(self, connection: Any, duration: float) -> None:
        self.events.append("handled")

    def message_sent(self, connection: Any, message: Any, size: int) -> None:
        self.events.append(f"sent {size}")

    def closed(self, connection: Any) -> None:
        self.events.append(f"closed {connection.close_code}")

    def ended(self, connection: Any) -> None:
        self.events.append("ended")


async def test_hook_follows_a_life(registry: CollectorRegistry, settings: Settings) -> None:
    """A third party's hook sees the events in their order."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.send", "text": "hello"})
        await receive()

    hook = Recorder()
    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings, hooks=[hook])
    await run(middleware, CONNECT, text("hey"), disconnect(4000))
    assert [
        "started",
        "opened",
        "received 3",
        "sent 5",
        "handled",
        "closed 4000",
        "ended",
    ] == hook.events


class Broken(Recorder):
    """Fails at every message."""

    def message_received(self, connection: Any, message: Any, size: int) -> None:
        raise LookupError("broken hook")


async def test_failing_hook_is_logged_once_counted_and_silenced(
    registry: CollectorRegistry, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is unharmed, and the other hook still called."""
    broken, sound = Broken(), Recorder()
    middleware = WebSocketObserveMiddleware(
        accepting, registry=registry, settings=settings, hooks=[broken, sound]
    )
    with caplog.at_level(logging.ERROR, "asgi_ws_observe"):
        for _ in range(3):
            await run(middleware, CONNECT, text("a"), text("b"), disconnect())
    assert ["started", "opened"] == broken.events
    assert 6 == sound.events.count("received 1")
    assert 1 == sample(registry, "ws_observe_errors_total", part="hook")
    assert 1 == len([each for each in caplog.records if "hook failed" in each.getMessage()])
    assert 6 == total(registry, "ws_messages_total", direction="in")


async def test_failing_record_is_counted_and_never_noticed(
    registry: CollectorRegistry, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Messages that are no messages pass in both directions, whatever the record makes of them."""
    strange: list[Any] = [None, {}, {"type": "websocket.receive", "text": 7}]
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        for _ in strange:
            got.append(await receive())
        for each in (None, {}, {"type": "websocket.send", "bytes": 7}):
            await send(each)
        await receive()

    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    server = await run(middleware, CONNECT, *strange, disconnect())
    assert strange == got
    assert [ACCEPT, None, {}, {"type": "websocket.send", "bytes": 7}] == server.sent
    assert 6 == sample(registry, "ws_observe_errors_total", part="record")
    assert 1 == total(registry, "ws_closes_total", code="1000")
    assert 0 == total(registry, "ws_connections_active")


async def test_disconnect_that_waits_is_taken_in_after_the_application(
    registry: CollectorRegistry, settings: Settings
) -> None:
    """Unread messages are passed over, and are not counted as received."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)

    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    await run(middleware, CONNECT, text("unread"), text("unread"), disconnect(4000))
    assert 1 == total(registry, "ws_closes_total", closed_by="client", reason="application")
    assert 0 == total(registry, "ws_messages_total")


async def _never() -> dict[str, Any]:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def _raising() -> dict[str, Any]:
    raise OSError


async def _endless() -> dict[str, Any]:
    return text("unread")


def _future() -> Any:
    return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("receive", [_never, _raising, _endless, _future])
async def test_no_disconnect_waits(
    receive: Any, registry: CollectorRegistry, settings: Settings
) -> None:
    """An application that returns without closing is named as such, however the server answers."""

    async def app(scope: Any, _: Any, send: Any) -> None:
        await send(ACCEPT)

    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    await middleware(scope(), receive, Server([CONNECT]).send)
    assert 1 == total(registry, "ws_closes_total", code="1006", reason="no_close")


async def test_end_that_the_record_cannot_judge(
    registry: CollectorRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even then the application's own exception leaves as it came."""
    monkeypatch.setattr("asgi_ws_observe.connection.Connection.ended", lambda *_: [][1])
    monkeypatch.setattr("asgi_ws_observe.connection.Connection.send_failed", lambda *_: [][1])

    async def refusing(_: Any) -> None:
        raise error

    error = ConnectionError("gone")
    middleware = WebSocketObserveMiddleware(accepting, registry=registry, settings=settings)
    with pytest.raises(ConnectionError) as raised:
        await middleware(scope(), Server([CONNECT]).receive, refusing)
    assert error is raised.value
    assert 2 == sample(registry, "ws_observe_errors_total", part="record")


async def test_connection_span_off(registry: CollectorRegistry, spans: Spans) -> None:
    """No span is made, whatever provider there is."""
    middleware = WebSocketObserveMiddleware(
        accepting,
        registry=registry,
        settings=Settings(connection_span="off", log_handler="off"),
        tracer_provider=spans.provider,
    )
    await run(middleware, CONNECT, text("a"), disconnect())
    assert [] == spans.all()


@pytest.mark.parametrize(("probe", "kinds"), [("auto", ["unknown"]), ("off", [])])
async def test_probe_setting_decides_whether_the_server_is_looked_for(
    probe: str, kinds: list[str], registry: CollectorRegistry
) -> None:
    """With `off` no kind of server is noted, not even an unknown one."""
    settings = Settings(probe=probe, log_handler="off")
    middleware = WebSocketObserveMiddleware(accepting, registry=registry, settings=settings)
    await run(middleware)
    assert kinds == list(numbers_of(registry).store.transports)
    assert 1 == total(registry, "ws_closes_total", code="1000")


async def test_sends_that_wait_are_counted_with_the_first_ones_time(
    registry: CollectorRegistry, settings: Settings
) -> None:
    """Those that return or fail count no more."""
    go_on, refused = asyncio.Event(), asyncio.Event()
    seen: list[Any] = []

    async def slow(message: Any) -> None:
        if "text" in message:
            await (refused if message["text"] == "refused" else go_on).wait()
            if message["text"] == "refused":
                raise ConnectionError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection: Any = current_connection()
        await send(ACCEPT)
        first = asyncio.create_task(send({"type": "websocket.send", "text": "taken"}))
        await until(lambda: connection.sending)
        since = connection.sending_since
        second = asyncio.create_task(send({"type": "websocket.send", "text": "refused"}))
        await until(lambda: connection.sending == 2)
        seen.append(since == connection.sending_since)
        refused.set()
        seen.append(type((await asyncio.gather(second, return_exceptions=True))[0]))
        seen.append(connection.sending)
        go_on.set()
        await first
        seen.append(connection.sending)

    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    await middleware(scope(), Server([CONNECT]).receive, slow)
    assert [True, ConnectionError, 1, 0] == seen


class TellsEnd(Probe):
    """A probe that will tell the end of the connection."""

    tells_end = True


@pytest.mark.parametrize(("kind", "asked"), [(Probe, 1), (TellsEnd, 0)])
async def test_disconnect_is_not_looked_for_where_the_probe_tells_the_end(
    kind: Any,
    asked: int,
    registry: CollectorRegistry,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server's `receive` is the application's alone then, and the connection goes on."""
    calls = 0

    async def receive() -> Any:
        nonlocal calls
        calls += 1
        return disconnect(4000)

    async def app(scope: Any, _: Any, send: Any) -> None:
        await send(ACCEPT)

    monkeypatch.setattr(
        "asgi_ws_observe.middleware.attach",
        lambda connection, *_, watcher, **__: kind(connection, watcher),
    )
    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    await middleware(scope(), receive, Server([CONNECT]).send)
    assert asked == calls
    assert asked == total(registry, "ws_closes_total")
    assert 1 - asked == total(registry, "ws_connections_active")


async def test_receive_that_is_cancelled_changes_nothing(
    registry: CollectorRegistry, settings: Settings
) -> None:
    """An application that waits for a while only gets its next message all the same."""
    heard: list[str] = []

    class Late(Server):
        async def receive(self) -> dict[str, Any]:
            if self.events[0] is not CONNECT and not heard:
                heard.append("nothing yet")
                await asyncio.Event().wait()
            return await super().receive()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        heard.append((await receive())["text"])

    server = Late([CONNECT, text("hello"), disconnect()])
    middleware = WebSocketObserveMiddleware(app, registry=registry, settings=settings)
    await middleware(scope(), server.receive, server.send)
    assert ["nothing yet", "hello"] == heard
    assert 1 == total(registry, "ws_messages_total", direction="in")
