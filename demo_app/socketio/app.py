"""The application: the page, what it asks for, and Socket.IO beside it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import socketio
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse

import asgi_ws_observe.socketio
from asgi_ws_observe import Settings, observe
from asgi_ws_observe.socketio import instrument_server

from ..protocol import ROOMS
from ..telemetry import export_spans
from .admin import Admin
from .chat import Chat
from .ending import Polls, end_server
from .people import People
from .protocol import ADMIN_TOKEN, INJECTED, PRESENT, TOKEN, WATCHERS
from .seen import Seen
from .store import Store, opened

__all__ = ["create_app"]

#: What writes the library's lines about Socket.IO.
logger: Final = logging.getLogger("asgi_ws_observe.socketio")

#: Where the page's files are: its own, those that it shares with the other page, and the library's
#: helper for clients.
_PLACES: Final = (
    Path(__file__).parent / "page",
    Path(__file__).parent.parent / "page",
    Path(asgi_ws_observe.socketio.__file__).parent / "javascript",
)
_FILES: Final = {
    file.name: file
    for place in reversed(_PLACES)
    if place.is_dir()
    for file in place.iterdir()
    if file.suffix in (".html", ".js", ".css")
}
_HEADERS: Final = {
    "cache-control": "no-cache",
    # The page asks the other nodes what they have seen.
    "content-security-policy": "default-src 'self'; img-src data:; connect-src 'self' ws: wss: "
    "http: https:",
    "x-content-type-options": "nosniff",
}
#: Engine.IO's own 25 s are long for somebody who watches.
_PING: Final = 3


def create_app() -> FastAPI:
    """Return the demo; the command line sets the environment variables ``DEMO_APP_...``."""
    node, url = os.environ.get("DEMO_APP_NODE", "node"), os.environ.get("DEMO_APP_BUS")
    seen = Seen(node)
    shutdown = export_spans(os.environ.get("DEMO_APP_SPANS", "none"), seen.spans)
    facts = {"node": node, "port": int(os.environ.get("DEMO_APP_PORT", "0"))}
    server, people = _create_server(url), People(facts)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, shutdown)
            logger.addHandler(seen.lines)
            stack.callback(logger.removeHandler, seen.lines)
            store = await stack.enter_async_context(opened(url))
            app.state.store = store
            Chat(server, store, people, node).register()
            server.register_namespace(Admin(node))
            stack.push_async_callback(end_server, server)
            telling = asyncio.create_task(people.tell(server, often=bool(url)))
            stack.callback(telling.cancel)
            yield

    # FastAPI's own documentation pages load scripts from elsewhere.
    app = FastAPI(
        title="asgi_ws_observe and Socket.IO",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )

    # This is all that the library needs: the connections below, and Socket.IO on them.
    settings = Settings(node=node)
    observe(app, settings=settings)
    instrument_server(
        server,
        room_category=("room:{name}", "user:{name}", WATCHERS),
        trust_client=True,
        inject_events=INJECTED,
        ignore_events=(PRESENT,),
        settings=settings,
    )

    polls = Polls(socketio.ASGIApp(server, socketio_path=None), server)
    app.mount("/socket.io", polls)
    app.state.end_polls = polls.end
    _serve_page(app)
    _serve_facts(app, facts | {"pid": os.getpid()}, seen)
    return app


def _create_server(url: str | None) -> socketio.AsyncServer:
    manager = socketio.AsyncRedisManager(url, channel="demo_app.socketio") if url else None
    return socketio.AsyncServer(async_mode="asgi", client_manager=manager, ping_interval=_PING)


def _serve_page(app: FastAPI) -> None:
    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(_FILES["index.html"], headers=_HEADERS)

    @app.get("/page/{name}")
    async def asset(name: str) -> FileResponse:
        if name not in _FILES:
            raise HTTPException(404)
        return FileResponse(_FILES[name], headers=_HEADERS)


def _serve_facts(app: FastAPI, facts: dict[str, Any], seen: Seen) -> None:
    @app.get("/about")
    async def about() -> dict[str, Any]:
        store: Store = app.state.store
        return {
            **facts,
            "socketio": version("python-socketio"),
            "bus": {"system": store.system, "up": await store.is_up()},
            "rooms": ROOMS,
            # It is a demo: who opens the page may come in.
            "tokens": {"user": TOKEN, "admin": ADMIN_TOKEN},
        }

    @app.get("/seen")
    async def what_was_seen(request: Request, after: int = 0) -> JSONResponse:
        return JSONResponse(seen.since(after), headers=_for_other_nodes(request))


def _for_other_nodes(request: Request) -> dict[str, str]:
    """Let pages of nodes on the same host read an answer, and no other page."""
    origin = request.headers.get("origin", "")
    host = origin.partition("://")[2].rpartition(":")[0]
    same = bool(host) and host == request.headers.get("host", "").rpartition(":")[0]
    return {"access-control-allow-origin": origin, "vary": "origin"} if same else {}
