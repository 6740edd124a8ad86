"""The hot path: what the messages of one connection are counted by."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from .buckets import MOST_PENDING
from .hooks import Gate, Hooks, MessageListener, SendListener
from .observation import Observation
from .states import State
from .store import DURATION_BOUNDS, RouteNumbers

__all__ = ["Message", "Traffic", "size_of", "utf8_size"]

#: A connection gives a bucket no second exemplar within so many seconds, unless it gave another
#: bucket one meanwhile.
EXEMPLAR_REST: Final = 1.0

_SHORT: Final = DURATION_BOUNDS[0]


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


_NONE_TAKEN: Final = Message(-1, 0)


class _Nothing(list[float]):
    """Takes in numbers that nobody counts."""

    def append(self, value: float) -> None:
        pass


_NOTHING: Final = _Nothing()


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
        sending_since: When the ``send()`` call that has waited longest began, of
            `time.perf_counter()`; 0.0 where none waits.
        queued: Messages that wait in hubs, of `asgi_ws_observe.fanout`, for this connection.
        message: The message that is, or was last, handled.
        last_taken: The last one that the application asked for, by `message`.
        skipped: The ASGI message that is handled, where the listener was not told of it.
    """

    __slots__ = (
        *("_also_sending", "_exemplar_at", "_exemplar_bucket", "_gate", "_handler_times"),
        *("_followed", "_handling", "_hooks", "_is_open", "_last_size", "_listener"),
        *("_numbers", "_observation", "_sends_followed"),
        *("_send_listener", "_send_times", "_sizes_in", "_sizes_out"),
        *("bytes_in", "bytes_out", "last_taken", "messages_in", "messages_out"),
        *("queued", "received_at", "sending_since", "skipped", "slowest", "state"),
    )

    def __init__(self, observation: Observation | None) -> None:
        self.state = State.CONNECTING
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self.received_at = self.sending_since = self.slowest = 0.0
        self.queued = 0
        # When other calls began that wait as well.
        self._also_sending: list[float] | None = None
        self.skipped: MutableMapping[str, Any] | None = None
        self._gate: Gate | None = None
        self._listener: MessageListener | None = None
        self._send_listener: SendListener | None = None
        self._exemplar_at = 0.0
        self._exemplar_bucket = -1
        self.last_taken = _NONE_TAKEN
        self._last_size = 0
        self._handling = False
        # Whether anybody follows its messages, received or sent.
        self._followed = self._sends_followed = self._is_open = False
        self._numbers: RouteNumbers
        self._sizes_in: list[float]
        self._sizes_out: list[float]
        self._handler_times: list[float]
        self._send_times: list[float]
        if observation is not None:
            self._observation = observation
            self._hooks: Hooks = observation.hooks
            self._follow()

    @property
    def listener(self) -> MessageListener | None:
        """What follows the received messages; set by the tracing reader."""
        return self._listener

    @listener.setter
    def listener(self, listener: MessageListener | None) -> None:
        self._listener = listener
        if listener is None:
            self._gate = self.skipped = None
        self._follow()

    @property
    def gate(self) -> Gate | None:
        """What keeps messages from the listener; set by the tracing reader."""
        return self._gate

    @gate.setter
    def gate(self, gate: Gate | None) -> None:
        # Who follows all messages has to be told of all.
        everything = self._hooks.message_received or self._hooks.message_handled
        self._gate = None if everything else gate

    @property
    def send_listener(self) -> SendListener | None:
        """What follows the sent messages; set by the tracing reader."""
        return self._send_listener

    @send_listener.setter
    def send_listener(self, listener: SendListener | None) -> None:
        self._send_listener = listener
        self._follow()

    def carries_packets(self) -> None:
        """Follow messages no more, of a connection that carries another protocol's packets.

        What passes below is counted still. Spans, and handler times, of packets say nothing: they
        are handed on.
        """
        self.listener = self.send_listener = None
        self._handler_times = _NOTHING

    @property
    def sending(self) -> int:
        """``send()`` calls that have not returned."""
        return len(self._also_sending or ()) + (self.sending_since > 0.0)

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
            message["type"] != "websocket.receive" or not self._is_open
        ) and not self._received_other(message, now):
            return
        data = message.get("text")
        if data is None:
            size = len(message.get("bytes") or b"")
        else:
            size = len(data) if data.isascii() else utf8_size(data)
        self._sizes_in.append(size)
        if len(self._sizes_in) >= MOST_PENDING:
            self._numbers.settle()
        self.messages_in += 1
        self.bytes_in += size
        self._last_size = size
        self.received_at = now
        self._handling = True
        if self._followed:
            self._tell_received(message, size)

    def handled(self, now: float) -> None:
        """Take in that the application asks for the next message, which ends the last one."""
        if not self._handling:
            return
        duration = now - self.received_at
        self._handling = False
        self._handler_times.append(duration)
        if duration > self.slowest:
            self.slowest = duration
        if self._followed:
            self._tell_handled(duration, now)

    def sent(self, message: MutableMapping[str, Any], started: float, now: float) -> None:
        """Take in what the application sent, after the server took it."""
        if message["type"] != "websocket.send" or not self._is_open:
            self._sent_other(message, started, now)
            return
        # Where both are given, servers send the bytes.
        data = message.get("bytes")
        if data is None:
            data = message.get("text") or ""
            size = len(data) if data.isascii() else utf8_size(data)
        else:
            size = len(data)
        self._send_times.append(now - started)
        self._sizes_out.append(size)
        if len(self._sizes_out) >= MOST_PENDING:
            self._numbers.settle()
        self.messages_out += 1
        self.bytes_out += size
        if self._sends_followed:
            self._tell_sent(message, size, started, now)

    # What those who follow are told.

    def _tell_received(self, message: MutableMapping[str, Any], size: int) -> None:
        if self._listener is not None:
            try:
                self._listener.received(message, size)
            except Exception as error:  # noqa: BLE001
                self._stop_listening(error)
        if self._hooks.message_received:
            self._hooks.call("message_received", self, message, size)

    def _tell_handled(self, duration: float, now: float) -> None:
        if self._listener is not None:
            bucket = 0 if duration <= _SHORT else bisect_left(DURATION_BOUNDS, duration)
            due = now >= self._exemplar_at or bucket != self._exemplar_bucket
            try:
                identity = self._listener.handled(duration, due)
            except Exception as error:  # noqa: BLE001
                self._stop_listening(error)
                identity = None
            if identity is not None:
                self._exemplar_at, self._exemplar_bucket = now + EXEMPLAR_REST, bucket
                exemplars = self._numbers.handler.exemplars
                exemplars[bucket] = (identity, duration, time.time())
        if self._hooks.message_handled:
            self._hooks.call("message_handled", self, duration)

    def _tell_sent(
        self, message: MutableMapping[str, Any], size: int, started: float, now: float
    ) -> None:
        if self._send_listener is not None:
            self._tell_sender(message, started, now)
        if self._hooks.message_sent:
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
        # What the hot path writes, two steps nearer.
        self._sizes_in, self._sizes_out = numbers.size_in.pending, numbers.size_out.pending
        self._handler_times, self._send_times = numbers.handler.pending, numbers.send.pending

    def _follow(self) -> None:
        self._followed = bool(
            self._listener or self._hooks.message_received or self._hooks.message_handled
        )
        self._sends_followed = bool(self._send_listener or self._hooks.message_sent)

    def waits_too(self, started: float) -> None:
        """Take in that a ``send()`` call began while another one waits."""
        if self._also_sending is None:
            self._also_sending = []
        self._also_sending.append(started)

    def waits_no_more(self, started: float) -> None:
        """Take in that a ``send()`` call is over."""
        others = self._also_sending
        if started != self.sending_since:
            others.remove(started)  # type: ignore[union-attr]
        else:
            self.sending_since = others.pop(0) if others else 0.0

    def _tell_sender(
        self,
        message: MutableMapping[str, Any],
        started: float,
        now: float,
        error: BaseException | None = None,
    ) -> None:
        try:
            self._send_listener.sent(message, started, now, error)  # type: ignore[union-attr]
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
    return utf8_size(message.get("text") or "") if data is None else len(data)


def utf8_size(text: str) -> int:
    """Return the bytes of a text in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))
