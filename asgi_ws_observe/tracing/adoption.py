"""Living together with whoever else traces the same connection."""

from __future__ import annotations

import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

from opentelemetry.trace import Span, SpanKind

from .attributes import routed_name

__all__ = ["is_adoptable", "keep_native_away", "mended_name", "records_exceptions"]

_NATIVE: Final = "fastapi"
_CONTRIB: Final = "opentelemetry.instrumentation."
#: Instrumentation scopes whose SERVER span is the connection's.
_ADOPTED: Final = frozenset(
    {_NATIVE, *(_CONTRIB + name for name in ("asgi", "fastapi", "starlette"))}
)
_NATIVE_KEY: Final = "fastapi.telemetry"
# A path, which may have spaces and line breaks in it, behind the method or what stands for one.
_PATH_NAME: Final = re.compile(r"(?:\S+ )?(/.*)", re.DOTALL)


def is_adoptable(span: Span) -> bool:
    """Return whether this span is another instrumentation's for the whole connection."""
    return (
        span.is_recording()
        and getattr(span, "kind", None) is SpanKind.SERVER
        and _scope_name(span) in _ADOPTED
    )


def records_exceptions(span: Span) -> bool:
    """Return whether the span's own instrumentation notes exceptions as events."""
    return _scope_name(span).startswith(_CONTRIB)


def keep_native_away(scope: MutableMapping[str, Any]) -> None:
    """Keep FastAPI's own telemetry, further in, from a second span in a second trace.

    FastAPI (0.142 and later) looks for its key in the scope and then does nothing.
    """
    if "fastapi" in sys.modules:
        scope.setdefault(_NATIVE_KEY, None)


def mended_name(span: Span, route: str) -> str | None:
    """Return a better name for an adopted span, `None` where its own says the route.

    opentelemetry-instrumentation-asgi names it by the path as requested, which has as many values
    as clients like; that for Starlette leaves it without a name where no route matches. FastAPI's
    own telemetry never names a path, and its template has the server's root path in front. A name
    that the application chose has no path and stays.
    """
    if _scope_name(span) == _NATIVE:
        return None
    name = str(getattr(span, "name", ""))
    path = _PATH_NAME.fullmatch(name)
    if name and (path is None or path[1] == route):
        return None
    return routed_name("ws.upgrade", route)


def _scope_name(span: Span) -> str:
    return str(getattr(getattr(span, "instrumentation_scope", None), "name", ""))
