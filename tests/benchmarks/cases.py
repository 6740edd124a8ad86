"""What is compared at ASGI level: this library's modes, and whatever else one may install."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CollectorRegistry, Counter

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.support import ACCEPT

__all__ = [
    *("CASES", "OURS", "OURS_ALL", "PEER_ALL", "PEER_FEW", "PROOF"),
    *("Case", "Dropped", "Made", "echo", "pass_through"),
]


@dataclass(frozen=True)
class Made:
    """A case, ready to run.

    Attributes:
        app: The application with whatever observes it.
        bare: The same application without.
        spans: Returns how many spans have been finished so far.
    """

    app: Any
    bare: Any
    spans: Callable[[], int] = lambda: 0


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        make: Makes it. Called in a process of its own, since some change the whole process.
        spans: What has spans: ``"none"``, ``"connection"`` (one each), ``"messages"``, or
            ``"some"`` (as many a second as are allowed). The process checks it.
    """

    make: Callable[[], Made]
    spans: str


class Dropped(SpanProcessor):
    """Counts the spans that it is given, and keeps none."""

    def __init__(self) -> None:
        self.number = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.number += 1


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Echo until the client leaves."""
    await receive()
    await send(ACCEPT)
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        if (data := message.get("text")) is not None:
            await send({"type": "websocket.send", "text": data})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


def pass_through(app: Any) -> Any:
    """Wrap receive and send and do nothing: what every middleware pays at least."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def inner_receive() -> Any:
            return await receive()

        async def inner_send(message: Any) -> None:
            await send(message)

        await app(scope, inner_receive, inner_send)

    return wrapped


def _sdk(*, sampled: bool) -> tuple[TracerProvider, Dropped]:
    # Sampled by the SDK's own default.
    provider = TracerProvider() if sampled else TracerProvider(sampler=ALWAYS_OFF)
    dropped = Dropped()
    provider.add_span_processor(dropped)
    return provider, dropped


def _ours(*, sdk: bool = True, sampled: bool = True, **settings: Any) -> Made:
    provider, dropped = _sdk(sampled=sampled) if sdk else (None, Dropped())
    app = WebSocketObserveMiddleware(
        echo,
        registry=CollectorRegistry(),
        settings=Settings(log_handler="off", **settings),
        tracer_provider=provider,
    )
    return Made(app, echo, lambda: dropped.number)


def _opentelemetry(*, sampled: bool = True, **arguments: Any) -> Made:
    provider, dropped = _sdk(sampled=sampled)
    app = OpenTelemetryMiddleware(echo, tracer_provider=provider, **arguments)
    return Made(app, echo, lambda: dropped.number)


def _tutorial() -> Made:
    """Count messages as tutorials show it."""
    counter = Counter("messages", "", ["direction"], registry=CollectorRegistry())

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def inner_receive() -> Any:
            message = await receive()
            counter.labels("in").inc()
            return message

        async def inner_send(message: Any) -> None:
            counter.labels("out").inc()
            await send(message)

        await echo(scope, inner_receive, inner_send)

    return Made(wrapped, echo)


def _fastapi() -> Made:
    fastapi = import_module("fastapi")
    provider, dropped = _sdk(sampled=True)

    def application(**telemetry: Any) -> Any:
        app = fastapi.FastAPI(telemetry=telemetry)

        async def endpoint(websocket: Any) -> None:
            await websocket.accept()
            while True:
                await websocket.send_text(await websocket.receive_text())

        endpoint.__annotations__["websocket"] = fastapi.WebSocket
        app.websocket("/ws")(endpoint)
        return app

    off = {"tracing": False, "metrics": False, "logs": False}
    return Made(application(tracer_provider=provider), application(**off), lambda: dropped.number)


def _ddtrace() -> Made:
    os.environ["DD_INSTRUMENTATION_TELEMETRY_ENABLED"] = "false"
    os.environ["DD_REMOTE_CONFIGURATION_ENABLED"] = "false"
    tracer = import_module("ddtrace.trace").tracer
    number = 0

    class Writer:
        """Takes the place of what writes to the agent, which there is none of."""

        def write(self, spans: Any = None) -> None:
            nonlocal number
            number += len(spans or ())

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    tracer._span_aggregator.writer = Writer()
    app = import_module("ddtrace.contrib.asgi").TraceMiddleware(echo)
    return Made(app, echo, lambda: number)


def _sentry() -> Made:
    sdk = import_module("sentry_sdk")
    transport = import_module("sentry_sdk.transport").Transport
    number = 0

    class Dropping(transport):  # type: ignore[misc, valid-type]
        def capture_envelope(self, envelope: Any) -> None:
            nonlocal number
            number += sum(item.headers.get("type") == "transaction" for item in envelope.items)

    sdk.init(dsn="https://public@sentry.invalid/1", traces_sample_rate=1.0, transport=Dropping)
    app = import_module("sentry_sdk.integrations.asgi").SentryAsgiMiddleware(echo)
    return Made(app, echo, lambda: number)


def _logfire(**arguments: Any) -> Made:
    logfire = import_module("logfire")
    dropped = Dropped()
    logfire.configure(
        send_to_logfire=False, console=False, metrics=False, additional_span_processors=[dropped]
    )
    return Made(logfire.instrument_asgi(echo, **arguments), echo, lambda: dropped.number)


#: Messages of the connection whose spans are counted.
PROOF: Final = 100

OURS: Final = "asgi_ws_observe: metrics and logs, no SDK"
OURS_ALL: Final = "asgi_ws_observe: all messages traced, sampled"
PEER_ALL: Final = "opentelemetry-instrumentation-asgi, sampled"
PEER_FEW: Final = "opentelemetry-instrumentation-asgi, no message spans"

#: Name -> what it is.
CASES: Final[dict[str, Case]] = {
    OURS: Case(lambda: _ours(sdk=False), "none"),
    "asgi_ws_observe: default settings with an SDK, a flood": Case(_ours, "some"),
    "asgi_ws_observe: only slow messages traced": Case(
        lambda: _ours(message_spans="slow"), "connection"
    ),
    "asgi_ws_observe: all messages traced, sampled out": Case(
        lambda: _ours(sampled=False, message_spans="all"), "none"
    ),
    OURS_ALL: Case(lambda: _ours(message_spans="all"), "messages"),
    "asgi_ws_observe: all messages traced, linked": Case(
        lambda: _ours(message_spans="all", connection_span="linked"), "messages"
    ),
    "asgi_ws_observe: all messages and all sends traced": Case(
        lambda: _ours(message_spans="all", send_spans=True), "messages"
    ),
    "the tutorial's Counter.labels().inc() in and out": Case(_tutorial, "none"),
    PEER_FEW: Case(lambda: _opentelemetry(exclude_spans=["receive", "send"]), "connection"),
    "opentelemetry-instrumentation-asgi, sampled out": Case(
        lambda: _opentelemetry(sampled=False), "none"
    ),
    PEER_ALL: Case(_opentelemetry, "messages"),
    "FastAPI's own telemetry": Case(_fastapi, "connection"),
    "ddtrace": Case(_ddtrace, "messages"),
    "sentry-sdk": Case(_sentry, "connection"),
    "logfire": Case(_logfire, "connection"),
    "logfire, record_send_receive": Case(lambda: _logfire(record_send_receive=True), "messages"),
}
