"""What all connections of one middleware share."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from random import getrandbits
from typing import Any

from .close_codes import CloseCodes
from .hooks import ConnectionHook, Hooks, OwnErrors
from .labels import route_template, safe_text
from .settings import Settings
from .store import RouteNumbers, Store

__all__ = ["Observation"]


class Observation:
    """What all connections of one middleware share.

    Args:
        settings: The middleware's settings.
        store: Where the numbers go.
        hooks: The built-in readers and the user's hooks, in the order in which they are called.
        errors: Where failures of the library's own parts go.

    Raises:
        SettingsError: A hook is none, or has a coroutine function for a method.
    """

    __slots__ = (
        "__weakref__",
        "_make_id",
        "_max_routes",
        "_route",
        "codes",
        "errors",
        "hooks",
        "store",
    )

    def __init__(
        self,
        settings: Settings,
        store: Store,
        hooks: Iterable[ConnectionHook],
        errors: OwnErrors,
    ) -> None:
        self.store = store
        self.errors = errors
        self.hooks = Hooks(hooks, errors)
        self.codes = CloseCodes(settings.close_codes, settings.error_close_codes)
        self._make_id = settings.connection_id
        self._route = settings.route
        self._max_routes = settings.max_routes

    def make_id(self, scope: MutableMapping[str, Any]) -> str:
        """Return the id of a new connection."""
        if self._make_id is not None:
            try:
                if given := self._make_id(scope):
                    return safe_text(given, 128)
            except Exception as error:  # noqa: BLE001
                callback, self._make_id = self._make_id, None
                self.errors.report("connection_id", error, callback, "ids are random from now on")
        return f"{getrandbits(64):016x}"

    def route(self, scope: MutableMapping[str, Any], otherwise: str = "") -> RouteNumbers:
        """Return the numbers of a scope's route, once the application has answered.

        Args:
            scope: The connection's.
            otherwise: The template, unless `Settings.route` finds one. Default: the router's.
        """
        template = ""
        if self._route is not None:
            try:
                template = str(self._route(scope) or "")
            except Exception as error:  # noqa: BLE001
                callback, self._route = self._route, None
                self.errors.report(
                    "route", error, callback, "routes are found as usual from now on"
                )
        found = template or otherwise or route_template(scope)
        return self.store.route(found, self._max_routes)
