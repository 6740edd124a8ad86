"""WebSockets made by hand, for tests of the hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from asgi_ws_observe import Connection, Settings, WebSocketObserveMiddleware, current_connection
from tests.support import ACCEPT, CONNECT, scope

__all__ = ["Socket", "observed"]


class Socket:
    """A WebSocket that is as slow as a test wants it.

    Attributes:
        ready: While it is not set, `send` waits.
        closable: While it is not set, `close` waits.
        started: How many sends have begun.
        sent: The payloads of those that have returned.
        closes: Code and reason of each `close` that has returned.
        error: What `send` raises.
        close_error: What `close` raises.
        cancelled: How many sends were cancelled.
        stubborn: Whether `send` goes on when it is cancelled.
        at_once: How many sends were under way at the same time, at most.
        connections: The ids of the connections that were current during sends.
    """

    def __init__(self, *, ready: bool = True) -> None:
        self.ready, self.closable = asyncio.Event(), asyncio.Event()
        self.closable.set()
        if ready:
            self.ready.set()
        self.started = self.cancelled = self.at_once = self._under_way = 0
        self.sent: list[str | bytes] = []
        self.closes: list[tuple[int, str | None]] = []
        self.error: BaseException | None = None
        self.close_error: Exception | None = None
        self.stubborn = False
        self.connections: set[str] = set()

    async def send_text(self, data: str) -> None:
        assert isinstance(data, str)
        await self._send(data)

    async def send_bytes(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        await self._send(data)

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        await self.closable.wait()
        if self.close_error is not None:
            raise self.close_error
        self.closes.append((code, reason))

    async def _send(self, data: str | bytes) -> None:
        self.started += 1
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        self.connections.add(current_connection().id)
        try:
            await self._wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._under_way -= 1
        if self.error is not None:
            raise self.error
        self.sent.append(data)

    async def _wait(self) -> None:
        while not self.ready.is_set():
            try:
                await self.ready.wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise


@asynccontextmanager
async def observed(
    registry: CollectorRegistry, **settings: Any
) -> AsyncIterator[Callable[[Callable[[], Awaitable[None]]], Awaitable[Connection]]]:
    """Yield what runs a function inside an observed connection that stays open until the end."""
    over = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def within(work: Callable[[], Awaitable[None]]) -> Connection:
        found: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send(ACCEPT)
            await work()
            found.set_result(current_connection())
            await over.wait()

        async def receive() -> Any:
            if not events:
                await asyncio.Event().wait()
            return events.pop()

        async def send(message: Any) -> None:
            pass

        events = [CONNECT]
        wrapped = WebSocketObserveMiddleware(
            app, registry=registry, settings=Settings(log_handler="off", **settings)
        )
        tasks.append(asyncio.create_task(wrapped(scope(), receive, send)))
        return await found

    try:
        yield within
    finally:
        over.set()
        await asyncio.gather(*tasks)
