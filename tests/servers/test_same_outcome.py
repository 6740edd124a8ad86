"""Law 3 on real servers: the same bytes for the client, the same events for the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.servers.application import application
from tests.servers.harness import IMPLEMENTATIONS, serving
from tests.servers.raw import BINARY, TEXT, RawClient, close_frame, frame
from tests.support import total, wait_until

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
    pytest.mark.parametrize("implementation", IMPLEMENTATIONS),
]

Log = list[tuple[str, Any]]


def ending_with(last: bytes, *echoes: tuple[int, bytes]) -> Callable[[RawClient], None]:
    """Return a client that waits for its echoes, sends a last frame, and reads to the end."""

    def act(client: RawClient) -> None:
        client.read_until(b"\r\n\r\n")
        for opcode, payload in echoes:
            client.send(frame(opcode, payload))
            client.read_until(payload)
        client.send(last)
        client.read_to_end()

    return act


def vanishing(how: str) -> Callable[[RawClient], None]:
    """Return a client that gets one echo and then leaves without a close frame."""

    def act(client: RawClient) -> None:
        client.read_until(b"\r\n\r\n")
        client.send(frame(TEXT, b"hello"))
        client.read_until(b"hello")
        getattr(client, how)()
        if how == "finish":
            client.read_to_end()

    return act


refused = RawClient.read_to_end

#: Name -> (path, what the client does).
SCENARIOS: Final[dict[str, tuple[str, Callable[[RawClient], None]]]] = {
    "clean close": (
        "/rooms/a",
        ending_with(close_frame(1000, "bye"), (TEXT, b"one"), (BINARY, b"\0" * 70000)),
    ),
    "close without a code": ("/rooms/a", ending_with(close_frame(None))),
    "application's code": ("/rooms/a", ending_with(close_frame(4321, "mine"))),
    "leaving uncaught": ("/disconnect_raises", ending_with(close_frame(), (TEXT, b"hello"))),
    "server closes": ("/rooms/a", ending_with(frame(TEXT, b"close 4000"))),
    "application raises": ("/rooms/a", ending_with(frame(TEXT, b"raise"))),
    "application returns": ("/rooms/a", ending_with(frame(TEXT, b"return"))),
    "policy": ("/rooms/a", ending_with(frame(TEXT, b"policy"))),
    "unmasked frame": ("/rooms/a", ending_with(frame(TEXT, b"x", masked=False))),
    "no UTF-8": ("/rooms/a", ending_with(frame(TEXT, b"\xff\xfe"))),
    "reset": ("/rooms/a", vanishing("reset")),
    "end of stream": ("/rooms/a", vanishing("finish")),
    "rejected": ("/rejected", refused),
    "denied": ("/denied", refused),
    "raises before accept": ("/broken", refused),
    "returns before accept": ("/silent", refused),
    "no such route": ("/nowhere", refused),
    "accepts and closes": ("/subprotocol", refused),
    "accepts early": ("/early", refused),
}


def logged(app: Any, log: Log) -> Any:
    """Wrap an application so that it logs what it gets, and what it does with it."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def logging_receive() -> Any:
            message = await receive()
            log.append(("got", dict(message)))
            return message

        async def logging_send(message: Any) -> None:
            try:
                await send(message)
            except Exception as error:
                log.append(("refused", type(error)))
                raise

        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        try:
            await app(scope, logging_receive, logging_send)
        except Exception as error:
            log.append(("raised", type(error)))
            raise
        finally:
            log.append(("end", None))

    return wrapped


def outcome(
    implementation: str, scenario: str, registry: CollectorRegistry | None
) -> tuple[bytes, Log]:
    """Return what both sides saw, with the middleware if there is a registry."""
    log: Log = []
    app = logged(application(), log)
    if registry is not None:
        app = WebSocketObserveMiddleware(
            app,
            registry=registry,
            settings=Settings(log_handler="off"),
            tracer_provider=TracerProvider(),
        )
    path, act = SCENARIOS[scenario]
    with serving(app, implementation) as address:
        client = RawClient(address, path, "Sec-WebSocket-Protocol: chat.v2")
        try:
            act(client)
        finally:
            client.close()
        wait_until(lambda: ("end", None) in log)
    return client.got, log


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_has_the_same_outcome(
    scenario: str, implementation: str, registry: CollectorRegistry
) -> None:
    """With and without the middleware, with all messages traced."""
    bare_bytes, bare_log = outcome(implementation, scenario, None)
    seen_bytes, seen_log = outcome(implementation, scenario, registry)
    assert bare_bytes == seen_bytes
    assert bare_log == seen_log
    assert b"HTTP/1.1 " in seen_bytes
    assert 0 == total(registry, "ws_connections_active")
    assert 0 == total(registry, "ws_observe_errors_total")
    assert 1 == total(registry, "ws_closes_total") + total(registry, "ws_handshake_failures_total")
