"""One node of several that serves Socket.IO: what a client says is done.

From the environment: ``SIO_SPANS`` is a file that gets a line of JSON for each span, ``SIO_LAST``
one that gets the metrics when the node ends; ``SIO_BUS`` is Redis's URL, empty for none; with
``SIO_PLAIN`` nothing is observed.

It has several servers: ``main`` at the root, ``quick`` with little patience, ``bare`` the same
outside of the middleware, and ``wild``, which takes every namespace.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import socketio
from fastapi import FastAPI, WebSocket
from prometheus_client import CollectorRegistry, generate_latest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.types import Receive, Scope, Send

from asgi_ws_observe import Settings, WebSocketObserveMiddleware, mount_metrics
from asgi_ws_observe.socketio import bus, instrument_server
from tests.servers.span_file import provider_of

__all__ = ["SERVERS", "app"]

IS_PLAIN: Final = bool(os.environ.get("SIO_PLAIN"))
SETTINGS: Final = Settings(log_handler="off")
# What is late by less is not lost; nobody waits for the usual 5 seconds here.
bus.GRACE = 0.5  # type: ignore[misc]


class Desk:
    """The handlers of one server.

    Args:
        sio: The server.
    """

    def __init__(self, sio: Any) -> None:
        self._sio = sio
        for name in ("connect", "disconnect", "echo", "join", "say", "ask", "kick", "leave"):
            sio.on(name, getattr(self, name))
        for name in ("explode", "linger", "flood", "tell"):
            sio.on(name, getattr(self, name))
        sio.on("*", self.any, namespace="/any")
        sio.register_namespace(Private("/private"))

    async def connect(self, sid: str, environ: Any, auth: Any = None) -> bool | None:
        """Do as the client says: let it in, refuse it, or fail."""
        wish = auth.get("wish") if isinstance(auth, dict) else None
        if wish == "refuse":
            raise socketio.exceptions.ConnectionRefusedError("no room for you")
        if wish == "explode":
            raise RuntimeError("the connect handler fails")
        return False if wish == "deny" else None

    async def disconnect(self, sid: str, reason: str = "") -> None:
        """Keep what the library says."""
        told.append(reason)

    async def echo(self, sid: str, *args: Any) -> tuple[Any, ...]:
        """Acknowledge with what the client said."""
        return args

    async def join(self, sid: str, room: str) -> None:
        """Put the client into a room."""
        await self._sio.enter_room(sid, room)

    async def leave(self, sid: str, room: str) -> None:
        """Take the client out of a room."""
        await self._sio.leave_room(sid, room)

    async def say(self, sid: str, room: str, text: str) -> None:
        """Tell all in a room."""
        await self._sio.emit("said", text, room=room)

    async def tell(self, sid: str, whom: str | None, *what: Any) -> None:
        """Tell one client, or all."""
        await self._sio.emit("said", what, to=whom)

    async def ask(self, sid: str, whom: str, patience: float) -> str:
        """Ask another client, and say what it answers."""
        try:
            return str(await self._sio.call("question", "colour?", to=whom, timeout=patience))
        except socketio.exceptions.TimeoutError:
            return "nobody answers"

    async def kick(self, sid: str, whom: str) -> None:
        """Throw a client out."""
        await self._sio.disconnect(whom)

    async def explode(self, sid: str) -> None:
        """Fail."""
        raise KeyError("the handler fails")

    async def linger(self, sid: str, seconds: float) -> str:
        """Take a while."""
        await asyncio.sleep(seconds)
        return "done"

    async def flood(self, sid: str, number: int) -> None:
        """Send the client so many times 64 KiB."""
        for _ in range(number):
            await self._sio.emit("noise", "x" * 65536, to=sid)

    async def any(self, event: str, sid: str, *args: Any) -> str:
        """Take whatever comes."""
        return f"any {event}"


class Private(socketio.AsyncNamespace):  # type: ignore[misc]
    """A namespace as a class."""

    async def on_hello(self, sid: str) -> str:
        """Greet."""
        return "hello"


#: What the library told the disconnect handlers.
told: list[str] = []
provider = provider_of(os.environ["SIO_SPANS"])


def trust(environ: Any) -> Any:
    """Believe those who ask for it in the query string."""
    query = environ["QUERY_STRING"]
    return "never" if "trust=never" in query else "trust=yes" in query


def made(**settings: Any) -> Any:
    """Return a server that serves, and is observed."""
    sio = socketio.AsyncServer(async_mode="asgi", **settings)
    Desk(sio)
    if not IS_PLAIN:
        instrumented.append(
            instrument_server(
                sio,
                tracer_provider=provider,
                trust_client=trust,
                inject_events=["said"],
                event_spans="all",
            )
        )
    return sio


def manager() -> Any:
    """Return what joins this node with others, `None` where it is alone."""
    url = os.environ.get("SIO_BUS")
    # redis-py's own patience would only be waited for.
    options = {"retry": Retry(NoBackoff(), 0), "socket_timeout": 5}
    return socketio.AsyncRedisManager(url, redis_options=options) if url else None


instrumented: list[Any] = []
#: By name.
SERVERS: Final = {
    "main": made(client_manager=manager(), ping_interval=0.3, ping_timeout=20),
    "quick": made(ping_interval=0.2, ping_timeout=0.8),
    "bare": made(ping_interval=0.2, ping_timeout=0.8),
    "wild": made(namespaces="*"),
}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Keep the metrics of the very end."""
    yield
    keep(generate_latest())


def keep(metrics: bytes) -> None:
    """Write the last metrics into their file."""
    Path(os.environ["SIO_LAST"]).write_bytes(metrics)


api = FastAPI(lifespan=lifespan, telemetry={"tracing": False})
if not IS_PLAIN:
    api.add_middleware(WebSocketObserveMiddleware, tracer_provider=provider)
mount_metrics(api)


@api.get("/told")
async def tell() -> list[str]:
    """Return what the disconnect handlers were told."""
    return told


@api.get("/gone")
async def gone() -> list[str]:
    """Return the clients in the tables whose transport is gone."""
    return [
        sid
        for sio in SERVERS.values()
        for rooms in sio.manager.rooms.values()
        for sid, eio_sid in rooms.get(None, {}).items()
        if eio_sid not in sio.eio.sockets or sio.eio.sockets[eio_sid].closed
    ]


@api.get("/uninstrument")
async def uninstrument() -> None:
    """Observe nothing any more."""
    for each in instrumented:
        each.uninstrument()


@api.get("/restored")
async def restored() -> dict[str, list[str]]:
    """Return what observing changes of a new server, and what of that stays afterwards."""
    sio = socketio.AsyncServer(async_mode="asgi", client_manager=manager())
    Desk(sio)
    before = state(sio)
    observed = instrument_server(sio, registry=CollectorRegistry(), settings=SETTINGS)
    changed = state(sio)
    observed.uninstrument()
    left = state(sio)
    keys = {*before, *changed, *left}
    return {
        "changed": sorted(key for key in keys if changed.get(key) is not before.get(key)),
        "left": sorted(key for key in keys if left.get(key) is not before.get(key)),
    }


def state(sio: Any) -> dict[str, Any]:
    """Return all that a server, its manager and its engine consist of, by a name."""
    parts = {"server": sio, "manager": sio.manager, "engine": sio.eio}
    found = {
        f"{part}.{key}": each for part, one in parts.items() for key, each in one.__dict__.items()
    }
    return found | {f"handler.{key}": each for key, each in sio.eio.handlers.items()}


@api.get("/ours")
async def ours() -> list[str]:
    """Return what of ours is in the servers that serve."""
    return sorted(
        {
            key
            for sio in SERVERS.values()
            for key, each in state(sio).items()
            if "asgi_ws_observe" in f"{type(each).__module__} {getattr(each, '__module__', '')}"
        }
    )


@api.get("/sockets")
async def sockets() -> list[str]:
    """Return the classes of all sessions of Engine.IO."""
    return sorted(
        {type(each).__name__ for sio in SERVERS.values() for each in sio.eio.sockets.values()}
    )


@api.get("/memory")
async def memory() -> dict[str, int]:
    """Return the bytes allocated since this was asked first: by our own code, and by all."""
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    gc.collect()
    taken = tracemalloc.take_snapshot()
    ours = taken.filter_traces([tracemalloc.Filter(True, "*/asgi_ws_observe/*")])
    every, _ = tracemalloc.get_traced_memory()
    return {"ours": sum(each.size for each in ours.statistics("filename")), "all": every}


@api.websocket("/plain")
async def plain(websocket: WebSocket) -> None:
    """Echo, with nothing of Socket.IO."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


for name in ("quick", "wild"):
    api.mount(f"/{name}", socketio.ASGIApp(SERVERS[name], socketio_path=f"/{name}/socket.io"))
api.mount("/", socketio.ASGIApp(SERVERS["main"]))
outside = socketio.ASGIApp(SERVERS["bare"], socketio_path="/bare/socket.io")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one server without the middleware, and all else with it."""
    is_bare = scope["type"] != "lifespan" and scope["path"].startswith("/bare/")
    await (outside if is_bare else api)(scope, receive, send)
