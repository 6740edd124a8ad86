"""Hooks: what the built-in readers are made of, and what a third party may override."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from .exceptions import SettingsError

if TYPE_CHECKING:
    from .connection import Connection
    from .store import Store

__all__ = [
    "EVENTS",
    "ConnectionHook",
    "Gate",
    "Hooks",
    "MessageListener",
    "OwnErrors",
    "SendListener",
]

_logger = logging.getLogger("asgi_ws_observe")

#: The events of a connection's life, each a method of `ConnectionHook`.
EVENTS: Final = (
    "started",
    "opened",
    "message_received",
    "message_handled",
    "message_sent",
    "alive",
    "errored",
    "closed",
    "returned",
    "ended",
)


class ConnectionHook:
    """Override what you need; what is not overridden costs nothing.

    Methods are plain functions, called on the event loop, `closed` and `ended` not always in the
    connection's own task: they must not block. One that raises is logged once, counted in
    ``ws_observe_errors_total`` and called no more; the connection never notices.
    """

    #: The value of the label ``part`` under which this hook's failures are counted.
    part = "hook"

    def started(self, connection: Connection) -> None:
        """Act before the application sees the connection; the route is not known yet."""

    def opened(self, connection: Connection) -> None:
        """Act after the handshake was accepted; the route is known."""

    def message_received(self, connection: Connection, message: Any, size: int) -> None:
        """Act before the application gets a message.

        Args:
            connection: The connection's record.
            message: The ASGI message; it must not be modified.
            size: Bytes of its payload.
        """

    def message_handled(self, connection: Connection, duration: float) -> None:
        """Act when the application asks for the next message, or ends.

        Args:
            connection: The connection's record.
            duration: The handler time, seconds.
        """

    def message_sent(self, connection: Connection, message: Any, size: int) -> None:
        """Act after the server took a message.

        Args:
            connection: The connection's record.
            message: The ASGI message; it must not be modified.
            size: Bytes of its payload.
        """

    def alive(self, connection: Connection) -> None:
        """Act about once a second while the connection is open."""

    def errored(self, connection: Connection, error: BaseException) -> None:
        """Act on an exception that left the application and is not just the client's leaving."""

    def closed(self, connection: Connection) -> None:
        """Act once when the connection is over or its handshake failed; the outcome is known."""

    def returned(self, connection: Connection) -> None:
        """Act once when the application has returned or raised, before or after `closed`."""

    def ended(self, connection: Connection) -> None:
        """Act once, last of all, when the connection is over and the application has returned."""


class Gate(Protocol):
    """What keeps messages from a listener, set as `Connection.gate`.

    Attributes:
        opens_at: A message that is received before, of `time.perf_counter()`, becomes
            `Connection.skipped`, and the listener hears of it only if it was slow or failed.
    """

    opens_at: float


class MessageListener(Protocol):
    """What follows the messages of one connection, set as `Connection.listener`.

    A hook's per-message methods are called for every connection; a listener only where one is set.

    Attributes:
        slow: A skipped message that took less, seconds, was not slow.
    """

    slow: float

    def received(self, message: Any, size: int) -> None:
        """Act before the application gets a message."""
        ...

    def handled(self, duration: float, exemplar: bool) -> Any:
        """Act when the application is done with the message.

        Args:
            duration: The handler time, seconds.
            exemplar: Whether one is due.

        Returns:
            The message's sampled span context for the exemplar, `None` for none.
        """
        ...

    def interrupted(self) -> None:
        """Act when ``receive()`` was cancelled or failed."""
        ...


class SendListener(Protocol):
    """What follows what is sent over one connection, set as `Connection.send_listener`."""

    def sent(
        self,
        message: Any,
        started: float,
        now: float,
        error: BaseException | None = None,
    ) -> None:
        """Act after the server took a message, or refused it.

        Args:
            message: The ASGI message; it must not be modified.
            started: When the application sent it, of `time.perf_counter()`.
            now: Likewise, when the server was done with it.
            error: What the server raised.
        """
        ...


class OwnErrors:
    """Counts the failures of the library's own parts, and logs the first of each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # By identity, since a culprit need not be hashable; kept, so that no identity is reused.
        # A text is itself.
        self._logged: dict[object, object] = {}

    def report(self, part: str, error: BaseException, culprit: object, consequence: str) -> None:
        """Count a failure; log it once for each culprit.

        Args:
            part: One of `asgi_ws_observe.store.ERROR_PARTS`; any other counts as ``hook``.
            error: The exception.
            culprit: What failed; its representation is logged.
            consequence: What happens now, for the log line.
        """
        part = part if part in self._store.own_errors else "hook"
        self._store.own_errors[part] += 1
        identity = culprit if isinstance(culprit, str) else id(culprit)
        if identity not in self._logged:
            self._logged[identity] = culprit
            _logger.error("%s failed in %r; %s", part, culprit, consequence, exc_info=error)


class Hooks:
    """The hooks of one middleware, resolved once: per event the methods that are overridden.

    Args:
        hooks: In the order in which they are called.
        errors: Where failures go.

    Raises:
        SettingsError: Something is no `ConnectionHook`, or one of its methods is a coroutine
            function.
    """

    __slots__ = (*EVENTS, "_errors", "_hooks")

    # Pairs of a hook and its method, in lists that are changed in place: connections hold on to
    # them.
    started: list[Any]
    opened: list[Any]
    message_received: list[Any]
    message_handled: list[Any]
    message_sent: list[Any]
    alive: list[Any]
    errored: list[Any]
    closed: list[Any]
    returned: list[Any]
    ended: list[Any]

    def __init__(self, hooks: Iterable[ConnectionHook], errors: OwnErrors) -> None:
        self._hooks = tuple(hooks)
        self._errors = errors
        for hook in self._hooks:
            if not isinstance(hook, ConnectionHook):
                raise SettingsError(
                    f"hooks: got {hook!r}; accepted: instances of asgi_ws_observe.ConnectionHook"
                )
        for event in EVENTS:
            setattr(self, event, self._overridden(event))

    def _overridden(self, event: str) -> list[Any]:
        methods = []
        for hook in self._hooks:
            if getattr(type(hook), event) is not getattr(ConnectionHook, event):
                method = getattr(hook, event)
                if inspect.iscoroutinefunction(method):
                    raise SettingsError(
                        f"hooks: {type(hook).__name__}.{event} is a coroutine function; "
                        "accepted: a plain function"
                    )
                methods.append((hook, method))
        return methods

    def call(self, event: str, *args: Any) -> None:
        """Call one event's methods, in order; one that raises takes its hook out of all events."""
        for hook, method in tuple(getattr(self, event)):
            try:
                method(*args)
            except Exception as error:  # noqa: BLE001
                self._errors.report(hook.part, error, hook, "it is called no more")
                self._disable(hook)

    def _disable(self, hook: ConnectionHook) -> None:
        for event in EVENTS:
            methods: list[Any] = getattr(self, event)
            methods[:] = [each for each in methods if each[0] is not hook]
