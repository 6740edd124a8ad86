"""Whether a manager still listens to Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["Listener"]


class Listener:
    """Follows who reads what Redis sends.

    A manager that lost its connection sleeps before it tries again, while redis-py connects and
    subscribes again by itself: a connection alone does not mean that anybody reads from it. And a
    manager that could not publish makes itself a new `PubSub`, while its listener reads on from the
    one before. So what counts is whose ``listen()`` is being read.

    Args:
        observer: Whose manager.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._manager = observer.manager
        # The one that is watched, and the one that is read from; of redis-py's class `PubSub`.
        self._watched: Any = None
        self._read: Any = None
        self._has_begun = False

    def is_up(self) -> bool:
        """Return whether messages can arrive; `True` for a manager without Redis."""
        # One that listened before anybody watched is judged by its connection alone.
        pubsub = self._read if self._has_begun else getattr(self._manager, "pubsub", None)
        if pubsub is None:
            return not hasattr(self._manager, "pubsub")
        connection = getattr(pubsub, "connection", None)
        connected = getattr(connection, "is_connected", connection is not None)
        return bool(connected and getattr(pubsub, "subscribed", True))

    def connecting(self, original: Callable[[], Any]) -> Callable[[], Any]:
        """Return what replaces the manager's ``_redis_connect``."""

        def _redis_connect() -> Any:
            result = original()
            if self._observer.active:
                self._observer.safely(self, self.watch)
            return result

        return _redis_connect

    def watch(self) -> None:
        """Watch the `PubSub` that the manager has now, if it has one."""
        pubsub: Any = getattr(self._manager, "pubsub", None)
        if pubsub is None or pubsub is self._watched:
            return
        self._watched, listen = pubsub, pubsub.listen

        def watched() -> Any:
            messages = listen()
            follow = self._each if hasattr(messages, "__aiter__") else self._each_in_thread
            return follow(pubsub, messages)

        pubsub.listen = watched

    def close(self) -> None:
        """Watch no more."""
        if self._watched is not None:
            vars(self._watched).pop("listen", None)
            self._watched = None

    def _begin(self, pubsub: Any) -> None:
        self._has_begun = True
        self._read = pubsub

    def _end(self, pubsub: Any) -> None:
        if self._read is pubsub:
            self._read = None

    async def _each(self, pubsub: Any, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        self._begin(pubsub)
        try:
            async for message in messages:
                yield message
        finally:
            self._end(pubsub)

    def _each_in_thread(self, pubsub: Any, messages: Iterator[Any]) -> Iterator[Any]:
        self._begin(pubsub)
        try:
            yield from messages
        finally:
            self._end(pubsub)
