"""What all that observes one Socket.IO server shares."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanContext, TracerProvider
from prometheus_client import CollectorRegistry

from ..metrics.prometheus import numbers_of
from ..socketio_numbers import NamespaceNumbers, SocketIONumbers
from ..tracing.carriers import TrustReader, remote_context
from .lines import Lines
from .names import Categories, Names
from .options import ServerSettings
from .spans import SocketIOSpans

__all__ = ["ClientConnection", "Observer"]


class ClientConnection:
    """One client's connection to one namespace.

    Attributes:
        numbers: The namespace's.
        identity: The span ``connect``'s, `None` without one.
        trust: What the client's trace context is: `True` the parent, `False` linked, ``never``.
        opened: When it was accepted, of `time.perf_counter()`.
        events: How many events came.
    """

    __slots__ = ("events", "identity", "numbers", "opened", "trust")

    def __init__(
        self,
        numbers: NamespaceNumbers,
        identity: SpanContext | None,
        trust: bool | str,
        opened: float,
    ) -> None:
        self.numbers = numbers
        self.identity = identity
        self.trust = trust
        self.opened = opened
        self.events = 0


class Observer:
    """What all that observes one server shares.

    Args:
        server: The python-socketio server, `None` for a manager that only writes.
        manager: Its manager.
        settings: What is observed.
        registry: Whose metrics. Default: prometheus_client's own.
        tracer_provider: Whose spans. Default: the global one.
        threaded: Whether handlers run in threads, which count one after the other then.

    Attributes:
        active: Whether it observes still; what is patched passes everything on if not.
        connections: By sid, which no two namespaces share.
        pings: When those that are out were sent, of `time.perf_counter()`, by session.
        upgrading: The sessions that try to upgrade.
        socket_classes: The classes of Engine.IO's sessions that tell it, by their own.
    """

    def __init__(
        self,
        server: Any,
        manager: Any,
        settings: ServerSettings,
        registry: CollectorRegistry | None,
        tracer_provider: TracerProvider | None,
        *,
        threaded: bool = False,
    ) -> None:
        self.active = True
        self.threaded = threaded
        self._lock = threading.RLock() if threaded else None
        self.server = server
        self.manager = manager
        self.settings = settings
        found = numbers_of(registry)
        self._errors = found.errors
        self.store = found.store
        self.numbers: SocketIONumbers = found.store.for_socketio()
        self.categories = Categories(settings.room_category, self.numbers, found.errors)
        self.names = Names(server, self.numbers, self.categories)
        self.spans = SocketIOSpans(settings, found.store, tracer_provider)
        self._headers = TrustReader(settings.settings)
        self.lines = Lines(settings.settings)
        self.ignored = frozenset(settings.ignore_events)
        self.injected = frozenset(settings.inject_events)
        self.connections: dict[str, ClientConnection] = {}
        self._namespaces: dict[str, NamespaceNumbers] = {}
        self.pings: dict[str, float] = {}
        self.upgrading: set[str] = set()
        self.socket_classes: dict[type, type] = {}

    def failed(self, error: Exception, culprit: object) -> None:
        """Report a failure of our own."""
        name = culprit if isinstance(culprit, str) else type(culprit).__name__
        self._errors.report("socketio", error, name, "what it observes is not counted")

    def safely(self, culprit: object, action: Callable[..., Any], *args: Any) -> bool:
        """Do something of our own; return whether it went well. What fails is reported."""
        try:
            if self._lock is None:
                action(*args)
            else:
                with self._lock:
                    action(*args)
        except Exception as error:  # noqa: BLE001
            self.failed(error, culprit)
            return False
        return True

    def namespace(self, name: str) -> NamespaceNumbers:
        """Return the numbers of a namespace."""
        # Only what the application has named is kept: a client may choose a name of a megabyte.
        known = self.server is not None and name in self.server.handlers
        numbers = self._namespaces.get(name) if known else None
        if numbers is None:
            numbers = self.numbers.namespace(self.names.namespace(name))
            if known:
                self._namespaces[name] = numbers
        return numbers

    def trust_of(self, environ: Any) -> bool | str:
        """Return what a client's trace context is; nothing where the application's own fails."""
        given = self.settings.trust_client
        if not callable(given):
            return given  # type: ignore[no-any-return]
        try:
            found = given(environ)
        except Exception as error:  # noqa: BLE001
            self._errors.report("trust", error, given, "this client is not believed")
            return "never"
        return found if found == "never" else bool(found)

    def header_of(self, environ: Any) -> tuple[SpanContext, str] | None:
        """Return what a client's headers carry, and what it is: ``parent`` or ``link``."""
        parent = environ.get("HTTP_TRACEPARENT") if isinstance(environ, dict) else None
        if parent is None:
            return None
        word = self._headers.of(environ.get("asgi.scope") or {}, self._errors).header
        carrier = {"traceparent": parent, "tracestate": environ.get("HTTP_TRACESTATE")}
        found = None if word == "never" else remote_context(carrier)
        return None if found is None else (found, word)

    def transport(self, eio_sid: str | None) -> str:
        """Return the transport of a client by its Engine.IO session."""
        socket = self.server.eio.sockets.get(eio_sid)
        return "websocket" if socket is not None and socket.upgraded else "polling"
