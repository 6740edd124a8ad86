"""The headers with which a client connects: the application's own, and a trace context."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from typing import Any

__all__ = ["ConnectHeaders"]


class ConnectHeaders:
    """Adds trace context to headers, anew each time that a client asks for them.

    Attributes:
        meant: What the application gave.
        ask: What the client is given instead: a function, as python-socketio accepts it.

    Args:
        meant: Headers, or a function that returns them, which may be a coroutine function.
        carrier: Returns the headers to add; the application's own ``traceparent`` goes before.
    """

    def __init__(self, meant: Any, carrier: Callable[[], dict[str, str]]) -> None:
        self.meant = meant
        self._carrier = carrier
        # What the application's headers were, and the copy with more that the client got.
        self._before: Any = None
        self._given: Any = None
        self._added: dict[str, str] = {}
        is_async = inspect.iscoroutinefunction(meant)
        self.ask: Callable[[], Any] = self._ask_async if is_async else self._ask

    async def _ask_async(self) -> Any:
        return self._with_carrier(await self.meant())

    def _ask(self) -> Any:
        return self._with_carrier(self.meant() if callable(self.meant) else self.meant)

    def _with_carrier(self, headers: Any) -> Any:
        try:
            self._added = self._carrier()
            if not self._added or any(each.lower() in self._added for each in headers or ()):
                return headers
            given = copy(headers) if headers else {}
            given.update(self._added)
        except Exception:  # noqa: BLE001 - whatever it is, the client has to make do with it
            return headers
        self._before, self._given = copy(headers), given
        return given

    def settle(self) -> None:
        """Do to the application's headers what the client did to its copy of them.

        python-engineio moves a cookie from the headers into its session, and headers from
        ``websocket_extra_options`` into the headers: only there the next connection finds them.
        """
        given, self._given = self._given, None
        # Of empty headers, and of what a function returned, the client keeps nothing.
        if given is None or not self._before or callable(self.meant):
            return
        try:
            for name in [each for each in self._before if each not in given]:
                self.meant.pop(name, None)
            for name, value in given.items():
                if name not in self._added and self._before.get(name) is not value:
                    self.meant[name] = value
        except Exception:  # noqa: BLE001, S110 - headers that cannot be changed
            pass
