"""A python-socketio server that nobody instruments: it keeps what comes, and does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import socketio

from tests.servers.harness import serving

#: Where it takes connections; `CLOSED` refuses them.
NAMESPACES: Final = ("/", "/chat")
CLOSED: Final = "/closed"
NO_FILES: Final[Mapping[str, Any]] = {}


class PlainServer:
    """What a server saw.

    Attributes:
        url: Where it is.
        headers: The ``traceparent`` of each connection, `None` where it had none.
        requests: The other headers of each connection, as a WSGI environment has them.
        auth: What each client connected with.
        events: The namespace, the name and the arguments of each event.
        answers: What clients answered when it asked.
    """

    def __init__(self) -> None:
        self.url = ""
        self.headers: list[str | None] = []
        self.requests: list[dict[str, Any]] = []
        self.auth: list[Any] = []
        self.events: list[tuple[Any, ...]] = []
        self.answers: list[Any] = []
        self.socketio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        for namespace in (*NAMESPACES, CLOSED):
            self._register(namespace)

    def args(self, event: str) -> list[list[Any]]:
        """Return the arguments of each event of this name."""
        return [list(args) for _, name, *args in self.events if name == event]

    def clear(self) -> None:
        """Forget what it saw."""
        for seen in (self.headers, self.requests, self.auth, self.events, self.answers):
            seen.clear()

    def release(self) -> None:
        """Let the handlers return that never answer."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._over.set)

    def _register(self, namespace: str) -> None:
        async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
            if namespace == CLOSED:
                raise socketio.exceptions.ConnectionRefusedError("closed")
            self._loop = asyncio.get_running_loop()
            self.requests.append(environ)
            self.headers.append(environ.get("HTTP_TRACEPARENT"))
            self.auth.append(auth)

        async def echo(sid: str, *args: Any) -> Any:
            self.events.append((namespace, "echo", *args))
            return args

        async def silent(sid: str, *args: Any) -> None:
            self.events.append((namespace, "silent", *args))
            await self._over.wait()

        async def tell(sid: str, event: str, args: list[Any], *_: Any) -> None:
            await self.socketio.emit(event, tuple(args), to=sid, namespace=namespace)

        async def ask(sid: str, event: str, args: list[Any], *_: Any) -> None:
            answer = await self.socketio.call(event, tuple(args), to=sid, namespace=namespace)
            self.answers.append(answer)

        async def leave(sid: str, *_: Any) -> None:
            await self.socketio.disconnect(sid, namespace=namespace)

        async def anything(event: str, sid: str, *args: Any) -> Any:
            self.events.append((namespace, event, *args))
            return args

        for handler in (connect, echo, silent, tell, ask, leave):
            self.socketio.on(handler.__name__, handler, namespace=namespace)
        self.socketio.on("*", anything, namespace=namespace)


@contextmanager
def plain_server(files: Mapping[str, Any] = NO_FILES) -> Iterator[PlainServer]:
    """Serve it on a free port, under uvicorn.

    Args:
        files: URLs of files, or of folders, that it has as well.
    """
    server = PlainServer()
    app = socketio.ASGIApp(server.socketio, static_files=dict(files))
    with serving(app, "websockets-sansio") as address:
        server.url = f"http://{address}"
        yield server
        server.release()
