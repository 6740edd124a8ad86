"""`instrument_server` and `instrument_manager`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import engineio
import socketio
from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry
from socketio.base_manager import BaseManager

from ..exceptions import SettingsError
from .asynchronous import AsyncHooks
from .bus import Bus
from .engine import adopt, release
from .observer import Observer
from .options import ServerSettings
from .packets import counted
from .patches import Patches
from .tables import looker
from .threaded import ThreadHooks

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import ServerOptions

__all__ = ["Instrumentation", "instrument_manager", "instrument_server"]

#: Where a server, or a manager, holds its instrumentation.
_KEY: Final = "_asgi_ws_observe"
_METHODS: Final = ("emit", "disconnect", "enter_room", "leave_room", "close_room")
# Looked up once: tests of applications put mocks in the place of these classes.
_ASYNC_ENGINE: Final = engineio.AsyncServer
_ENGINES: Final = (engineio.AsyncServer, engineio.Server)
_SERVERS: Final = (socketio.AsyncServer, socketio.Server)


class Instrumentation:
    """What `instrument_server` returns: a server, or a manager, that is observed."""

    def __init__(
        self,
        server: Any,
        manager: Any,
        settings: ServerSettings,
        registry: CollectorRegistry | None,
        tracer_provider: TracerProvider | None,
    ) -> None:
        owner = manager if server is None else server
        threaded = not isinstance(owner, (socketio.AsyncServer, socketio.AsyncManager))
        self._owner = owner
        self._server = server
        self._patches = Patches()
        self._bus: Bus | None = None
        self._observer = Observer(
            server, manager, settings, registry, tracer_provider, threaded=threaded
        )
        self._hooks: AsyncHooks | ThreadHooks
        self._hooks = (ThreadHooks if threaded else AsyncHooks)(self._observer)
        if settings.settings.enabled:
            # A mock has everything, and is none.
            if isinstance(manager, BaseManager):
                self._patch_manager(manager)
            if server is not None:
                self._patch_server(server)
        else:
            self._observer.active = False
        setattr(owner, _KEY, self)

    @property
    def active(self) -> bool:
        """Whether it is observed."""
        return self._observer.active

    def uninstrument(self) -> None:
        """Restore everything. What somebody else has wrapped since passes all on from now on."""
        if not self._observer.active:
            _release(self._owner)
            return
        self._observer.active = False
        self._patches.undo()
        if self._bus is not None:
            self._bus.close()
        if self._server is not None:
            handlers = self._server.eio.handlers
            if self._eio_handlers is not None and handlers.get("connect") is self._eio_handlers[0]:
                handlers["connect"] = self._eio_handlers[1]
            release(self._server)
            self._observer.numbers.lookers.remove(self._looker)
        _release(self._owner)

    def _patch_server(self, server: Any) -> None:
        hooks, put = self._hooks, self._patches.put
        put(server, "_handle_event", hooks.handle_event)
        put(server, "_handle_connect", hooks.handle_connect)
        put(server, "_trigger_event", hooks.trigger_event)
        put(server, "call", hooks.call)
        put(server, "save_session", hooks.save_session)
        put(server, "packet_class", lambda kind: counted(self._observer, kind))
        self._eio_handlers: tuple[Any, Any] | None = None
        if isinstance(server.eio, _ENGINES):
            put(server.eio, "_log_error_once", hooks.log_error_once)
        if isinstance(hooks, AsyncHooks):
            self._patch_engine(server, hooks)
        self._looker = looker(self._observer, self._is_listening)
        self._observer.numbers.lookers.append(self._looker)

    def _patch_engine(self, server: Any, hooks: AsyncHooks) -> None:
        original = server._handle_eio_connect
        self._patches.put(server, "_handle_eio_connect", hooks.handle_eio_connect)
        if not isinstance(server.eio, _ASYNC_ENGINE):
            return
        # The server gave Engine.IO its own method when it was made; whoever has replaced that since
        # calls the server's.
        handlers = server.eio.handlers
        given = handlers.get("connect")
        if given == original:
            handlers["connect"] = server._handle_eio_connect
            self._eio_handlers = (handlers["connect"], given)
        for eio_sid in list(server.eio.sockets):
            adopt(self._observer, eio_sid)

    def _patch_manager(self, manager: Any) -> None:
        hooks, put = self._hooks, self._patches.put
        put(manager, "emit", hooks.emit)
        put(manager, "get_participants", hooks.get_participants)
        put(manager, "_generate_ack_id", hooks.generate_ack_id)
        put(manager, "basic_enter_room", hooks.basic_enter_room)
        put(manager, "basic_leave_room", hooks.basic_leave_room)
        if hasattr(manager, "_publish"):
            self._bus = bus = Bus(self._observer)
            put(manager, "_publish", hooks.publish(bus))
            put(manager, "_listen", hooks.listen(bus))
            put(manager, "_redis_connect", bus.listener.connecting)
            self._observer.safely(bus, bus.listener.watch)
            for method in _METHODS:
                put(manager, f"_handle_{method}", hooks.handle(bus, method))

    def _is_listening(self) -> bool | None:
        if self._bus is None or self._observer.manager.write_only:
            return None
        return self._bus.is_listening()


def _held(owner: Any) -> Instrumentation | None:
    try:
        return object.__getattribute__(owner, _KEY)  # type: ignore[no-any-return]
    except AttributeError:
        return None


def _release(owner: Any) -> None:
    if _held(owner) is not None:
        delattr(owner, _KEY)


def instrument_server(
    server: socketio.AsyncServer | socketio.Server,
    *,
    registry: CollectorRegistry | None = None,
    tracer_provider: TracerProvider | None = None,
    **options: Unpack[ServerOptions],
) -> Instrumentation:
    """Observe a python-socketio server: metrics, spans and log lines.

    Call it once, before or after handlers and namespaces are registered; a second call returns
    what the first did. Only this object is changed, never a class. Of a threaded `Server`
    everything but Engine.IO's sessions is observed: no pings, upgrades and close codes.

    Args:
        server: An `AsyncServer`, or a `Server`.
        registry: Where the metrics appear. Default: prometheus_client's own registry.
        tracer_provider: Whose spans. Default: the global one, whenever it is set.
        options: See the reference: `room_category`, `ignore_events`, `trust_client`,
            `inject_events`, `event_spans`, `settings`.

    Returns:
        What takes everything off again: `Instrumentation.uninstrument`.

    Raises:
        SettingsError: Something is not accepted.
    """
    if not isinstance(server, _SERVERS):
        raise SettingsError(
            f"instrument_server: got {server!r}; accepted: a socketio.AsyncServer or "
            "socketio.Server (give it the server, not the ASGIApp)"
        )
    found: Instrumentation | None = _held(server)
    if found is not None:
        return found
    settings = ServerSettings(**options)
    return Instrumentation(server, server.manager, settings, registry, tracer_provider)


def instrument_manager(
    manager: BaseManager,
    *,
    registry: CollectorRegistry | None = None,
    tracer_provider: TracerProvider | None = None,
    **options: Unpack[ServerOptions],
) -> Instrumentation:
    """Observe a manager without a server, one that only writes, in a process of its own.

    A server's own manager is observed with the server.

    Args:
        manager: Such as ``AsyncRedisManager(url, write_only=True)``.
        registry: As for `instrument_server`.
        tracer_provider: Likewise.
        options: Likewise.

    Raises:
        SettingsError: Something is not accepted.
    """
    if not isinstance(manager, BaseManager) or manager.server is not None:
        raise SettingsError(
            f"instrument_manager: got {manager!r}; accepted: a manager without a server; "
            "instrument_server observes a server's own"
        )
    found: Instrumentation | None = _held(manager)
    if found is not None:
        return found
    return Instrumentation(None, manager, ServerSettings(**options), registry, tracer_provider)
