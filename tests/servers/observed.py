"""The application under test with the middleware, for a server in a process of its own.

What a test sets for it is in the environment; the label ``route`` is the path, so that scenarios on
one server are told apart. Log lines are JSON on stderr, whatever a server makes of logging.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_ws_observe import JSONFormatter, Settings, current_connection, observe
from tests.servers.application import application, echo


async def flood(websocket: WebSocket) -> None:
    """Send 64 MiB, which no client reads, and stay."""
    await websocket.accept()
    kept = current_connection()
    flooding.append(kept)
    try:
        for number in itertools.count():
            # Some servers say nothing when a connection has ended.
            if kept.close_code is not None:
                return
            if number < 1024:
                await websocket.send_bytes(b"x" * 65536)
            await asyncio.sleep(0.01 if number >= 1024 else 0)
    finally:
        flooding.remove(kept)


async def deaf(websocket: WebSocket) -> None:
    """Accept, and never ask for a message until all are released."""
    await websocket.accept()
    kept = current_connection()
    while kept.close_code is None and not released:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def slow(websocket: WebSocket) -> None:
    """Take 0.3 seconds for each message."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await asyncio.sleep(0.3)
        await websocket.send_text(text)


async def late(websocket: WebSocket) -> None:
    """Accept after a second."""
    waiting.append(websocket.scope["path"])
    await asyncio.sleep(1)
    await echo(websocket)


async def abort(request: Any) -> Any:
    """Abort every flooding connection and say how many."""
    return PlainTextResponse(str(sum(each.abort() for each in list(flooding))))


async def flooded(request: Any) -> Any:
    """Say how many connections are flooding."""
    return PlainTextResponse(str(len(flooding)))


async def release(request: Any) -> Any:
    """End every handler that never asks for a message."""
    released.append(True)
    return PlainTextResponse("released")


async def waits(request: Any) -> Any:
    """Say which handshakes have been waiting."""
    return PlainTextResponse(" ".join(waiting))


async def pid(request: Any) -> Any:
    """Say which process answers."""
    return PlainTextResponse(str(os.getpid()))


flooding: list[Any] = []
released: list[bool] = []
waiting: list[str] = []
logger = logging.getLogger("asgi_ws_observe")
handler = logging.StreamHandler()
handler.setFormatter(JSONFormatter())
logger.addHandler(handler)
logger.setLevel(logging.INFO)
logger.propagate = False
app = application()
app.router.routes.extend(
    [
        WebSocketRoute("/flood/{name}", flood),
        WebSocketRoute("/deaf/{name}", deaf),
        WebSocketRoute("/slow/{name}", slow),
        WebSocketRoute("/late/{name}", late),
        WebSocketRoute("/rooms/{room}/{rest:path}", echo),
        *(Route(f"/{each.__name__}", each) for each in (abort, flooded, release, waits, pid)),
    ]
)
observe(app, settings=Settings(route=lambda scope: scope["path"], close_codes=[4000, 4321]))
