"""OpenTelemetry's own middleware, for HTTP only."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.trace import Span, TracerProvider
from opentelemetry.util.http import get_excluded_urls
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..labels import UNMATCHED, route_template
from .adoption import is_adoptable

__all__ = ["HTTPTracing"]


class HTTPTracing:
    """Traces HTTP requests with opentelemetry-instrumentation-asgi, and lets the rest pass.

    A request that somebody traces already, as FastAPI does by itself, passes as well, and so does
    a scrape of the metrics. A span's name gets the path template instead of the path.

    Args:
        app: The ASGI application.
        tracer_provider: Default: the global one.
        metrics_path: Where the metrics are served, `None` for nowhere.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tracer_provider: TracerProvider | None = None,
        metrics_path: str | None = None,
    ) -> None:
        self.app = app
        self._metrics_path = metrics_path
        self._traced = OpenTelemetryMiddleware(
            self._named, excluded_urls=get_excluded_urls("ASGI"), tracer_provider=tracer_provider
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["path"] == self._metrics_path
            or is_adoptable(trace.get_current_span())
        ):
            await self.app(scope, receive, send)
        else:
            await self._traced(scope, receive, send)

    async def _named(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = trace.get_current_span()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                _name(span, scope)
            await send(message)

        await self.app(scope, receive, named)


def _name(span: Span, scope: Scope) -> None:
    route = route_template(scope)
    if span.is_recording() and route != UNMATCHED:
        span.update_name(f"{scope.get('method', 'HTTP')} {route}")
        span.set_attribute("http.route", route)
