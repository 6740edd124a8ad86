"""The record: state, counts and times of one connection, without I/O and without an event loop.

The shell (`asgi_ws_observe.middleware`) tells the record what passes between the server and the
application; the record counts it, judges it by the table of `asgi_ws_observe.states` and calls the
hooks.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

from starlette.websockets import WebSocketDisconnect

from .close_codes import NO_CLOSE_FRAME
from .hooks import MessageListener
from .labels import UNMATCHED, matched_route, safe_text
from .observation import Observation
from .states import RECEIVED, SENT, TABLE, State, Verdict, judge_close, judge_disconnect
from .store import DURATION_BOUNDS, SEND_BOUNDS, SIZE_BOUNDS, Buckets, RouteNumbers

__all__ = ["Connection", "Message"]

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


class Connection:
    """One WebSocket, from handshake to close.

    Attributes:
        id: The connection's id.
        scope: Its ASGI scope.
        state: Where it is in its life.
        route: The bounded path template; ``unmatched`` until the handshake is answered.
        subprotocol: What the application accepted, else `None`.
        trace_id: 32 hexadecimal digits, empty without a trace.
        span_id: 16 hexadecimal digits of the connection's span, empty without one.
        messages_in: Messages received.
        messages_out: Messages sent.
        bytes_in: Payload bytes received.
        bytes_out: Payload bytes sent.
        duration: Accept to close, seconds; 0.0 while open and for a failed handshake.
        handshake_duration: Until the handshake was answered or given up, seconds.
        status: The HTTP status of the handshake's answer, `None` where there was none.
        close_code: The close code, `None` while open and for a failed handshake.
        close_text: The close frame's reason, control characters escaped.
        closed_by: ``client``, ``server``, ``network`` or ``unknown``; empty without a close.
        reason: The cause of the close, or of the failed handshake; empty before.
        outcome: ``accepted`` while open; ``rejected`` or ``denied``; or the close's class.
        fields: What `set` kept.
        message: The message that is, or was last, handled.
    """

    __slots__ = (
        *("_accepted", "_began", "_handling_since", "_hooks", "_last_size", "_limited"),
        *("_handler", "_message", "_numbers", "_observation", "_on_handled", "_on_received"),
        *("_on_sent", "_peer_gone", "_send_errors", "_send_time", "_size_in", "_size_out"),
        *("bytes_in", "bytes_out", "close_code", "close_text", "closed_by", "duration"),
        *("fields", "handshake_duration", "id", "listener", "message_context", "messages_in"),
        *("messages_out", "outcome", "reason", "route", "scope", "span_id", "state", "status"),
        *("subprotocol", "trace", "trace_id"),
    )

    #: How many fields `set` keeps.
    MAX_FIELDS: Final = 32

    def __init__(
        self, observation: Observation | None, scope: MutableMapping[str, Any], now: float
    ) -> None:
        self.scope = scope
        self.state = State.CONNECTING
        self.route = UNMATCHED
        self.id = self.trace_id = self.span_id = ""
        self.subprotocol: str | None = None
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self.duration = self.handshake_duration = 0.0
        self.status: int | None = None
        self.close_code: int | None = None
        self.close_text = self.closed_by = self.reason = self.outcome = ""
        self.fields: dict[str, str | bool | int | float] = {}
        # Set by the tracing reader: its own state, what follows the messages, and the sampled
        # span context of the one that is being handled.
        self.trace: Any = None
        self.listener: MessageListener | None = None
        self.message_context: Any = None
        self._message = Message(0, 0)
        self._last_size = 0
        self._began = now
        self._accepted = self._handling_since = 0.0
        self._limited = self._peer_gone = False
        self._send_errors: tuple[BaseException, ...] = ()
        self._numbers: RouteNumbers
        self._size_in: Buckets
        self._size_out: Buckets
        self._handler: Buckets
        self._send_time: Buckets
        if observation is not None:
            self._observation = observation
            self._hooks = hooks = observation.hooks
            self._on_received = hooks.message_received
            self._on_handled = hooks.message_handled
            self._on_sent = hooks.message_sent
            self.id = observation.make_id(scope)
            observation.store.live += 1

    @property
    def message(self) -> Message:
        if self._message.number != self.messages_in:
            self._message = Message(self.messages_in, self._last_size)
        return self._message

    @property
    def message_type(self) -> str | None:
        """The type that the application gave the message that is, or was last, handled."""
        return self._message.type if self._message.number == self.messages_in else None

    def set(self, label: str, value: object) -> None:
        """Keep a field for the connection's span and its later log lines.

        Args:
            label: The field's name, 64 characters at most. A name that the library uses itself
                gets ``app.`` in front.
            value: A number, a boolean, or anything that is then shown as text, 256 characters at
                most.
        """
        name = safe_text(label, 64)
        if name in self.fields or len(self.fields) < self.MAX_FIELDS:
            # Neither OTLP nor JSON's readers take a whole number beyond 64 bits.
            small = isinstance(value, (bool, float)) or (
                isinstance(value, int) and -(2**63) <= value < 2**63
            )
            self.fields[name] = value if small else safe_text(value)  # type: ignore[assignment]

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
        self._handling_since = now
        if self.listener is not None:
            try:
                self.listener.received(message, size)
            except Exception as error:  # noqa: BLE001
                self._stop_listening(error)
        if self._on_received:
            self._hooks.call("message_received", self, message, size)

    def handled(self, now: float) -> None:
        """Take in that the application asks for the next message, which ends the last one."""
        if not self._handling_since:
            return
        duration = now - self._handling_since
        self._handling_since = 0.0
        bucket = 0 if duration <= _SHORT else bisect_left(DURATION_BOUNDS, duration)
        buckets = self._handler
        buckets.counts[bucket] += 1
        buckets.sum += duration
        if self.message_context is not None:
            buckets.exemplars[bucket] = (self.message_context, duration, time.time())
        if self.listener is not None:
            try:
                self.listener.handled()
            except Exception as error:  # noqa: BLE001
                self._stop_listening(error)
        if self._on_handled:
            self._hooks.call("message_handled", self, duration)

    def sent(self, message: MutableMapping[str, Any], started: float, now: float) -> None:
        """Take in what the application sent, after the server took it."""
        if message["type"] != "websocket.send" or self.state is not _OPEN:
            self._sent_other(message, now)
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
        if self._on_sent:
            self._hooks.call("message_sent", self, message, size)

    def send_failed(self, error: BaseException, now: float) -> None:
        """Take in that the server refused what the application sent."""
        if not isinstance(error, Exception):
            return
        self._send_errors = (*self._send_errors[-7:], error)
        # How servers say that the connection is gone, by the ASGI specification since 2.4.
        self._peer_gone = self._peer_gone or isinstance(error, OSError)
        # uvicorn's legacy implementation raises it from the exception of websockets, which has the
        # close frame; its `receive` would have to wait for the same.
        frame = getattr(error.__cause__, "rcvd", None)
        if frame is not None:
            close = {"code": frame.code, "reason": frame.reason}
            self.received({"type": "websocket.disconnect"} | close, now)

    def limited(self) -> None:
        """Take in that the handshake is going to be refused for want of capacity."""
        self._limited = True

    def ended(self, error: BaseException | None, now: float) -> None:
        """Take in that the application returned, or what it raised."""
        before = self.state
        self._step("end")
        failed = isinstance(error, Exception) and not self._is_leave(error)
        if failed and error is not None:
            self._observation.store.count_error(self._bind_route(), error)
            self._hooks.call("errored", self, error)
        self.handled(now)
        if before is State.CONNECTING:
            if self._peer_gone:
                self._fail_handshake("rejected", "abandoned", None, now)
            else:
                cancelled = error is not None and not failed
                self._fail_handshake("rejected", "cancelled" if cancelled else "error", 500, now)
        elif before is _OPEN:
            self._close(self._judge_end(error, failed), now)
        self._hooks.call("ended", self)
        # Their tracebacks refer to this record.
        self._send_errors = ()

    # What it means.

    def _step(self, event: str) -> bool:
        """Go where the table says and return whether it says anything."""
        target = TABLE[self.state].get(event)
        if target is None:
            unexpected, key = self._observation.store.unexpected, (self.state.value, event)
            unexpected[key] = unexpected.get(key, 0) + 1
            return False
        self.state = target
        return True

    def _received_other(self, message: MutableMapping[str, Any], now: float) -> bool:
        """Take in anything but a message on an open connection; return whether it is a message."""
        before = self.state
        event = RECEIVED.get(message["type"], "unknown")
        if not self._step(event):
            return False
        if event == "disconnect":
            self._peer_gone = True
            if before is State.CONNECTING:
                self._fail_handshake("rejected", "abandoned", None, now)
            elif before is _OPEN:
                self._close(judge_disconnect(message), now)
        return event == "message"

    def _sent_other(self, message: MutableMapping[str, Any], now: float) -> None:
        before = self.state
        event = SENT.get(message["type"], "unknown")
        if not self._step(event) or before is self.state:
            return
        if event == "accept":
            self._open(message, now)
        elif event == "response_start":
            self._fail_handshake("denied", "denied", message.get("status"), now)
        elif before is State.CONNECTING:
            # Every server answers 403 here, by the ASGI specification.
            routed = "router" not in self.scope or matched_route(self.scope) is not None
            self._fail_handshake("rejected", "rejected" if routed else "not_found", 403, now)
        else:
            self._close(judge_close(message), now)

    def _stop_listening(self, error: Exception) -> None:
        listener, self.listener, self.message_context = self.listener, None, None
        self._observation.errors.report(
            "tracing", error, type(listener), "this connection's messages have no more spans"
        )

    def _bind_route(self) -> RouteNumbers:
        try:
            return self._numbers
        except AttributeError:
            self._numbers = numbers = self._observation.route(self.scope)
            self.route = numbers.label
            # What the hot path writes, one step nearer.
            self._size_in, self._size_out = numbers.size_in, numbers.size_out
            self._handler, self._send_time = numbers.handler, numbers.send
            return numbers

    def _open(self, message: MutableMapping[str, Any], now: float) -> None:
        numbers = self._bind_route()
        self._accepted = now
        self.handshake_duration = now - self._began
        self.status = 101
        self.outcome = "accepted"
        subprotocol = message.get("subprotocol")
        self.subprotocol = None if subprotocol is None else safe_text(subprotocol, 64)
        numbers.active += 1
        numbers.connects += 1
        numbers.handshake.observe(self.handshake_duration)
        self._hooks.call("opened", self)

    def _fail_handshake(self, outcome: str, reason: str, status: Any, now: float) -> None:
        numbers = self._bind_route()
        self.handshake_duration = now - self._began
        self.outcome = outcome
        self.reason = "limit" if self._limited else reason
        self.status = status if isinstance(status, int) else None
        numbers.failures[self.reason] += 1
        numbers.handshake.observe(self.handshake_duration)
        self._finish()

    def _close(self, verdict: Verdict, now: float) -> None:
        numbers, codes = self._numbers, self._observation.codes
        self.close_code, self.close_text, self.closed_by, self.reason = verdict
        # A handler that raised is an error, though its client sees 1006.
        raised = verdict.reason == "handler_error" and verdict.code == NO_CLOSE_FRAME
        self.outcome = "error" if raised else codes.classify(verdict.code)
        self.duration = now - self._accepted
        key = (codes.label(verdict.code), verdict.closed_by, verdict.reason)
        numbers.closes[key] = numbers.closes.get(key, 0) + 1
        numbers.active -= 1
        numbers.duration.observe(self.duration)
        self._finish()

    def _finish(self) -> None:
        self._observation.store.live -= 1
        self._hooks.call("closed", self)

    def _judge_end(self, error: BaseException | None, failed: bool) -> Verdict:
        """Return how a connection ended that was still open when the application ended.

        uvicorn closes it without a close frame then, which its client sees as 1006.
        """
        if failed:
            return Verdict(NO_CLOSE_FRAME, "", "server", "handler_error")
        if self._peer_gone:
            return Verdict(NO_CLOSE_FRAME, "", "network", "unknown")
        return Verdict(NO_CLOSE_FRAME, "", "server", "no_close" if error is None else "cancelled")

    def _is_leave(self, error: BaseException) -> bool:
        """Return whether an exception only says that the other side is gone."""
        return self._peer_gone and all(map(self._is_leaf_of_leave, _leaves(error)))

    def _is_leaf_of_leave(self, error: BaseException) -> bool:
        if isinstance(error, WebSocketDisconnect):
            return True
        # Some servers raise RuntimeError; after our own close that is the application's mistake.
        gone = isinstance(error, OSError) or self.closed_by != "server"
        return gone and any(error is each for each in self._send_errors)


def _utf8_size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _leaves(error: BaseException, depth: int = 16) -> Iterator[BaseException]:
    """Yield the exception, or those inside an exception group."""
    inner = getattr(error, "exceptions", None)
    if isinstance(inner, tuple) and inner and depth:
        for each in inner:
            yield from _leaves(each, depth - 1)
    else:
        yield error
