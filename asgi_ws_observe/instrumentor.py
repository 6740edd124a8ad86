"""Without a line of code: ``opentelemetry-instrument uvicorn app:app``."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any, ClassVar, Final
from weakref import WeakSet

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from .application import observe, unobserve
from .settings import Settings

__all__ = ["WebSocketInstrumentor"]

#: Set on an application that was looked at.
_LOOKED_AT: Final = "_asgi_ws_observe_instrumented"


class WebSocketInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Puts the middleware on every Starlette and FastAPI application when it first runs.

    `instrument` takes what `asgi_ws_observe.observe` takes. `/metrics` is mounted only where
    `Settings.metrics_path` or ``metrics_path=`` says where: nobody should find an endpoint open
    that no line of theirs asked for.
    """

    _applications: ClassVar[WeakSet[Starlette]] = WeakSet()
    _original: ClassVar[Any] = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what has to be installed for this to make sense."""
        return ("starlette >= 0.40",)

    def _instrument(self, **kwargs: Any) -> None:
        arguments = _arguments(kwargs)
        original: Any = Starlette.__call__
        type(self)._original = original

        @functools.wraps(original)
        async def call(app: Starlette, scope: Scope, receive: Receive, send: Send) -> None:
            # An application inside another one is observed by that.
            if _LOOKED_AT not in vars(app) and scope.get("app") in (None, app):
                self._look_at(app, arguments)
            await original(app, scope, receive, send)

        Starlette.__call__ = call  # type: ignore[method-assign, assignment]

    def _uninstrument(self, **kwargs: Any) -> None:
        Starlette.__call__ = type(self)._original  # type: ignore[method-assign]
        for app in list(self._applications):
            self.uninstrument_app(app)

    @classmethod
    def instrument_app(cls, app: Starlette, **kwargs: Any) -> None:
        """Put the middleware on one application; calling it again changes nothing.

        Args:
            app: A FastAPI or Starlette application, started or not.
            kwargs: What `asgi_ws_observe.observe` takes.

        Raises:
            SettingsError: A setting or the path is not accepted.
        """
        cls._look_at(app, _arguments(kwargs))

    @classmethod
    def uninstrument_app(cls, app: Starlette) -> None:
        """Take the middleware and the metrics off an application again."""
        unobserve(app)
        vars(app).pop(_LOOKED_AT, None)
        cls._applications.discard(app)

    @classmethod
    def _look_at(cls, app: Starlette, arguments: dict[str, Any]) -> None:
        setattr(app, _LOOKED_AT, True)
        cls._applications.add(app)
        # FastAPI builds its middleware before it calls what is patched here.
        built, app.middleware_stack = app.middleware_stack, None
        observe(app, **arguments)
        if built is not None:
            app.middleware_stack = app.build_middleware_stack()


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `observe`; a wrong environment fails now, not with a request."""
    settings = given.get("settings") or Settings()
    names = ("registry", "tracer_provider", "hooks", "http")
    return {
        "settings": settings,
        "metrics_path": given.get("metrics_path", settings.metrics_path),
        **{name: given[name] for name in names if name in given},
    }
