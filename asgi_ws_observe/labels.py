"""Every label value -> a bounded one, and every text from outside -> a harmless one.

A label whose values a client can choose is a way to fill a Prometheus server; a log line that
repeats what a client sent is a way to forge one. Both are closed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final

from starlette.routing import Host, Mount

__all__ = [
    "MAX_ROUTES",
    "OTHER",
    "UNMATCHED",
    "LabelLimiter",
    "as_text",
    "matched_route",
    "route_template",
    "safe_text",
]

#: How many path templates get a label of their own, unless the settings say otherwise.
MAX_ROUTES: Final = 100
#: What stands for every value above a limiter's bound.
OTHER: Final = "other"
#: The route of a connection whose path matches none, or whose application has no routes.
UNMATCHED: Final = "unmatched"

# C0, DEL and C1 controls, the two Unicode line separators, and lone surrogates, which no encoder
# takes: everything that could end a log line, drive a terminal or make an encoder raise.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def as_text(value: object) -> str:
    """Return `str` of a value; the name of its class where that raises."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - an application's own __str__
        return type(value).__name__


def safe_text(text: object, limit: int = 256) -> str:
    r"""Return the text with control characters escaped (``\x1b``) and cut to a length.

    Args:
        text: What came from outside; anything else than a string is converted.
        limit: The largest number of characters returned; a cut text ends in ``…``.
    """
    raw = as_text(text)
    if len(raw) > limit:
        raw = raw[: limit - 1] + "…"
    return _UNSAFE.sub(lambda found: ascii(found.group())[1:-1], raw)[:limit]


class LabelLimiter:
    """Lets the first so many distinct values through and calls the rest ``other``.

    Args:
        limit: The largest number of distinct values, ``other`` not counted.
        on_drop: Called with nothing for each value that is replaced.
        other: What the rest is called.
    """

    __slots__ = ("_limit", "_on_drop", "_other", "_seen")

    def __init__(
        self, limit: int, on_drop: Callable[[], None] | None = None, other: str = OTHER
    ) -> None:
        self._limit = limit
        self._on_drop = on_drop
        self._other = other
        self._seen: dict[str, str] = {}

    def __call__(self, value: str) -> str:
        known = self._seen.get(value)
        if known is not None:
            return known
        if len(self._seen) < self._limit:
            # Cleaned once, when it is first seen.
            self._seen[value] = clean = safe_text(value)
            return clean
        if self._on_drop is not None:
            self._on_drop()
        return self._other


def matched_route(scope: MutableMapping[str, Any]) -> Any | None:
    """Return the route object that the application's router chose, `None` where none matched.

    FastAPI and recent Starlette leave it in ``scope["route"]``. Older Starlette leaves only the
    endpoint, by which it is looked up. A mounted router that matched nothing inside is no match.
    """
    route = scope.get("route")
    if route is None:
        router, endpoint = scope.get("router"), scope.get("endpoint")
        if router is None or endpoint is None:
            return None
        route = _route_of(endpoint, getattr(router, "routes", ()), _routed_path(scope)[0])
    return None if isinstance(route, (Mount, Host)) and route.routes else route


def _route_of(endpoint: Any, routes: Iterable[Any], path: str) -> Any | None:
    for route in routes:
        regex = getattr(route, "path_regex", None)  # a Host has none
        found: Any = None if regex is None else regex.match(path)
        if found is None and regex is not None:
            continue
        below = "/" + found.group("path") if isinstance(route, Mount) else path
        inner = _route_of(endpoint, getattr(route, "routes", None) or (), below)
        if inner is not None:
            return inner
        if getattr(route, "endpoint", getattr(route, "app", None)) == endpoint:
            return route
    return None


def _routed_path(scope: MutableMapping[str, Any]) -> tuple[str, str]:
    """Return what the outermost router saw of the path, and the prefix that mounts took of it."""
    root: str = scope.get("root_path", "")
    outer = len(scope.get("app_root_path", root))
    path: str = scope.get("path", "")
    return path[outer:], root[outer:]


def route_template(scope: MutableMapping[str, Any]) -> str:
    """Return the path template of a routed scope, such as ``/rooms/{room}``.

    A mounted application's template gets the mounts' templates in front.

    Args:
        scope: The ASGI scope after routing (at accept, or at the end).

    Returns:
        The template, or ``unmatched``.
    """
    route = matched_route(scope)
    template = getattr(route, "path_format", None)
    if not isinstance(template, str):
        return UNMATCHED
    # Starlette keeps the prefix of the mounts, with the values of its parameters, in root_path.
    path, prefix = _routed_path(scope)
    mounts = _mounts(getattr(scope.get("router"), "routes", ()), path, prefix)
    # A mounted application that is no router has the mount itself for its route.
    return mounts + ("/{path}" if isinstance(route, Mount) else template)


def _mounts(routes: Iterable[Any], path: str, prefix: str) -> str:
    """Return the templates of the mounts that lead down a prefix of a path.

    They are found as the router found them: the first that matches. Below one whose routes are
    hidden in a wrapper, ``/*`` stands for the rest.
    """
    if not prefix:
        return ""
    for route in routes:
        found = route.path_regex.match(path) if isinstance(route, Mount) else None
        if found is not None:
            rest = "/" + found.group("path")
            matched = path[: -len(rest)]
            if prefix.startswith(matched):
                below = _mounts(route.routes, rest, prefix[len(matched) :])
                return f"{route.path_format.removesuffix('/{path}')}{below}"
    return "/*"
