"""The hot path: what the messages of one connection are counted by."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from .hooks import Hooks, MessageListener, SendListener
from .observation import Observation
from .states import State
from .store import DURATION_BOUNDS, SEND_BOUNDS, SIZE_BOUNDS, Buckets, RouteNumbers

__all__ = ["Message", "Traffic", "size_of"]

#: A connection gives a bucket no second exemplar within so many seconds, unless it gave another
#: bucket one meanwhile.
EXEMPLAR_REST: Final = 1.0

_OPEN: Final = State.OPEN
# Most messages are small and most times short: their buckets without a search.
_SHORT: Final = DURATION_BOUNDS[0]
_SMALL: Final = 4097
_SMALL_SIZES: Final = bytes(bisect_left(SIZE_BOUNDS, size) for size in range(_SMALL))


class Message:
    """The message that a handler works on.

    Attributes:
        number: 1 for the connection's first message.
        size: Bytes of its payload.
        type: What the application calls this kind of message; it names the message's span.
    """

    __slots__ = ("number", "size", "type")

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.type: str | None = None


class Traffic:
    """The messages of one connection: counts, sizes, times.

    Attributes:
        state: Where the connection is in its life.
        messages_in: Messages received.
        messages_out: Messages sent.
        bytes_in: Payload bytes received.
        bytes_out: Payload bytes sent.
        received_at: When the application got its last message, of `time.perf_counter()`.
        slowest: The longest handler time, seconds.
        sending: ``send()`` calls that have not returned, and since when the first has waited.
        message: The message that is, or was last, handled.
        last_taken: The last one that the application asked for, by `message`.
    """

    __slots__ = (
        *("_exemplar_at", "_exemplar_bucket"),
        *("_handler", "_handling", "_hooks", "_last_size", "_numbers", "_observation"),
        *("_on_handled", "_on_received", "_on_sent", "_send_time", "_size_in", "_size_out"),
        *("bytes_in", "bytes_out", "last_taken", "listener", "messages_in", "messages_out"),
        *("received_at", "send_listener", "sending", "sending_since", "slowest", "state"),
    )

    def __init__(self, observation: Observation | None) -> None:
        self.state = State.CONNECTING
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self.received_at = self.sending_since = self.slowest = 0.0
        self.sending = 0
        # Set by the tracing reader: what follows the messages.
        self.listener: MessageListener | None = None
        self.send_listener: SendListener | None = None
        self._exemplar_at = 0.0
        self._exemplar_bucket = -1
        self.last_taken = Message(0, 0)
        self._last_size = 0
        self._handling = False
        self._numbers: RouteNumbers
        self._size_in: Buckets
        self._size_out: Buckets
        self._handler: Buckets
        self._send_time: Buckets
        if observation is not None:
            self._observation = observation
            self._hooks: Hooks = observation.hooks
            self._on_received = observation.hooks.message_received
            self._on_handled = observation.hooks.message_handled
            self._on_sent = observation.hooks.message_sent

    @property
    def message(self) -> Message:
        if self.last_taken.number != self.messages_in:
            self.last_taken = Message(self.messages_in, self._last_size)
        return self.last_taken

    @property
    def message_type(self) -> str | None:
        """The type that the application gave the message that is, or was last, handled."""
        return self.last_taken.type if self.last_taken.number == self.messages_in else None

    # What the shell tells. `now` is `time.perf_counter()`.

    def received(self, message: MutableMapping[str, Any], now: float) -> None:
        """Take in what the server sends, before the application gets it."""
        if (
            message["type"] != "websocket.receive" or self.state is not _OPEN
        ) and not self._received_other(message, now):
            return
        data = message.get("text")
        if data is None:
            size = len(message.get("bytes") or b"")
        else:
            size = len(data) if data.isascii() else _utf8_size(data)
        buckets = self._size_in
        buckets.counts[_SMALL_SIZES[size] if size < _SMALL else bisect_left(SIZE_BOUNDS, size)] += 1
        buckets.sum += size
        self.messages_in += 1
        self.bytes_in += size
        self._last_size = size
        self.received_at = now
        self._handling = True
        if self.listener is not None:
            try:
                self.listener.received(message, size)
            except Exception as error:  # noqa: BLE001
                self._stop_listening(error)
        if self._on_received:
            self._hooks.call("message_received", self, message, size)

    def handled(self, now: float) -> None:
        """Take in that the application asks for the next message, which ends the last one."""
        if not self._handling:
            return
        duration = now - self.received_at
        self._handling = False
        bucket = 0 if duration <= _SHORT else bisect_left(DURATION_BOUNDS, duration)
        buckets = self._handler
        buckets.counts[bucket] += 1
        buckets.sum += duration
        if duration > self.slowest:
            self.slowest = duration
        if self.listener is not None:
            due = now >= self._exemplar_at or bucket != self._exemplar_bucket
            try:
                identity = self.listener.handled(duration, due)
            except Exception as error:  # noqa: BLE001
                self._stop_listening(error)
                identity = None
            if identity is not None:
                self._exemplar_at, self._exemplar_bucket = now + EXEMPLAR_REST, bucket
                buckets.exemplars[bucket] = (identity, duration, time.time())
        if self._on_handled:
            self._hooks.call("message_handled", self, duration)

    def sent(self, message: MutableMapping[str, Any], started: float, now: float) -> None:
        """Take in what the application sent, after the server took it."""
        if message["type"] != "websocket.send" or self.state is not _OPEN:
            self._sent_other(message, started, now)
            return
        # Where both are given, servers send the bytes.
        data = message.get("bytes")
        if data is None:
            data = message.get("text") or ""
            size = len(data) if data.isascii() else _utf8_size(data)
        else:
            size = len(data)
        buckets = self._size_out
        buckets.counts[_SMALL_SIZES[size] if size < _SMALL else bisect_left(SIZE_BOUNDS, size)] += 1
        buckets.sum += size
        self.messages_out += 1
        self.bytes_out += size
        duration = now - started
        buckets = self._send_time
        buckets.counts[0 if duration <= _SHORT else bisect_left(SEND_BOUNDS, duration)] += 1
        buckets.sum += duration
        if self.send_listener is not None:
            self._tell_sent(message, started, now)
        if self._on_sent:
            self._hooks.call("message_sent", self, message, size)

    def _received_other(self, message: MutableMapping[str, Any], now: float) -> bool:
        """Take in anything but a message on an open connection; return whether it is a message."""
        raise NotImplementedError

    def _sent_other(self, message: MutableMapping[str, Any], started: float, now: float) -> None:
        """Take in anything but a message on an open connection."""
        raise NotImplementedError

    def _bind(self, numbers: RouteNumbers) -> None:
        """Take over the numbers of the connection's route."""
        self._numbers = numbers
        # What the hot path writes, one step nearer.
        self._size_in, self._size_out = numbers.size_in, numbers.size_out
        self._handler, self._send_time = numbers.handler, numbers.send

    def _tell_sent(
        self,
        message: MutableMapping[str, Any],
        started: float,
        now: float,
        error: BaseException | None = None,
    ) -> None:
        try:
            self.send_listener.sent(message, started, now, error)  # type: ignore[union-attr]
        except Exception as failure:  # noqa: BLE001
            self.send_listener = None
            self._stop_listening(failure)

    def _stop_listening(self, error: Exception) -> None:
        listener, self.listener = self.listener, None
        self._observation.errors.report(
            "tracing", error, type(listener), "this connection's messages have no more spans"
        )


def size_of(message: Mapping[str, Any]) -> int:
    """Return the bytes of a sent message's payload."""
    data = message.get("bytes")
    return _utf8_size(message.get("text") or "") if data is None else len(data)


def _utf8_size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
