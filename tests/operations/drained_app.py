"""An application that drains on request, at the pace and with the code that the request says."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, WebSocket

from asgi_ws_observe import observe
from asgi_ws_observe.drain import Drain

__all__ = ["app", "make_app"]


def make_app() -> FastAPI:
    """Return a new one."""
    drain, app = Drain(), FastAPI()
    observe(app, hooks=[drain])

    @app.post("/drain")
    async def drained(per_second: float, code: int = 1001, timeout: float = 20.0) -> int:
        return await drain.close_all(per_second, code=code, timeout=timeout)

    @app.get("/draining")
    async def draining() -> bool:
        return drain.is_draining

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    @app.websocket("/feed")
    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0.005)

    @app.websocket("/last-words")
    async def last_words(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.receive_text()
        finally:
            await websocket.close()

    return app


app = make_app()
