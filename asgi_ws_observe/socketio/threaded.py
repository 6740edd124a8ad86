"""What replaces the functions of a `Server` for threads and of its manager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .acks import Calling
from .bus import Bus
from .connects import Connecting, Disconnecting, connecting
from .emits import Arguments, Emitting
from .events import Handling, ReceivedEvent
from .hooks import PlainHooks, with_trace
from .sessions import Saving

__all__ = ["ThreadHooks"]


class ThreadHooks(PlainHooks):
    """Makes them; `asynchronous.AsyncHooks` has the same for asyncio, and says what they are.

    Engine.IO's sessions are not observed: pings, upgrades and close codes of a threaded server are
    not known.
    """

    def handle_connect(self, original: Callable[..., Any]) -> Callable[..., Any]:
        observer = self._observer

        def _handle_connect(eio_sid: str, namespace: Any, data: Any) -> Any:
            with Connecting(observer, eio_sid, namespace, data) as step:
                return original(eio_sid, namespace, step.auth)

        return _handle_connect

    def trigger_event(self, original: Callable[..., Any]) -> Callable[..., Any]:
        observer = self._observer

        def _trigger_event(event: Any, namespace: Any, *args: Any) -> Any:
            if type(event) is ReceivedEvent:
                with Handling(observer, event, namespace, args) as handling:
                    return handling.returned(original(event.name, namespace, *args))
            if event == "connect" and (client := connecting.get()) is not None:
                client.asked(args[0])
                try:
                    return client.answered(original(event, namespace, *args))
                except BaseException as error:
                    client.raised(error)
                    raise
            if event == "disconnect":
                with Disconnecting(observer, namespace, args):
                    return original(event, namespace, *args)
            return original(event, namespace, *args)

        return _trigger_event

    def call(self, original: Callable[..., Any]) -> Callable[..., Any]:
        observer = self._observer

        def call(event: Any, *args: Any, **kwargs: Any) -> Any:
            with Calling(observer, event, args, kwargs):
                return original(event, *args, **kwargs)

        return call

    def save_session(self, original: Callable[..., Any]) -> Callable[..., Any]:
        observer = self._observer

        def save_session(sid: Any, *args: Any, **kwargs: Any) -> Any:
            with Saving(observer, sid, args, kwargs):
                return original(sid, *args, **kwargs)

        return save_session

    def emit(self, original: Callable[..., Any]) -> Callable[..., Any]:
        observer = self._observer

        def emit(event: Any, *args: Any, **kwargs: Any) -> Any:
            with Emitting(observer, event, Arguments(args, kwargs)) as step:
                given = step.arguments
                return original(event, *given.args, **given.kwargs)

        return emit

    def publish(self, bus: Bus) -> Callable[[Any], Any]:
        observer = self._observer

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def _publish(data: Any) -> Any:
                if not observer.active:
                    return original(data)
                marked = bus.marked_safely(data)
                try:
                    result = original(marked)
                except BaseException:
                    observer.safely(bus, bus.refused, data)
                    raise
                observer.safely(bus, bus.published, data, result)
                return result

            return _publish

        return make

    def listen(self, bus: Bus) -> Callable[[Any], Any]:
        return bus.listening_in_thread

    def handle(self, bus: Bus, method: str) -> Callable[[Any], Any]:
        observer = self._observer

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def handler(message: Any) -> Any:
                step = bus.delivering_safely(method, message)
                if step is None:
                    return original(with_trace(observer, message))
                with step:
                    return original(with_trace(observer, message))

            return handler

        return make
