"""How the library is put on an application, and taken off: `mount_metrics`, `observe`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .exceptions import SettingsError
from .hooks import ConnectionHook
from .metrics.endpoint import MetricsEndpoint
from .middleware import WebSocketObserveMiddleware
from .settings import Settings
from .tracing.http import HTTPTracing

__all__ = ["mount_metrics", "observe", "unobserve"]

_OURS: Final = (WebSocketObserveMiddleware, HTTPTracing)

AppType = TypeVar("AppType", bound=Starlette)


def mount_metrics(
    app: Starlette,
    path: str = "/metrics",
    *,
    settings: Settings | None = None,
    registry: CollectorRegistry | None = None,
) -> None:
    """Serve the metrics on the same application, in front of its other routes, without redirect.

    Calling it again changes nothing.

    Args:
        app: A FastAPI or Starlette application.
        path: Where, starting with a slash.
        settings: Whose `metrics_auth` counts. Default: the middleware's on this application,
            added before or after, else the environment's.
        registry: Which metrics. Default: the middleware's, else prometheus_client's own.

    Raises:
        SettingsError: The path does not start with a slash, another route has it, or the
            environment has a wrong value.
    """
    if not path.startswith("/"):
        raise SettingsError(f"mount_metrics: got path {path!r}; accepted: one that starts with /")
    for route in app.router.routes:
        if getattr(route, "path", None) == path:
            if isinstance(getattr(route, "endpoint", None), _MountedMetrics):
                return
            raise SettingsError(
                f"mount_metrics: got path {path!r}, which {route!r} already serves; accepted: "
                "another path"
            )
    # The environment is read now: a wrong value belongs to the start-up, not to a scrape.
    endpoint = _MountedMetrics(app, settings, registry, Settings())
    app.router.routes.insert(0, Route(path, endpoint, include_in_schema=False, name="metrics"))


class _MountedMetrics:
    """The endpoint that finds out late what the middleware of its application was given."""

    def __init__(
        self,
        app: Starlette,
        settings: Settings | None,
        registry: CollectorRegistry | None,
        default: Settings,
    ) -> None:
        self._app = app
        self._settings = settings
        self._registry = registry
        self._default = default
        self._endpoint: MetricsEndpoint | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The first request comes after the last add_middleware.
        if self._endpoint is None:
            given = _middleware_arguments(self._app) or {}
            settings = self._settings or given.get("settings") or self._default
            registry = self._registry or given.get("registry")
            self._endpoint = MetricsEndpoint(registry, settings.metrics_auth)
        await self._endpoint(scope, receive, send)


def _middleware_arguments(app: Starlette) -> dict[str, Any] | None:
    for middleware in app.user_middleware:
        if _is_a(middleware.cls, WebSocketObserveMiddleware):
            return dict(middleware.kwargs)
    return None


def observe(
    app: AppType,
    *,
    settings: Settings | None = None,
    registry: CollectorRegistry | None = None,
    tracer_provider: TracerProvider | None = None,
    hooks: Iterable[ConnectionHook] = (),
    metrics_path: str | None = "/metrics",
    http: bool = False,
) -> AppType:
    """Add the middleware and mount the metrics; calling it again changes nothing.

    Args:
        app: A FastAPI or Starlette application that has not started.
        settings: Default: from the environment.
        registry: Default: prometheus_client's own.
        tracer_provider: Default: the global one, whenever it is set.
        hooks: Your own `ConnectionHook` objects.
        metrics_path: Where the metrics are served; `None` for nowhere.
        http: Trace HTTP requests as well, with opentelemetry-instrumentation-asgi; those that
            somebody traces already are left alone.

    Returns:
        The application.

    Raises:
        SettingsError: A setting or the path is not accepted.
    """
    if _middleware_arguments(app) is None:
        app.add_middleware(
            WebSocketObserveMiddleware,
            settings=Settings() if settings is None else settings,
            registry=registry,
            tracer_provider=tracer_provider,
            hooks=tuple(hooks),
        )
    traced = any(_is_a(each.cls, HTTPTracing) for each in app.user_middleware)
    if http and not traced:
        app.add_middleware(HTTPTracing, tracer_provider=tracer_provider, metrics_path=metrics_path)
    if metrics_path is not None:
        mount_metrics(app, metrics_path)
    return app


def unobserve(app: Starlette) -> None:
    """Take off an application what `observe` put on it; where there is nothing, nothing happens.

    Args:
        app: A FastAPI or Starlette application, started or not.
    """
    app.user_middleware = [each for each in app.user_middleware if not _is_a(each.cls, *_OURS)]
    app.router.routes[:] = [
        route
        for route in app.router.routes
        if not isinstance(getattr(route, "endpoint", None), _MountedMetrics)
    ]
    if app.middleware_stack is not None:
        app.middleware_stack = app.build_middleware_stack()


def _is_a(cls: Any, *classes: type) -> bool:
    return isinstance(cls, type) and issubclass(cls, classes)
