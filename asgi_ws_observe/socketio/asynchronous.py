"""What replaces the coroutine functions of an `AsyncServer` and of its manager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .acks import Calling
from .bus import Bus
from .connects import Connecting, Disconnecting, connecting
from .emits import Arguments, Emitting
from .engine import adopt
from .events import Handling, ReceivedEvent
from .hooks import PlainHooks, with_trace
from .sessions import Saving

__all__ = ["AsyncHooks"]


class AsyncHooks(PlainHooks):
    """Makes them; `threaded.ThreadHooks` has the same for threads."""

    def handle_eio_connect(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``_handle_eio_connect``: an Engine.IO session begins."""
        observer = self._observer

        async def _handle_eio_connect(eio_sid: str, environ: Any) -> Any:
            if observer.active:
                observer.safely("a session", adopt, observer, eio_sid)
            return await original(eio_sid, environ)

        return _handle_eio_connect

    def handle_connect(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``_handle_connect``: a client asks for a namespace."""
        observer = self._observer

        async def _handle_connect(eio_sid: str, namespace: Any, data: Any) -> Any:
            with Connecting(observer, eio_sid, namespace, data) as step:
                return await original(eio_sid, namespace, step.auth)

        return _handle_connect

    def trigger_event(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``_trigger_event``: a handler is looked for and called."""
        observer = self._observer

        async def _trigger_event(event: Any, namespace: Any, *args: Any) -> Any:
            if type(event) is ReceivedEvent:
                with Handling(observer, event, namespace, args) as handling:
                    return handling.returned(await original(event.name, namespace, *args))
            if event == "connect" and (client := connecting.get()) is not None:
                client.asked(args[0])
                try:
                    return client.answered(await original(event, namespace, *args))
                except BaseException as error:
                    client.raised(error)
                    raise
            if event == "disconnect":
                with Disconnecting(observer, namespace, args):
                    return await original(event, namespace, *args)
            return await original(event, namespace, *args)

        return _trigger_event

    def call(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``call``: an emit that waits for its acknowledgement."""
        observer = self._observer

        async def call(event: Any, *args: Any, **kwargs: Any) -> Any:
            with Calling(observer, event, args, kwargs):
                return await original(event, *args, **kwargs)

        return call

    def save_session(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``save_session``: what the application keeps of a client."""
        observer = self._observer

        async def save_session(sid: Any, *args: Any, **kwargs: Any) -> Any:
            with Saving(observer, sid, args, kwargs):
                return await original(sid, *args, **kwargs)

        return save_session

    def emit(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``emit`` of the manager."""
        observer = self._observer

        async def emit(event: Any, *args: Any, **kwargs: Any) -> Any:
            with Emitting(observer, event, Arguments(args, kwargs)) as step:
                given = step.arguments
                return await original(event, *given.args, **given.kwargs)

        return emit

    def publish(self, bus: Bus) -> Callable[[Any], Any]:
        """``_publish`` of a manager with a bus."""
        observer = self._observer

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            async def _publish(data: Any) -> Any:
                if not observer.active:
                    return await original(data)
                marked = bus.marked_safely(data)
                try:
                    result = await original(marked)
                except BaseException:
                    observer.safely(bus, bus.refused, data)
                    raise
                observer.safely(bus, bus.published, data, result)
                return result

            return _publish

        return make

    def listen(self, bus: Bus) -> Callable[[Any], Any]:
        """``_listen`` of a manager with a bus."""
        return bus.listening

    def handle(self, bus: Bus, method: str) -> Callable[[Any], Any]:
        """``_handle_emit`` and its like: what another node asks for, or the own half of an emit."""
        observer = self._observer

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            async def handler(message: Any) -> Any:
                step = bus.delivering_safely(method, message)
                if step is None:
                    return await original(with_trace(observer, message))
                with step:
                    return await original(with_trace(observer, message))

            return handler

        return make
