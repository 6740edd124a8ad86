"""The application under test: an echo that does on command what applications do."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import WebSocketException
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket


class Trouble(Exception):
    """What the application raises on command."""


async def echo(websocket: WebSocket) -> None:
    """Echo messages; ``close N``, ``raise``, ``return`` and ``policy`` end the connection."""
    await websocket.accept()
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text") or ""
        if text.startswith("close "):
            await websocket.close(int(text.split()[1]), "as you wish")
            return
        if text == "raise":
            raise Trouble
        if text == "policy":
            raise WebSocketException(1008, "no")
        if text == "return":
            return
        if text.startswith("sleep "):
            await asyncio.sleep(float(text.split()[1]))
        await websocket.send({**message, "type": "websocket.send"})


async def disconnect_raises(websocket: WebSocket) -> None:
    """Echo as tutorials do: the client's leaving is a `WebSocketDisconnect` that nobody catches."""
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


async def sender(websocket: WebSocket) -> None:
    """Only send, as a ticker does: never ask for a message."""
    await websocket.accept()
    while True:
        await websocket.send_text("tick")
        await asyncio.sleep(0.01)


async def rejected(websocket: WebSocket) -> None:
    """Close before accept."""
    await websocket.close()


async def denied(websocket: WebSocket) -> None:
    """Answer the handshake with a response."""
    await websocket.send_denial_response(PlainTextResponse("slow down", 429))


async def broken(websocket: WebSocket) -> None:
    """Raise before accept."""
    raise Trouble


async def silent(websocket: WebSocket) -> None:
    """Return before accept."""


async def subprotocol(websocket: WebSocket) -> None:
    """Accept with a subprotocol and close."""
    await websocket.accept(subprotocol="chat.v2")
    await websocket.close(1001)


async def early(scope: Any, receive: Any, send: Any) -> None:
    """Accept before asking for ``websocket.connect``, and end without a close."""
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "bytes": b"first", "text": None})
    await receive()


def application() -> Starlette:
    """Return the application, without the middleware."""
    endpoints = (
        *(disconnect_raises, sender, rejected, denied, broken, silent, subprotocol),
        early,
    )
    return Starlette(
        routes=[
            WebSocketRoute("/rooms/{room}", echo),
            *(WebSocketRoute(f"/{each.__name__}", each) for each in endpoints),
        ]
    )
