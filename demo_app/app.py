"""The application: the page, a few facts for it, and the rooms."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, HTTPException, WebSocket
from fastapi.responses import FileResponse

from asgi_ws_observe import Settings, observe

from .bus import Bus, sharing
from .chat import Conversation
from .protocol import CLOSE_CODES, PRIVATE_ROOM, ROOMS
from .rooms import Rooms
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
    """Return the demo; the command line sets the environment variables ``DEMO_APP_...``."""
    workers = int(os.environ.get("DEMO_APP_WORKERS", "1"))
    node = os.environ.get("DEMO_APP_NODE", "node")
    shutdown = export_spans(os.environ.get("DEMO_APP_SPANS", "none"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            # uvicorn ends a worker by its signal, which leaves no time for `atexit`.
            stack.push_async_callback(asyncio.to_thread, shutdown)
            app.state.rooms = rooms = Rooms(node)
            await stack.enter_async_context(rooms.hub)
            app.state.bus = None
            if url := os.environ.get("DEMO_APP_BUS"):
                app.state.bus = await stack.enter_async_context(sharing(url, rooms))
            yield

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

    _serve_page(app)
    _serve_rooms(app, {"pid": os.getpid(), "workers": workers, "node": node})
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


def _serve_rooms(app: FastAPI, facts: dict[str, Any]) -> None:
    @app.get("/about")
    async def about() -> dict[str, Any]:
        rooms: Rooms = app.state.rooms
        bus: Bus | None = app.state.bus
        return {
            **facts,
            # Worker processes of one node are as many nodes of one name.
            "nodes": sorted([rooms.node, *rooms.others.nodes()]),
            "bus": {"system": bus.system if bus else "memory", "up": bus.is_up if bus else True},
            "rooms": dict.fromkeys(ROOMS, 0) | rooms.counts(),
            "private": PRIVATE_ROOM,
        }

    @app.websocket("/rooms/{room}")
    async def join(websocket: WebSocket, room: str) -> None:
        await Conversation(websocket, app.state.rooms, room).run()
