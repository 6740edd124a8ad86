"""The instrumentor: every application, one application, and none any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_ws_observe import Settings, SettingsError, WebSocketObserveMiddleware, observe
from asgi_ws_observe.instrumentor import WebSocketInstrumentor
from tests.support import Spans, get, sample, talk


async def echo(websocket: WebSocket) -> None:
    """Accept, and send every text back."""
    await websocket.accept()
    async for said in websocket.iter_text():
        await websocket.send_text(said)


def application(kind: type[Starlette] = Starlette, **arguments: Any) -> Starlette:
    """Return an application with one WebSocket."""
    app = kind(**arguments)
    app.router.routes.append(WebSocketRoute("/ws", echo))
    return app


async def lives(app: Starlette) -> None:
    """Let an application start and stop, as a server does."""
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return events.pop(0)

    async def send(message: Any) -> None:
        assert message["type"].endswith(".complete")

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


def count(app: Starlette) -> int:
    """Return how many of the library's middlewares an application has."""
    classes: list[Any] = [each.cls for each in app.user_middleware]
    return classes.count(WebSocketObserveMiddleware)


QUIET = Settings(log_handler="off")


@pytest.fixture
def instrumentor(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebSocketInstrumentor]:
    """The instrumentor, undone at the end."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_LOG_HANDLER", "off")
    given = WebSocketInstrumentor()
    yield given
    if given.is_instrumented_by_opentelemetry:
        given.uninstrument()


@pytest.mark.parametrize("lifespan", [True, False])
@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_every_application_is_observed(
    instrumentor: WebSocketInstrumentor, kind: type[Starlette], lifespan: bool
) -> None:
    """Those made before and those made after, when they first run."""
    registry, spans = CollectorRegistry(), Spans()
    before = application(kind)
    instrumentor.instrument(registry=registry, tracer_provider=spans.provider)
    after = application(kind)
    for app in (before, after):
        if lifespan:
            asyncio.run(lives(app))
        talk(app)
        talk(app)
        assert 1 == count(app)
    assert 4 == sample(registry, "ws_connects_total", route="/ws")
    assert 4 == len(spans.named("ws.upgrade /ws"))


def test_fastapis_own_span_is_adopted(instrumentor: WebSocketInstrumentor) -> None:
    """It builds its middleware before the instrumentor gets a chance; there is one span still."""
    registry, spans = CollectorRegistry(), Spans()
    instrumentor.instrument(registry=registry, tracer_provider=spans.provider)
    talk(application(FastAPI, telemetry={"tracer_provider": spans.provider}))
    assert ["WS /ws"] == [span.name for span in spans.all() if span.kind.name == "SERVER"]
    assert 1 == len(spans.named("ws.message"))


def test_mounted_application_is_observed_by_the_outer_one(
    instrumentor: WebSocketInstrumentor,
) -> None:
    """One middleware for a connection, with the whole template for its route."""
    registry = CollectorRegistry()
    instrumentor.instrument(registry=registry)
    inner = application()
    talk(Starlette(routes=[Mount("/below", app=inner)]), "/below/ws")
    assert 0 == count(inner)
    assert 1 == sample(registry, "ws_connects_total", route="/below/ws")


def test_observed_application_is_left_as_it_is(instrumentor: WebSocketInstrumentor) -> None:
    """Who adds the middleware by hand has said what it shall do."""
    mine, registry = CollectorRegistry(), CollectorRegistry()
    instrumentor.instrument(registry=registry)
    app = observe(application(), registry=mine, settings=QUIET)
    talk(app)
    assert 1 == count(app)
    assert 1 == sample(mine, "ws_connects_total", route="/ws")
    assert sample(registry, "ws_connects_total", route="/ws") is None


def test_metrics_are_mounted_only_where_asked_for(
    instrumentor: WebSocketInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the environment here, by an argument elsewhere."""
    instrumentor.instrument(registry=CollectorRegistry())
    assert 404 == get(application(), "/metrics").status_code
    instrumentor.uninstrument()
    monkeypatch.setenv("ASGI_WS_OBSERVE_METRICS_PATH", "/numbers")
    instrumentor.instrument(registry=CollectorRegistry())
    assert 200 == get(application(), "/numbers").status_code


def test_uninstrument_leaves_nothing(instrumentor: WebSocketInstrumentor) -> None:
    """Applications that ran, and Starlette itself, are what they were."""
    original, registry = Starlette.__call__, CollectorRegistry()
    app, never_run = application(), application()
    instrumentor.instrument(registry=registry, metrics_path="/metrics")
    assert 200 == get(app, "/metrics").status_code
    instrumentor.uninstrument()
    for each in (app, never_run):
        talk(each)
        assert 0 == count(each)
        assert 404 == get(each, "/metrics").status_code
    assert sample(registry, "ws_connects_total", route="/ws") is None
    assert original is Starlette.__call__


@pytest.mark.parametrize("started", [True, False])
def test_one_application_is_observed_and_let_go(started: bool) -> None:
    """Before and after it has served; twice is once."""
    registry, app, other = CollectorRegistry(), application(), application()
    if started:
        talk(app)
    for _ in range(2):
        WebSocketInstrumentor.instrument_app(
            app, registry=registry, settings=QUIET, metrics_path="/metrics"
        )
    talk(app)
    talk(other)
    assert 1 == count(app)
    assert 1 == sample(registry, "ws_connects_total", route="/ws")
    assert 200 == get(app, "/metrics").status_code
    WebSocketInstrumentor.uninstrument_app(app)
    talk(app)
    assert 1 == sample(registry, "ws_connects_total", route="/ws")
    assert 404 == get(app, "/metrics").status_code


def test_uninstrument_without_instrument_changes_nothing() -> None:
    """An application that was never looked at."""
    app = application()
    WebSocketInstrumentor.uninstrument_app(app)
    assert app.middleware_stack is None
    talk(app)


def test_wrong_environment_fails_at_once(
    instrumentor: WebSocketInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the first request."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_METRICS_PATH", "metrics")
    with pytest.raises(SettingsError, match=r"Settings\.metrics_path: got 'metrics'"):
        instrumentor.instrument()


def test_entry_point_leads_to_the_instrumentor() -> None:
    """`opentelemetry-instrument` finds it by this."""
    (found,) = entry_points(group="opentelemetry_instrumentor", name="asgi_ws_observe")
    assert WebSocketInstrumentor is found.load()
    (needed,) = WebSocketInstrumentor().instrumentation_dependencies()
    assert needed.startswith("starlette ")
