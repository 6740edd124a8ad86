"""The application: the page, a few facts for it, and the rooms."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, HTTPException, WebSocket
from fastapi.responses import FileResponse

from asgi_ws_observe import Settings, observe

from .chat import Conversation
from .hub import Hub, MemoryHub
from .protocol import CLOSE_CODES, PRIVATE_ROOM, ROOMS
from .telemetry import export_spans

__all__ = ["create_app"]

_PAGE: Final = Path(__file__).parent / "page"
_FILES: Final = frozenset(file.name for file in _PAGE.iterdir())
_HEADERS: Final = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; img-src data:; connect-src 'self' ws: wss:",
    "x-content-type-options": "nosniff",
}


def create_app() -> FastAPI:
    """Return the demo; ``DEMO_APP_WORKERS`` and ``DEMO_APP_SPANS`` come from the command line."""
    workers = int(os.environ.get("DEMO_APP_WORKERS", "1"))
    shutdown = export_spans(os.environ.get("DEMO_APP_SPANS", "none"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        # uvicorn ends a worker by its signal, which leaves no time for `atexit`.
        await asyncio.to_thread(shutdown)

    # FastAPI's own documentation pages load scripts from elsewhere.
    app = FastAPI(
        title="asgi_ws_observe demo",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )

    # This is all that the library needs.
    observe(app, settings=Settings(close_codes=tuple(CLOSE_CODES)))

    hub = MemoryHub()
    _serve_page(app)
    _serve_rooms(app, hub, {"pid": os.getpid(), "workers": workers})
    return app


def _serve_page(app: FastAPI) -> None:
    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(_PAGE / "index.html", headers=_HEADERS)

    @app.get("/page/{name}")
    async def asset(name: str) -> FileResponse:
        if name not in _FILES:
            raise HTTPException(404)
        return FileResponse(_PAGE / name, headers=_HEADERS)


def _serve_rooms(app: FastAPI, hub: Hub, facts: dict[str, Any]) -> None:
    @app.get("/about")
    async def about() -> dict[str, Any]:
        rooms = dict.fromkeys(ROOMS, 0) | hub.rooms()
        return {**facts, "rooms": rooms, "private": PRIVATE_ROOM}

    @app.websocket("/rooms/{room}")
    async def join(websocket: WebSocket, room: str) -> None:
        await Conversation(websocket, hub, room).run()
