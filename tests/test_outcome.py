"""Law 3: with and without the middleware, both sides get the same, in every order of events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from starlette.websockets import WebSocket

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.support import ACCEPT, CONNECT, disconnect, scope, text, total

Step = Any
RECEIVE: Final = "receive"
SEND: Final = {"type": "websocket.send", "text": "x"}
CLOSE: Final = {"type": "websocket.close", "code": 4000}
START: Final = {"type": "websocket.http.response.start", "status": 429, "headers": []}
BODY: Final = {"type": "websocket.http.response.body", "body": b"no"}
CANCEL: Final = asyncio.CancelledError("stop")
FAULT: Final = LookupError("fault")
GONE: Final = ConnectionError("gone")

#: Name -> (what the server hands out, what the application does in turn). The server refuses what
#: comes after a `GONE` in its list, with that exception.
ORDERS: Final[dict[str, tuple[list[Any], list[Step]]]] = {
    "plain": ([CONNECT, text("a"), disconnect()], [RECEIVE, ACCEPT, RECEIVE, SEND, RECEIVE]),
    "disconnect before accept": ([CONNECT, disconnect(1006)], [RECEIVE, RECEIVE, ACCEPT]),
    "disconnect first": ([disconnect(1006)], [RECEIVE]),
    "double disconnect": (
        [CONNECT, disconnect(4001), disconnect(1005, None)],
        [RECEIVE, ACCEPT, RECEIVE, RECEIVE, RECEIVE],
    ),
    "send after close": ([CONNECT], [RECEIVE, ACCEPT, CLOSE, SEND, SEND]),
    "send after disconnect": ([CONNECT, disconnect()], [RECEIVE, ACCEPT, RECEIVE, SEND, CLOSE]),
    "send refused": ([CONNECT, GONE], [RECEIVE, ACCEPT, SEND]),
    "close refused": ([CONNECT, GONE], [RECEIVE, ACCEPT, CLOSE]),
    "accept refused": ([GONE], [ACCEPT]),
    "accept twice": ([CONNECT], [RECEIVE, ACCEPT, ACCEPT]),
    "close twice": ([CONNECT], [RECEIVE, ACCEPT, CLOSE, CLOSE]),
    "reject": ([CONNECT, disconnect(1006)], [RECEIVE, CLOSE, RECEIVE]),
    "deny": ([CONNECT, disconnect(1006)], [RECEIVE, START, BODY, RECEIVE]),
    "deny then raise": ([CONNECT], [RECEIVE, START, FAULT]),
    "reject then raise": ([CONNECT], [RECEIVE, CLOSE, FAULT]),
    "return while connecting": ([CONNECT], [RECEIVE]),
    "raise while connecting": ([CONNECT], [RECEIVE, FAULT]),
    "cancel while connecting": ([CONNECT], [RECEIVE, CANCEL]),
    "return while open": ([CONNECT], [RECEIVE, ACCEPT]),
    "raise while open": ([CONNECT, text("a")], [RECEIVE, ACCEPT, RECEIVE, FAULT]),
    "cancel while open": ([CONNECT], [RECEIVE, ACCEPT, CANCEL]),
    "raise while closing": ([CONNECT, disconnect()], [RECEIVE, ACCEPT, RECEIVE, FAULT]),
    "cancel while closing": ([CONNECT], [RECEIVE, ACCEPT, CLOSE, CANCEL]),
    "subprotocol": ([CONNECT], [RECEIVE, {**ACCEPT, "subprotocol": "v2", "headers": []}, CLOSE]),
    "message before accept": ([CONNECT, text("early")], [RECEIVE, RECEIVE, ACCEPT, CLOSE]),
    "messages after close": ([CONNECT, text("a"), disconnect()], [RECEIVE, ACCEPT, CLOSE, RECEIVE]),
    "no connect": ([text("a"), disconnect()], [ACCEPT, RECEIVE, RECEIVE]),
    "unknown types": (
        [CONNECT, {"type": "websocket.novel", "x": 1}, disconnect()],
        [RECEIVE, ACCEPT, RECEIVE, {"type": "websocket.novel"}, RECEIVE],
    ),
    "odd messages": (
        [
            *(CONNECT, {"type": "websocket.receive"}),
            {"type": "websocket.receive", "text": "t", "bytes": b"b", "extra": object()},
            {"type": "websocket.receive", "bytes": None, "text": "\ud800"},
            {"type": "websocket.disconnect"},
        ],
        [
            *(RECEIVE, ACCEPT, RECEIVE, RECEIVE, RECEIVE),
            *({"type": "websocket.send"}, {**SEND, "bytes": b"b", "extra": 1}, RECEIVE),
        ],
    ),
    "no message at all": ([CONNECT, None, 7, {}], [RECEIVE, ACCEPT, RECEIVE, RECEIVE, None, {}]),
    "keyboard interrupt": ([CONNECT], [RECEIVE, ACCEPT, SystemExit(3)]),
}

Log = list[tuple[str, Any]]


def an_application(steps: list[Step], log: Log) -> Callable[..., Awaitable[None]]:
    """Return an application that takes these steps and logs the very objects that it meets."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            try:
                if step is RECEIVE:
                    log.append(("got", await receive()))
                else:
                    log.append(("sent", await send(step)))
            except BaseException as error:
                log.append(("raised", error))
                raise

    return app


async def life(app: Any, events: list[Any], log: Log) -> BaseException | None:
    """Run one life; log what the server gets; return what leaves the application."""
    handed = list(events)

    async def receive() -> Any:
        while handed and handed[0] is GONE:
            handed.pop(0)
        return handed.pop(0) if handed else disconnect(1005)

    async def send(message: Any) -> None:
        log.append(("server", message))
        if handed and handed[0] is GONE:
            raise GONE

    try:
        await app(scope(), receive, send)
    except BaseException as error:
        return error
    return None


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("order", ORDERS)
async def test_order_of_events_has_the_same_outcome(
    order: str, traced: bool, registry: CollectorRegistry
) -> None:
    """The same objects in the same order on both sides, the same exception, and nobody left."""
    events, steps = ORDERS[order]
    bare: Log = []
    raised = await life(an_application(steps, bare), events, bare)
    observed: Log = []
    middleware = WebSocketObserveMiddleware(
        an_application(steps, observed),
        registry=registry,
        settings=Settings(log_handler="off"),
        tracer_provider=TracerProvider() if traced else None,
    )
    assert raised is await life(middleware, events, observed)
    assert len(bare) == len(observed)
    for (did, what), (does, same) in zip(bare, observed, strict=True):
        assert did == does
        assert what is same or what == same == disconnect(1005)
    assert 0 == total(registry, "ws_connections_active")
    assert 1 == total(registry, "ws_connects_total") + total(
        registry, "ws_handshake_failures_total"
    )


async def test_concurrent_reader_and_writer(registry: CollectorRegistry) -> None:
    """A reader and a writer task of one connection go on side by side."""
    arrived = asyncio.Event()
    sent: list[Any] = []

    async def receive() -> Any:
        if not sent:
            return CONNECT
        await arrived.wait()
        return disconnect()

    async def send(message: Any) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        reader = asyncio.create_task(websocket.receive())
        for _ in range(5):
            await websocket.send_text("tick")
        arrived.set()
        assert disconnect() == await reader

    middleware = WebSocketObserveMiddleware(
        app, registry=registry, settings=Settings(log_handler="off")
    )
    await middleware(scope(), receive, send)
    assert 5 == total(registry, "ws_messages_total", direction="out")
    assert 1 == total(registry, "ws_closes_total", code="1000")
