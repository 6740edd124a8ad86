"""``python -m tests.benchmarks.served MODE IMPLEMENTATION LOOP PORT``: the server measured."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter, process_time
from typing import Any, Final
from urllib.parse import parse_qsl

import uvicorn
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from asgi_ws_observe.metrics.endpoint import MetricsEndpoint
from tests.benchmarks.cases import echo, pass_through
from tests.benchmarks.results import Json
from tests.benchmarks.rooms import Rooms
from tests.benchmarks.steps import clocks

__all__ = [
    "BARE",
    "CLOCKS",
    "DEFAULT",
    "FLOOR",
    "MODES",
    "NO_PROBE",
    "NO_SDK",
    "PEER",
    "Application",
    "Nowhere",
    "serve",
]

BARE: Final = "bare application"
FLOOR: Final = "pass-through wrapper"
CLOCKS: Final = "and four readings of the clock"
NO_PROBE: Final = "asgi_ws_observe: no SDK, without the probe"
NO_SDK: Final = "asgi_ws_observe: no SDK"
DEFAULT: Final = "asgi_ws_observe: default settings with an SDK"
PEER: Final = "opentelemetry-instrumentation-asgi with an SDK"

#: How often the timer that watches the loop is due, seconds.
_TICK: Final = 0.001


class Nowhere(SpanExporter):
    """Takes the batches of spans, as an exporter does, and drops them."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Application:
    """The echo, and what the benchmark asks the process by HTTP."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics = MetricsEndpoint(self.registry)
        self._sends: set[Any] = set()
        self._rooms = Rooms(self.registry)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            while (message := await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": message["type"] + ".complete"})
        elif scope["path"].startswith("/hub/"):
            await self._rooms.talk(scope, receive, send)
        else:
            self._sends.add(send)
            try:
                await echo(scope, receive, send)
            finally:
                self._sends.discard(send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/metrics":
            await self._metrics(scope, receive, send)
            return
        arguments = dict(parse_qsl(scope["query_string"].decode()))
        answers: dict[str, Callable[..., Awaitable[Json]]] = {
            "/open": self._open,
            "/collect": self._collect,
            "/broadcast": self._broadcast,
            "/lag": self._lag,
            "/hub/size": self._rooms.size,
            "/hub/fill": self._rooms.fill,
            "/hub/publish": self._rooms.publish,
        }
        answer = await answers[scope["path"]](**arguments)
        body = json.dumps(answer).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _open(self) -> Json:
        """Tell how many WebSockets the application has."""
        return {"open": len(self._sends)}

    async def _collect(self) -> Json:
        """Collect garbage; tell how much there was."""
        return {"found": gc.collect()}

    async def _broadcast(self) -> Json:
        """Send one message to every connection; tell the seconds and the process's CPU."""
        message = {"type": "websocket.send", "text": "x" * 64}
        started, cpu = perf_counter(), process_time()
        for send in self._sends:
            await send(message)
        return {"seconds": perf_counter() - started, "cpu": process_time() - cpu}

    async def _lag(self, seconds: str) -> Json:
        """Watch the loop; tell the largest lag of each second."""
        lags: dict[int, float] = {}
        began = perf_counter()
        while (now := perf_counter()) - began < float(seconds):
            await asyncio.sleep(_TICK)
            second = int(now - began)
            lags[second] = max(lags.get(second, 0.0), perf_counter() - now - _TICK)
        return {"largest": list(lags.values())}


def _wrapped(app: Application, wrapper: Callable[[Any], Any]) -> Any:
    wrapped = wrapper(app)

    async def websockets_only(scope: Any, receive: Any, send: Any) -> None:
        await (wrapped if scope["type"] == "websocket" else app)(scope, receive, send)

    return websockets_only


def _provider() -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return provider


def _observed(
    app: Application, provider: TracerProvider | None = None, **settings: Any
) -> WebSocketObserveMiddleware:
    # The routes are those of the paths: a bare application has no templates.
    chosen = Settings(route=lambda scope: str(scope["path"]), **settings)
    return WebSocketObserveMiddleware(
        app, settings=chosen, registry=app.registry, tracer_provider=provider
    )


#: Name -> makes of the application what is served.
MODES: Final[dict[str, Callable[[Application], Any]]] = {
    BARE: lambda app: app,
    FLOOR: lambda app: _wrapped(app, pass_through),
    CLOCKS: lambda app: _wrapped(app, clocks),
    NO_PROBE: lambda app: _observed(app, probe="off"),
    NO_SDK: _observed,
    DEFAULT: lambda app: _observed(app, _provider()),
    PEER: lambda app: OpenTelemetryMiddleware(app, tracer_provider=_provider()),
}


def serve(app: Any, implementation: str, loop: str, port: str) -> None:
    """Serve until terminated."""
    uvicorn.run(
        app,
        ws=implementation,
        loop=loop,
        port=int(port),
        log_config=None,
        log_level="warning",
        backlog=4096,
        ws_per_message_deflate=False,
    )


if __name__ == "__main__":
    chosen, *how = sys.argv[1:]
    serve(MODES[chosen](Application()), *how)
