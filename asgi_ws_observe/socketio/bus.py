"""The bus between servers: what managers publish, and what comes from other nodes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from ..current import enter_connection
from ..fanout.core import Counters
from ..fanout.sequences import Sequences
from ..tracing.contexts import attach
from .carrier import carrier_of
from .deliveries import BUS_KEY, Delivering, lag_of
from .emits import Emitting, emitting
from .listeners import Listener
from .spans import EMPTY

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["Bus"]

#: How late a message may be before it counts as lost, seconds.
GRACE: Final = 5.0
# Managers whose `_publish` returns how many nodes there are, and `None` when it gave up.
_REDIS: Final = ("redis", "aioredis")


class Bus:
    """What one manager publishes and hears.

    Args:
        observer: Whose manager.

    Attributes:
        listener: Whether it still hears.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._manager = observer.manager
        self.listener = Listener(observer)
        self._counters = Counters()
        self._sequences = Sequences(GRACE)
        # Whether what arrives is seen before the manager sorts it out.
        self._hears = False
        self._settling: Any = None
        observer.numbers.has_bus = True

    # What is published.

    def marked(self, data: Any) -> Any:
        """Return what is published with the time, the number and the trace of it."""
        publisher, sequence = self._counters.next(str(self._manager.channel))
        mark: dict[str, Any] = {
            "publisher": publisher,
            "sequence": sequence,
            "time": time.time(),
            "clock": perf_counter(),
        }
        sending = emitting.get()
        if not isinstance(sending, Emitting) or sending.is_traced:
            mark |= carrier_of()
        return data | {BUS_KEY: mark}

    def marked_safely(self, data: Any) -> Any:
        """Return the same, or the data as it is where that fails."""
        try:
            return self.marked(data)
        except Exception as error:  # noqa: BLE001
            self._observer.failed(error, self)
            return data

    def published(self, data: Any, result: Any) -> None:
        """Count what the manager has published."""
        outcome = "dropped" if result is None and self._manager.name in _REDIS else "ok"
        self._count(data, outcome)
        sending = emitting.get()
        if isinstance(sending, Emitting):
            sending.bus_outcome = "dropped" if outcome == "dropped" else result

    def refused(self, data: Any) -> None:
        """Count what the manager could not publish."""
        self._count(data, "failed")
        sending = emitting.get()
        if isinstance(sending, Emitting):
            sending.bus_outcome = "failed"

    def _count(self, data: Any, outcome: str) -> None:
        published = self._observer.numbers.published
        published[_method(data), outcome] += 1

    # What arrives.

    def heard(self, raw: Any) -> Any:
        """Take in what has arrived, and return it: parsed, where the manager would parse it."""
        self._hears = True
        data = raw if isinstance(raw, dict) else self._parsed(raw)
        if not isinstance(data, dict) or "method" not in data:
            return raw
        self._arrived(data)
        return data

    def _parsed(self, raw: Any) -> Any:
        # The managers before 5.14 pickle: they would load the very same bytes in the next step.
        module = sys.modules.get("socketio.async_pubsub_manager")
        pickle = getattr(module, "pickle", None)
        for loads in (
            getattr(pickle, "loads", None),
            getattr(getattr(self._manager, "json", None), "loads", json.loads),
        ):
            try:
                return loads(raw)  # type: ignore[misc]
            except Exception:  # noqa: BLE001, S112 - the manager says what is wrong with it
                continue
        return None

    def _arrived(self, data: Mapping[str, Any]) -> None:
        numbers, mark = self._observer.numbers, data.get(BUS_KEY)
        if not isinstance(mark, dict):
            # A node without this library.
            numbers.arrived[_method(data), "other"] += 1
            return
        publisher, sequence = str(mark.get("publisher")), mark.get("sequence")
        own = self._counters.is_own(publisher)
        numbers.arrived[_method(data), "own" if own else "other"] += 1
        lag = lag_of(mark, own)
        if lag is not None:
            numbers.bus_lag["own" if own else "other"].observe(lag)
        # The node's own messages have reached its clients without the bus.
        if not own and type(sequence) is int and sequence > 0:
            now = perf_counter()
            self._sequences.arrived(publisher, str(self._manager.channel), sequence, now)
            self._settle(now)

    def _settle(self, now: float) -> None:
        """Count what is lost, now and once more when the last gap has had its time."""
        self._observer.numbers.lost += self._sequences.settle(now)
        if self._settling is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # a thread: the next message counts it
                return
            self._settling = loop.call_later(GRACE + 0.1, self._settle_later)

    def _settle_later(self) -> None:
        self._settling = None
        self._observer.numbers.lost += self._sequences.settle(perf_counter())

    def close(self) -> None:
        """Count no more."""
        self.listener.close()
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    def delivering(self, method: str, message: Any) -> Delivering | None:
        """Return what observes a message's handling; `None` for the local half of an own emit."""
        own = isinstance(message, dict) and message.get("host_id") == self._manager.host_id
        if own or method == "callback":
            return None
        if not self._hears:
            self._arrived(message)
        return Delivering(self._observer, method, message)

    def delivering_safely(self, method: str, message: Any) -> Delivering | None:
        """Return the same, `None` where that fails or nothing is observed any more."""
        try:
            return self.delivering(method, message) if self._observer.active else None
        except Exception as error:  # noqa: BLE001
            self._observer.failed(error, self)
            return None

    def is_listening(self) -> bool:
        """Return whether messages of other nodes can arrive, as far as can be seen."""
        thread = getattr(self._manager, "thread", None)
        return thread is not None and not _is_over(thread) and self.listener.is_up()

    # Around the manager's own listener.

    def listening(self, original: Callable[[], AsyncIterator[Any]]) -> Callable[[], Any]:
        """Return what replaces the ``_listen`` of a manager for asyncio."""

        async def _listen() -> AsyncIterator[Any]:
            # The manager's task began in the connect of the first client: in its trace, and in its
            # connection.
            if self._observer.active:
                attach(EMPTY)
                enter_connection(None)
            async for raw in original():
                yield self._safely(raw)

        return _listen

    def listening_in_thread(self, original: Callable[[], Iterator[Any]]) -> Callable[[], Any]:
        """Return what replaces the ``_listen`` of a manager for threads."""

        def _listen() -> Iterator[Any]:
            for raw in original():
                yield self._safely(raw)

        return _listen

    def _safely(self, raw: Any) -> Any:
        if not self._observer.active:
            return raw
        try:
            return self.heard(raw)
        except Exception as error:  # noqa: BLE001
            self._observer.failed(error, "a message of the bus")
            return raw


def _method(data: Any) -> str:
    method = data.get("method") if isinstance(data, dict) else None
    known = ("emit", "callback", "disconnect", "enter_room", "leave_room", "close_room")
    return method if method in known else "other"


def _is_over(thread: Any) -> bool:
    """Return whether a manager's listener, a task or a thread, has ended."""
    done = getattr(thread, "done", None)
    return bool(done()) if done is not None else not thread.is_alive()
