"""How a Socket.IO server ends without leaving anything behind, nor letting anybody wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import socketio
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Polls", "end_server"]

#: How long polls that were answered may take to end, seconds.
_PATIENCE: Final = 0.2


class Polls:
    """The ASGI application of a Socket.IO server, whose long polls can be ended.

    A web server that ends waits for its requests; a poll can take as long as two pings, even where
    its client is gone.

    Args:
        app: The application.
        server: Its Socket.IO server.
    """

    def __init__(self, app: ASGIApp, server: socketio.AsyncServer) -> None:
        self._app = app
        self._server = server
        self._running: set[asyncio.Task[Any]] = set()
        self._is_ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return
        self._running.add(task)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
            # Nobody waits for this answer: the client had left before it was due.
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._running.discard(task)

    async def end(self) -> None:
        """Answer all polls; WebSockets the web server ends itself, with a code that says why."""
        self._is_ending = True
        for socket in list(self._server.eio.sockets.values()):
            if not socket.upgraded:
                with suppress(Exception):
                    await socket.close(wait=False)
        if self._running:
            await asyncio.wait(set(self._running), timeout=_PATIENCE)
        for task in self._running:
            task.cancel()


async def end_server(server: socketio.AsyncServer) -> None:
    """End what a server does in the background."""
    await server.shutdown()
    listener = getattr(server.manager, "thread", None)
    if isinstance(listener, asyncio.Task):
        listener.cancel()
        await asyncio.wait({listener}, timeout=1)
    redis: Any = getattr(server.manager, "redis", None)
    if redis is not None:
        with suppress(Exception):
            await redis.aclose()
