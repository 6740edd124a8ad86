"""The record: state, counts and times of one connection, without I/O and without an event loop.

The shell (`asgi_ws_observe.middleware`) tells the record what passes between the server and the
application; the record counts it, judges it by the table of `asgi_ws_observe.states` and calls the
hooks.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final

from starlette.websockets import WebSocketDisconnect

from .close_codes import NO_CLOSE_FRAME, NO_STATUS
from .labels import UNMATCHED, matched_route, safe_text
from .observation import Observation
from .probe import Probe
from .states import (
    RECEIVED,
    SENT,
    TABLE,
    Ending,
    State,
    Verdict,
    judge_close,
    judge_disconnect,
    judge_ending,
)
from .store import RTT_BOUNDS, RouteNumbers
from .traffic import Message, Traffic

__all__ = ["Connection", "Message"]

#: A round trip during which the server read nothing for longer, seconds, is kept apart.
PAUSED_TOLERANCE: Final = 0.005

_OPEN: Final = State.OPEN
_NOTHING_SEEN: Final = Ending()
_NO_FIELDS: Final[Mapping[str, str | bool | int | float]] = MappingProxyType({})


class Connection(Traffic):
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
        slowest: The longest handler time, seconds.
        response_headers: Those of the handshake's answer, while the hooks `opened` and `closed`
            are called for it; else empty.
        duration: Accept until the connection ended, seconds; 0.0 while open and for a failed
            handshake.
        handshake_duration: Until the handshake was answered or given up, seconds.
        status: The HTTP status of the handshake's answer, `None` where there was none.
        close_code: The close code, `None` until a close is known and for a failed handshake.
        close_text: The close frame's reason, control characters escaped.
        closed_by: ``client``, ``server``, ``network`` or ``unknown``; empty without a close.
        reason: The cause of the close, or of the failed handshake; empty before.
        outcome: ``accepted`` until a close is known; ``rejected`` or ``denied``; or the close's
            class.
        heartbeat_rtt: The last ping's round trip, seconds; `None` before the first. One during
            which the server read nothing does not count.
        wire_in: Bytes received over TCP, as far as looked at; 0 where that cannot be had.
        wire_out: Bytes sent over TCP, likewise.
        write_buffer: Bytes that were sent and had not reached the peer at the end; `None` before,
            and where that cannot be had.
        compression: The extension that compresses messages, empty for none; `None` before the
            end, and where that cannot be had.
        is_limited: Whether the handshake is refused for want of capacity.
        fields: What `set` kept.
        message: The message that is, or was last, handled.
    """

    __slots__ = (
        *(
            "_accepted",
            "_open_until",
            "_began",
            "_closed",
            "_closed_itself",
            "_ended",
            "_peer_gone",
        ),
        *("_returned", "_send_errors", "_verdict", "close_code", "close_text", "closed_by"),
        *("compression", "duration", "fields", "handshake_duration", "heartbeat_rtt", "id"),
        *("identity", "is_limited"),
        *("outcome", "probe", "reason", "response_headers", "route", "scope", "span_context"),
        "status",
        *("subprotocol", "trace"),
        *("wire_in", "wire_out", "write_buffer"),
    )

    #: How many fields `set` keeps.
    MAX_FIELDS: Final = 32

    def __init__(
        self, observation: Observation | None, scope: MutableMapping[str, Any], now: float
    ) -> None:
        super().__init__(observation)
        self.scope = scope
        self.route = UNMATCHED
        self.id = ""
        self.subprotocol: str | None = None
        self.response_headers: Iterable[Any] = ()
        self.duration = self.handshake_duration = 0.0
        self.heartbeat_rtt: float | None = None
        self.wire_in = self.wire_out = 0
        self.write_buffer: int | None = None
        self.compression: str | None = None
        self.status: int | None = None
        self.close_code: int | None = None
        self.close_text = self.closed_by = self.reason = self.outcome = ""
        self.fields: Mapping[str, str | bool | int | float] = _NO_FIELDS
        # Set by the tracing reader: its own state, the context of the connection's span, and the
        # same where it is sampled.
        self.trace: Any = None
        self.identity: Any = None
        self.span_context: Any = None
        # Set by the shell: what sees below ASGI.
        self.probe: Probe | None = None
        self._began = now
        self._accepted = self._open_until = 0.0
        self.is_limited = self._peer_gone = self._closed_itself = False
        self._closed = self._returned = self._ended = False
        self._verdict: Verdict | None = None
        self._send_errors: tuple[BaseException, ...] = ()
        if observation is not None:
            self.id = observation.make_id(scope)
            observation.store.live += 1

    @property
    def observation(self) -> Observation:
        """What it shares with the other connections of its middleware."""
        return self._observation

    @property
    def trace_id(self) -> str:
        return f"{self.identity.trace_id:032x}" if self.identity else ""

    @property
    def span_id(self) -> str:
        return f"{self.identity.span_id:016x}" if self.identity else ""

    @property
    def accepted_at(self) -> float:
        """When the handshake was accepted, of `time.perf_counter()`; 0.0 before."""
        return self._accepted

    @property
    def numbers(self) -> RouteNumbers:
        """The numbers of its route, once the handshake was answered."""
        return self._numbers

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
            kept: Any = value if small else safe_text(value)
            if isinstance(self.fields, dict):
                self.fields[name] = kept
            else:
                self.fields = {name: kept}

    # What the shell tells. `now` is `time.perf_counter()`.

    def send_failed(
        self, message: MutableMapping[str, Any], error: BaseException, started: float, now: float
    ) -> None:
        """Take in that the server refused what the application sent."""
        if self.send_listener is not None and message["type"] == "websocket.send":
            self._tell_sender(message, started, now, error)
        if self._accepted:
            # It may have waited for long behind a client that reads no more.
            self._numbers.send.observe(now - started)
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

    def refused(self, status: int, now: float) -> None:
        """Take in that the server refused the handshake, so that no application is called.

        Args:
            status: The HTTP status of its answer.
            now: `time.perf_counter()`.
        """
        self._hooks.call("started", self)
        self._step("close")
        self._fail_handshake("rejected", "bad_request", status, now)
        self._returned = True
        self._hooks.call("returned", self)
        self._end()

    def ended(self, error: BaseException | None, now: float) -> None:
        """Take in that the application returned, or what it raised."""
        before = self.state
        self._step("end")
        if before is _OPEN and self._seen() is not None:
            # The application was not told yet.
            self._peer_gone = True
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
            self._conclude(self._judge_end(error, failed), now)
        self._returned = True
        self._hooks.call("returned", self)
        # Their tracebacks refer to this record.
        self._send_errors = ()
        self._end()

    # What a probe tells.

    def lost(self, ending: Ending, now: float) -> None:
        """Take in that the TCP connection has ended, and how.

        Args:
            ending: What the probe saw.
            now: `time.perf_counter()`.
        """
        before = self.state
        self._step("lost")
        self._peer_gone = True
        if before is _OPEN:
            self._open_until = now
        if before is State.CONNECTING:
            stopped = ending.cause == "server_shutdown"
            reason, status = ("cancelled", 500) if stopped else ("abandoned", None)
            self._fail_handshake("rejected", reason, status, now)
        elif not self._closed:
            self._set_verdict(judge_ending(ending, self._verdict))
            self._close(now)
        self._end()

    def heartbeat(self, rtt: float, paused: float) -> None:
        """Take in that a ping was answered.

        Args:
            rtt: From the ping written to its pong read, seconds.
            paused: How much of that the server read nothing, since the application had a message
                to take first, seconds.
        """
        numbers = self._numbers
        if paused > PAUSED_TOLERANCE:
            numbers.rtt_paused.observe(rtt)
            return
        self.heartbeat_rtt = rtt
        numbers.rtt.observe(rtt)
        if self.span_context is not None:
            bucket = bisect_left(RTT_BOUNDS, rtt)
            numbers.rtt.exemplars[bucket] = (self.span_context, rtt, time.time())

    def heartbeat_missed(self) -> None:
        """Take in that a ping was not answered in time."""
        self._numbers.heartbeat_timeouts += 1

    def wired(self, bytes_in: int, bytes_out: int, rtt: float) -> None:
        """Take in what the kernel says of the TCP connection.

        Args:
            bytes_in: Bytes received since it exists.
            bytes_out: Bytes sent since it exists.
            rtt: The kernel's smoothed round trip, seconds; 0.0 where it has none.
        """
        numbers = self._numbers
        numbers.wire_in += bytes_in - self.wire_in
        numbers.wire_out += bytes_out - self.wire_out
        self.wire_in, self.wire_out = bytes_in, bytes_out
        if rtt:
            numbers.tcp_rtt.observe(rtt)

    def abort(self, reason: str = "no_close") -> bool:
        """End the TCP connection at once, whatever is unsent; return whether that was possible.

        It frees a handler that waits in ``send()`` behind a client that reads no more. The handler
        then sees what it sees when a client vanishes. Call it on the event loop.

        Args:
            reason: Why, one of `asgi_ws_observe.close_codes.REASONS`.
        """
        if self.probe is None or not self.probe.abort():
            return False
        if self._accepted and self._verdict is None:
            self._set_verdict(Verdict(NO_CLOSE_FRAME, "", "server", reason))
        return True

    # What it means.

    def _step(self, event: str) -> bool:
        """Go where the table says and return whether it says anything."""
        target = TABLE[self.state].get(event)
        if target is None:
            unexpected, key = self._observation.store.unexpected, (self.state.value, event)
            unexpected[key] = unexpected.get(key, 0) + 1
            return False
        self.state = target
        self._is_open = target is _OPEN
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
                self._conclude(judge_disconnect(message), now)
        return event == "message"

    def _sent_other(self, message: MutableMapping[str, Any], started: float, now: float) -> None:
        before = self.state
        event = SENT.get(message["type"], "unknown")
        if event == "send" and started < self._open_until:
            # It has waited while the connection ended, perhaps for a client that reads no more.
            self._numbers.send.observe(now - started)
            return
        if not self._step(event) or before is self.state:
            return
        if event == "accept":
            self._open(message, now)
        elif event == "response_start":
            self.response_headers = message.get("headers") or ()
            self._fail_handshake("denied", "denied", message.get("status"), now)
            self.response_headers = ()
        elif before is State.CONNECTING:
            # Every server answers 403 here, by the ASGI specification.
            routed = "router" not in self.scope or matched_route(self.scope) is not None
            self._fail_handshake("rejected", "rejected" if routed else "not_found", 403, now)
        else:
            self._closed_itself = True
            self._conclude(judge_close(message), now)

    def name_route(self, template: str) -> None:
        """Give the route a label where the router knows none; before the handshake is answered.

        Args:
            template: One that no client can choose.
        """
        self._bind_route(template)

    def _bind_route(self, template: str = "") -> RouteNumbers:
        try:
            return self._numbers
        except AttributeError:
            numbers = self._observation.route(self.scope, template)
            self.route = numbers.label
            self._bind(numbers)
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
        if self.probe is not None:
            self.probe.opened()
        # Kept by nobody for as long as a connection lasts.
        self.response_headers = message.get("headers") or ()
        self._hooks.call("opened", self)
        self.response_headers = ()

    def _fail_handshake(self, outcome: str, reason: str, status: Any, now: float) -> None:
        numbers = self._bind_route()
        self.handshake_duration = now - self._began
        self.outcome = outcome
        self.reason = "limit" if self.is_limited else reason
        self.status = status if isinstance(status, int) else None
        numbers.failures[self.reason] += 1
        numbers.handshake.observe(self.handshake_duration)
        self._finish()

    def _conclude(self, verdict: Verdict, now: float) -> None:
        """Take in how the connection ends as far as ASGI tells.

        With a probe that tells the end, the connection lasts until then: the server may still have
        to write, or to wait for the client's close frame.
        """
        self._open_until = now
        probe = self.probe
        if probe is None or not probe.tells_end:
            self._set_verdict(verdict if probe is None else probe.correct(verdict))
            self._close(now)
            return
        seen = self._seen()
        if self._verdict is None:
            self._set_verdict(verdict if seen is None else judge_ending(seen, verdict))

    def _seen(self) -> Ending | None:
        """Return what the probe has seen of the end until now, `None` for nothing."""
        probe = self.probe
        seen = probe.ending() if probe is not None and probe.tells_end else None
        return None if seen == _NOTHING_SEEN else seen

    def _set_verdict(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self.close_code, self.close_text, self.closed_by, self.reason = verdict
        # A handler that raised is an error, though its client sees 1006, or 1005 on granian.
        raised = verdict.reason == "handler_error" and verdict.code in (NO_CLOSE_FRAME, NO_STATUS)
        self.outcome = "error" if raised else self._observation.codes.classify(verdict.code)

    def _close(self, now: float) -> None:
        numbers = self._numbers
        self.duration = now - self._accepted
        code = self._observation.codes.label(self.close_code or 0)
        key = (code, self.closed_by, self.reason)
        numbers.closes[key] = numbers.closes.get(key, 0) + 1
        numbers.active -= 1
        numbers.duration.observe(self.duration)
        if self.write_buffer is not None:
            numbers.buffer.observe(self.write_buffer)
        self._finish()

    def _finish(self) -> None:
        self._closed = True
        self._observation.store.live -= 1
        self._hooks.call("closed", self)
        if self.probe is not None:
            self.probe.finished()

    def _end(self) -> None:
        """Call the last hook when both the connection and the application have ended."""
        if self._returned and self._closed and not self._ended:
            self._ended = True
            self._hooks.call("ended", self)

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
        gone = isinstance(error, OSError) or not self._closed_itself
        return gone and any(error is each for each in self._send_errors)


def _leaves(error: BaseException, depth: int = 16) -> Iterator[BaseException]:
    """Yield the exception, or those inside an exception group."""
    inner = getattr(error, "exceptions", None)
    if isinstance(inner, tuple) and inner and depth:
        for each in inner:
            yield from _leaves(each, depth - 1)
    else:
        yield error
