"""How the library is put on an application: in which order ever, and how often ever."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from asgi_ws_observe import (
    ConnectionHook,
    MetricsEndpoint,
    Settings,
    SettingsError,
    WebSocketObserveMiddleware,
    mount_metrics,
    observe,
)
from asgi_ws_observe.connection import Connection
from tests.support import Spans, get, sample, talk

OFF = Settings(log_handler="off")
CLOSED = Settings(log_handler="off", metrics_auth="s3cret")
TOKEN = {"authorization": "Bearer s3cret"}

either = pytest.mark.parametrize("make_app", [FastAPI, Starlette])


async def answer(websocket: WebSocket) -> None:
    """Accept, answer one message, close."""
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


def page(app: ASGIApp, path: str = "/metrics", **headers: str) -> str:
    """Return what a scrape shows."""
    found = get(app, path, headers)
    assert 200 == found.status_code
    return found.text


def status(app: ASGIApp, path: str = "/metrics", **headers: str) -> int:
    """Return the status of a scrape."""
    return get(app, path, headers).status_code


def metrics_routes(app: Starlette) -> list[Any]:
    """Return the routes called metrics."""
    return [route for route in app.router.routes if getattr(route, "name", None) == "metrics"]


@either
def test_observe_does_everything(
    make_app: type[Starlette], registry: CollectorRegistry, spans: Spans
) -> None:
    """One call counts, traces and serves."""
    app = make_app()
    app.router.routes.append(WebSocketRoute("/rooms/{room}", answer))
    found = observe(app, settings=OFF, registry=registry, tracer_provider=spans.provider)
    talk(app, "/rooms/7")
    assert app is found
    assert 'ws_connects_total{route="/rooms/{room}"} 1.0\n' in page(app)
    assert ["ws.message", "ws.upgrade /rooms/{room}"] == [span.name for span in spans.all()]


def test_observe_takes_hooks_from_an_iterator(registry: CollectorRegistry) -> None:
    """Hooks may come from a generator, though Starlette keeps arguments and builds later."""
    seen: list[str] = []

    class Hook(ConnectionHook):
        def opened(self, connection: Connection) -> None:
            seen.append(connection.route)

    app = FastAPI()
    app.add_api_websocket_route("/ws", answer)
    observe(app, settings=OFF, registry=registry, hooks=(hook for hook in [Hook()]))
    # Whoever looks at the stack builds it once more than the server does.
    app.build_middleware_stack()
    talk(app)
    assert ["/ws"] == seen


@either
def test_observe_twice_changes_nothing(
    make_app: type[Starlette], registry: CollectorRegistry
) -> None:
    """A second call adds neither a middleware nor a route, and no message counts twice."""
    app = make_app()
    app.router.routes.append(WebSocketRoute("/ws", answer))
    observe(app, settings=OFF, registry=registry)
    observe(app, settings=Settings(log_handler="off", enabled=False), registry=registry)
    talk(app)
    assert 1 == len(app.user_middleware)
    assert 1 == len(metrics_routes(app))
    assert 1 == sample(registry, "ws_messages_total", route="/ws", direction="in")


@pytest.mark.parametrize("settings", [None, OFF])
def test_observe_after_add_middleware_keeps_it(
    registry: CollectorRegistry, settings: Settings | None
) -> None:
    """The middleware that is there stays as it is, and its registry is served."""
    app = FastAPI()
    app.add_middleware(WebSocketObserveMiddleware, settings=CLOSED, registry=registry)
    observe(app, settings=settings)
    assert 1 == len(app.user_middleware)
    assert 401 == status(app)
    assert "ws_observe_info" in page(app, **TOKEN)


def test_observe_after_mount_metrics_keeps_the_route(registry: CollectorRegistry) -> None:
    """The route that is there stays the only one."""
    app = FastAPI()
    mount_metrics(app)
    observe(app, settings=CLOSED, registry=registry)
    assert 1 == len(metrics_routes(app))
    assert 401 == status(app)


def test_observe_reads_the_environment(
    monkeypatch: pytest.MonkeyPatch, registry: CollectorRegistry
) -> None:
    """Without settings the environment's count, when `observe` is called."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_METRICS_AUTH", "s3cret")
    app = observe(FastAPI(), registry=registry)
    monkeypatch.delenv("ASGI_WS_OBSERVE_METRICS_AUTH")
    assert 401 == status(app)


def test_observe_raises_for_a_wrong_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value stops the start-up where the library is put on, not at the first request."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_MAX_ROUTES", "many")
    app = FastAPI()
    with pytest.raises(SettingsError, match="max_routes: got 'many' from the environment"):
        observe(app)
    assert [] == app.user_middleware


def test_observe_serves_at_another_path(registry: CollectorRegistry) -> None:
    """The path is a choice."""
    app = observe(FastAPI(), settings=OFF, registry=registry, metrics_path="/internal/metrics")
    assert "ws_observe_info" in page(app, "/internal/metrics")
    assert 404 == status(app)


@either
def test_mount_twice_changes_nothing(
    make_app: type[Starlette], registry: CollectorRegistry
) -> None:
    """A second call adds no route and does not change what the first one serves."""
    app = make_app()
    mount_metrics(app, registry=registry, settings=CLOSED)
    mount_metrics(app, registry=CollectorRegistry(), settings=OFF)
    assert 1 == len(metrics_routes(app))
    assert 401 == status(app)


def test_mount_at_two_paths_serves_both(registry: CollectorRegistry) -> None:
    """Another path is another route."""
    app = FastAPI()
    mount_metrics(app, registry=registry)
    mount_metrics(app, "/internal/metrics", registry=registry)
    assert "ws_observe_info" in page(app)
    assert "ws_observe_info" in page(app, "/internal/metrics")


@either
@pytest.mark.parametrize("order", ["mount first", "middleware first"])
def test_settings_of_the_middleware_close_the_route(
    make_app: type[Starlette], registry: CollectorRegistry, order: str
) -> None:
    """The middleware's `metrics_auth` closes the page, added before or after."""
    app = make_app()
    if order == "mount first":
        mount_metrics(app)
    app.add_middleware(WebSocketObserveMiddleware, settings=CLOSED, registry=registry)
    if order == "middleware first":
        mount_metrics(app)
    assert (401, 200) == (status(app), status(app, **TOKEN))


def test_settings_of_the_mount_win(registry: CollectorRegistry) -> None:
    """A token given to `mount_metrics` counts before the middleware's."""
    app = FastAPI()
    app.add_middleware(WebSocketObserveMiddleware, settings=CLOSED, registry=registry)
    mount_metrics(app, settings=Settings(log_handler="off", metrics_auth="another"))
    assert 401 == status(app, **TOKEN)
    assert 200 == status(app, authorization="Bearer another")


def test_environment_closes_the_route(
    monkeypatch: pytest.MonkeyPatch, registry: CollectorRegistry
) -> None:
    """Without a middleware the environment's token counts."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_METRICS_AUTH", "s3cret")
    app = FastAPI()
    mount_metrics(app, registry=registry)
    assert (401, 200) == (status(app), status(app, **TOKEN))


def test_open_by_default(registry: CollectorRegistry) -> None:
    """Without a token the page is open, as Prometheus expects."""
    app = FastAPI()
    mount_metrics(app, registry=registry)
    assert 200 == status(app)


@pytest.mark.parametrize("order", ["mount first", "middleware first"])
def test_registry_of_the_middleware_is_found(registry: CollectorRegistry, order: str) -> None:
    """The page shows the registry that the middleware counts into."""
    Counter("jobs", "Somebody else's.", registry=registry)
    app = FastAPI()
    if order == "mount first":
        mount_metrics(app)
    app.add_middleware(WebSocketObserveMiddleware, settings=OFF, registry=registry)
    if order == "middleware first":
        mount_metrics(app)
    assert "jobs_total 0.0\n" in page(app)


def test_middleware_is_found_among_others(registry: CollectorRegistry) -> None:
    """Other middlewares on the application do not hide ours."""

    class Other:
        def __init__(self, app: ASGIApp, settings: str) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    app = FastAPI()
    app.add_middleware(WebSocketObserveMiddleware, settings=CLOSED, registry=registry)
    app.add_middleware(Other, settings="its own")
    mount_metrics(app)
    assert 401 == status(app)


def test_default_registry_is_that_of_prometheus_client() -> None:
    """Without any registry the page shows prometheus_client's own."""
    app = FastAPI()
    mount_metrics(app)
    assert "python_info{" in page(app)


@either
def test_path_of_another_route_is_refused(make_app: type[Starlette]) -> None:
    """A path that something else serves is not taken away from it."""

    async def theirs(request: Request) -> PlainTextResponse:
        return PlainTextResponse("theirs")

    app = make_app()
    app.router.routes.append(Route("/metrics", theirs))
    with pytest.raises(SettingsError, match=r"got path '/metrics', which .*theirs.* serves"):
        mount_metrics(app)
    assert "theirs" == page(app)


def test_path_of_a_mount_is_refused() -> None:
    """A mounted application, such as `make_asgi_app()`, counts as another route."""
    app = FastAPI()
    app.mount("/metrics", Starlette())
    with pytest.raises(SettingsError, match="another path"):
        observe(app, settings=OFF, registry=CollectorRegistry())


@pytest.mark.parametrize("path", ["metrics", "", "http://example.org/metrics"])
def test_path_without_slash_is_refused(path: str) -> None:
    """A path starts with a slash; the error says what it got."""
    app = FastAPI()
    routes = list(app.router.routes)
    with pytest.raises(SettingsError, match=rf"got path '{path}'; accepted: one that starts"):
        mount_metrics(app, path)
    assert routes == app.router.routes


@pytest.mark.parametrize("kind", ["route", "mount"])
def test_catch_all_does_not_shadow_the_page(registry: CollectorRegistry, kind: str) -> None:
    """A route for everything, registered earlier, leaves the page reachable."""

    async def everything(request: Request) -> PlainTextResponse:
        return PlainTextResponse("everything")

    route = Route("/{path:path}", everything)
    app = Starlette(routes=[route if kind == "route" else Mount("/", routes=[route])])
    mount_metrics(app, registry=registry)
    assert "ws_observe_info" in page(app)
    assert "everything" == page(app, "/other")


def test_openapi_does_not_list_the_page(registry: CollectorRegistry) -> None:
    """The page is no part of the application's interface."""
    app = FastAPI()

    @app.get("/items")
    async def items() -> list[str]:
        return []

    observe(app, settings=OFF, registry=registry)
    assert {"/items"} == set(app.openapi()["paths"])
    assert [False] == [route.include_in_schema for route in metrics_routes(app)]


def test_page_changes_no_series_of_its_own(registry: CollectorRegistry) -> None:
    """Scraping is HTTP, and no WebSocket."""
    app = observe(FastAPI(), settings=OFF, registry=registry)
    page(app)
    assert "route=" not in page(app)


def test_bare_asgi_application_uses_the_endpoint(registry: CollectorRegistry) -> None:
    """Without a framework the same two pieces are put together by hand."""
    endpoint = MetricsEndpoint(registry)

    async def websocket(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        await send({"type": "websocket.close"})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inner = endpoint if scope["type"] == "http" else websocket
        await inner(scope, receive, send)

    observed = WebSocketObserveMiddleware(app, settings=OFF, registry=registry)
    talk(observed)
    assert 'ws_connects_total{route="unmatched"} 1.0\n' in page(observed)


def test_mount_metrics_checks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value belongs to the start-up, not to the first scrape."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_METRICS_AUTH", "é")
    with pytest.raises(SettingsError, match="metrics_auth"):
        mount_metrics(Starlette(), registry=CollectorRegistry())


def test_subclass_of_the_middleware_is_found() -> None:
    """`observe` adds no second one beside it."""

    class Mine(WebSocketObserveMiddleware):
        pass

    app = Starlette()
    app.add_middleware(Mine, settings=CLOSED, registry=CollectorRegistry())
    observe(app)
    assert 1 == len(app.user_middleware)
