"""HTTP beside WebSockets: OpenTelemetry's own middleware for requests only."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_ws_observe import Settings, observe
from asgi_ws_observe.tracing.http import HTTPTracing
from tests.support import Spans, get, talk


async def item(request: Request) -> Response:
    """Answer with the path's value."""
    return PlainTextResponse(str(request.path_params["item"]))


async def echo(websocket: WebSocket) -> None:
    """Accept, and send every text back."""
    await websocket.accept()
    async for said in websocket.iter_text():
        await websocket.send_text(said)


def routed() -> Starlette:
    """Return an application with a page, a mounted one, and a WebSocket."""
    page = Route("/items/{item}", item)
    routes = [page, Mount("/below", routes=[page]), WebSocketRoute("/ws", echo)]
    return Starlette(routes=routes)


def observed(app: Starlette, spans: Spans, **more: Any) -> Starlette:
    """Observe an application, HTTP included."""
    return observe(
        app,
        http=True,
        settings=Settings(log_handler="off"),
        registry=CollectorRegistry(),
        tracer_provider=spans.provider,
        **more,
    )


def servers(spans: Spans) -> list[tuple[str, str]]:
    """Return names and routes of the spans of kind SERVER."""
    return [
        (span.name, str((span.attributes or {}).get("http.route")))
        for span in spans.all()
        if span.kind.name == "SERVER"
    ]


@pytest.mark.parametrize("prefix", ["", "/below"])
def test_request_is_named_by_its_template(prefix: str) -> None:
    """Not by its path, which has as many values as clients like."""
    spans = Spans()
    assert "7" == get(observed(routed(), spans), f"{prefix}/items/7").text
    template = f"{prefix}/items/{{item}}"
    assert [(f"GET {template}", template)] == servers(spans)


def test_unmatched_request_keeps_opentelemetrys_name() -> None:
    """There is no template to name it by."""
    spans = Spans()
    assert 404 == get(observed(routed(), spans), "/nope").status_code
    assert [("GET /nope", "None")] == servers(spans)


def test_websocket_has_the_librarys_span_only() -> None:
    """OpenTelemetry's middleware never sees it."""
    spans = Spans()
    talk(observed(routed(), spans))
    assert [("ws.upgrade /ws", "/ws")] == servers(spans)
    assert {"ws.upgrade /ws", "ws.message"} == {span.name for span in spans.all()}


def test_scrape_is_not_traced() -> None:
    """Or every scrape interval would be a trace."""
    spans = Spans()
    app = observed(routed(), spans, metrics_path="/numbers")
    assert 200 == get(app, "/numbers").status_code
    assert [] == spans.all()


def test_excluded_urls_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of OpenTelemetry's environment variable."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "items/7")
    spans = Spans()
    app = observed(routed(), spans)
    get(app, "/items/7")
    get(app, "/items/8")
    assert 1 == len(servers(spans))


def test_request_that_fastapi_traces_is_left_alone() -> None:
    """One span of kind SERVER, FastAPI's own."""
    spans = Spans()
    app = FastAPI(telemetry={"tracer_provider": spans.provider})

    @app.get("/items/{item}")
    async def item(item: int) -> int:
        return item

    assert 7 == get(observed(app, spans), "/items/7").json()
    assert [("GET /items/{item}", "/items/{item}")] == servers(spans)


def test_request_that_an_instrumentor_traces_is_left_alone() -> None:
    """The instrumentor's middleware is further out."""
    spans = Spans()
    app = routed()
    observed(app, spans)
    StarletteInstrumentor.instrument_app(app, tracer_provider=spans.provider)
    get(app, "/items/7")
    assert [("GET /items/{item}", "/items/{item}")] == servers(spans)


def test_unsampled_request_stays_unnamed() -> None:
    """A span that records nothing is told nothing."""
    spans = Spans(sampler=ALWAYS_OFF)
    assert "7" == get(observed(routed(), spans), "/items/7").text
    assert [] == spans.all()


def test_http_twice_adds_one_middleware() -> None:
    """`observe` is idempotent; HTTP can be added later."""
    app = routed()
    for http in (False, True, True):
        observe(app, http=http, registry=CollectorRegistry(), settings=Settings(log_handler="off"))
    classes: list[Any] = [each.cls for each in app.user_middleware]
    assert 1 == classes.count(HTTPTracing)
