"""The ASGI shell: stands between the server and the application and feeds the record."""

from __future__ import annotations

import asyncio
import fnmatch
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .channel import Channel
from .connection import Connection
from .current import enter_connection
from .exceptions import ObserveError
from .hooks import ConnectionHook
from .logs import ConnectionLog
from .metrics import workers
from .metrics.prometheus import numbers_of
from .observation import Observation
from .runtime import Runtime
from .settings import Settings
from .tracing import ConnectionTracing, Continuation
from .transports import attach
from .transports.uvicorn import observations

if TYPE_CHECKING:
    from .metrics.otlp import MetricsPush

__all__ = ["SCOPE_KEY", "WebSocketObserveMiddleware"]

#: Where the scope holds the record; a second middleware further in finds it and steps aside.
SCOPE_KEY = "asgi_ws_observe"


class WebSocketObserveMiddleware:
    """Makes metrics, spans and log lines of every WebSocket of an ASGI application.

    HTTP requests pass untouched. With the lifespan, the middleware starts and stops its own
    periodic work; without one, the first WebSocket starts it.

    Args:
        app: The ASGI application.
        settings: Default: from the environment.
        registry: Where the metrics appear. Default: prometheus_client's own registry.
        tracer_provider: Default: the global one, whenever it is set.
        hooks: Your own `ConnectionHook` objects.

    Raises:
        MissingExtraError: A setting needs a package that is not installed.
        SettingsError: A setting or a hook is not accepted. FastAPI and Starlette build their
            middleware only when the server already runs, and uvicorn takes an exception there for
            an application without a lifespan; then it is reported as a failed start-up instead.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings | None = None,
        registry: CollectorRegistry | None = None,
        tracer_provider: TracerProvider | None = None,
        hooks: Iterable[ConnectionHook] = (),
    ) -> None:
        self.app = app
        self._error: ObserveError | None = None
        try:
            self._build(settings or Settings(), registry, tracer_provider, hooks)
        except ObserveError as error:
            if not _in_event_loop():
                raise
            self._error = error

    def _build(
        self,
        settings: Settings,
        registry: CollectorRegistry | None,
        tracer_provider: TracerProvider | None,
        hooks: Iterable[ConnectionHook],
    ) -> None:
        self.settings = settings
        self._numbers = numbers = numbers_of(registry)
        numbers.take(settings)
        readers: list[ConnectionHook] = []
        if settings.connection_span != "off":
            readers.append(ConnectionTracing(settings, tracer_provider))
            if settings.max_span_seconds is not None:
                readers.append(Continuation(settings.max_span_seconds))
        # After tracing, so that a line has the trace id.
        readers.append(ConnectionLog.of(settings))
        self._observation = Observation(settings, numbers.store, (*readers, *hooks), numbers.errors)
        observations.add(self._observation)
        self._runtime = Runtime.of(numbers.store, numbers.errors, settings)
        self._push: MetricsPush | None = None
        if settings.otlp and settings.enabled:
            # Here, since without it no SDK is needed.
            from .metrics.otlp import MetricsPush

            self._push = MetricsPush.of(registry)
        self._excluded = _compile(settings.excluded_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A coroutine waits here for as long as the connection lasts: one, not two.
        if scope["type"] != "websocket" or not self._observes(scope):
            await self._pass(scope, receive, send)
            return
        error = None
        channel, previous = self._begin(scope, receive, send)
        try:
            if channel.is_limited:
                await _refuse(scope, channel.receive, channel.send)
            else:
                await self.app(scope, channel.receive, channel.send)
        except BaseException as raised:
            error = raised
            raise
        finally:
            channel.end(error)
            enter_connection(previous)

    def _observes(self, scope: Scope) -> bool:
        if self._error is not None or not self.settings.enabled or SCOPE_KEY in scope:
            return False
        return not (self._excluded and self._excluded.match(scope["path"]))

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if self._error is not None:
            await _fail(self._error, kind, send)
        elif kind == "lifespan" and self.settings.enabled:
            await self._lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._start()
            elif message["type"].startswith("lifespan.shutdown."):
                # Servers end right after this.
                if self._push is not None:
                    await self._push.aclose()
                self._stop()
            await send(message)

        try:
            await self.app(scope, receive, told)
        finally:
            self._stop()

    def _start(self) -> None:
        self._runtime.start()
        workers.join(self._numbers)
        if self._push is not None:
            self._push.start()

    def _stop(self) -> None:
        self._runtime.stop()
        workers.leave()

    def _begin(
        self, scope: Scope, receive: Receive, send: Send
    ) -> tuple[Channel, Connection | None]:
        """Return the record of a new connection, and what was current before it."""
        observation = self._observation
        self._start()
        limit = self.settings.max_connections
        full = self.settings.enforce and limit is not None and observation.store.live >= limit
        channel = Channel(observation, scope, receive, send)
        channel.is_limited = full
        scope[SCOPE_KEY] = channel
        previous = enter_connection(channel)
        observation.hooks.call("started", channel)
        if observation.hooks.alive:
            self._runtime.follow(channel)
        if self.settings.probe == "auto":
            channel.probe = attach(
                channel,
                receive,
                send,
                store=observation.store,
                watcher=self._runtime,
                errors=observation.errors,
            )
        return channel, previous


async def _fail(error: ObserveError, kind: str, send: Send) -> None:
    if kind != "lifespan":
        raise error
    await send({"type": "lifespan.startup.failed", "message": str(error)})


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _compile(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a handshake for want of capacity: 503 where the server can, else a close (403)."""
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1013, "reason": "capacity reached"})
        return
    body = b"Service Unavailable: this server is at its limit of WebSocket connections\n"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"5"),
    ]
    await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
