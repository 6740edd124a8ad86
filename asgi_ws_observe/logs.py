"""Log lines: one when a connection opens, one when it closes, one per error.

They go to the logger ``asgi_ws_observe.connection`` with their fields as attributes of the record,
so that any formatter and structlog's `ExtraAdder` can use them; `JSONFormatter` writes them as one
JSON object a line. No line ever has the query string, a header or a control character.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from datetime import datetime, timezone
from time import perf_counter
from typing import Any, Final

import orjson

from .connection import Connection
from .hooks import ConnectionHook
from .labels import as_text, safe_text
from .settings import Settings

__all__ = [
    "LOG_FIELDS",
    "ConnectionLog",
    "JSONFormatter",
    "log_to_stderr_if_unconfigured",
    "write_line",
]

logger = logging.getLogger("asgi_ws_observe.connection")

_COMMON: Final = {
    "event": "`ws_open`, `ws_alive`, `ws_close` or `ws_error`",
    "connection_id": "the same in all lines of one connection",
    "trace_id": "32 hexadecimal digits, where there is a trace",
    "span_id": "16 hexadecimal digits of the connection's span",
    "node": "`Settings.node`, where it is set",
    "route": "the path template, or `unmatched`",
    "client_address": "the peer's address, as the server gives it",
}
_OF_CHANNEL: Final = {
    "event": "`ws_fanout_down` when a channel's listener loses the broker, `ws_fanout_up` when it "
    "is back, `ws_fanout_refused` for the first message that could not be published, once for each "
    "kind of error in a row",
    "node": "`Settings.node`, where it is set",
    "channel": "the channel's name",
    "system": "`redis`, `nats`",
}
_BROKER_ERROR: Final = {
    "error_type": "the class of what the client of the broker raised",
    "error_text": "what it said",
}
_OF_CLIENT: Final = {
    "event": "`socketio_open`, `socketio_close` or `socketio_error`",
    "trace_id": "32 hexadecimal digits, where there is a trace: the connection's, or the event's",
    "span_id": "16 hexadecimal digits, likewise",
    "node": "`Settings.node`, where it is set",
    "sid": "the client's, of this namespace",
    "namespace": "the namespace, bounded as the label is",
}
_OF_TRANSPORT: Final = {
    "connection_id": "of the WebSocket's own lines, where that is observed as well",
    "transport": "`polling`, `websocket`",
    "connect_duration": "until the client was answered, seconds",
}
#: Event -> its fields and what they mean. Empty ones are left out of a line.
LOG_FIELDS: Final[dict[str, dict[str, str]]] = {
    "ws_open": _COMMON
    | {
        "subprotocol": "what the application accepted",
        "handshake_duration": "until accepted, seconds",
    },
    "ws_alive": _COMMON
    | {
        "duration": "since accepted, seconds",
        "messages_in": "messages received until then",
        "messages_out": "messages sent until then",
        "bytes_in": "payload bytes received until then",
        "bytes_out": "payload bytes sent until then",
        "handler_time_max": "the longest handler time until then, seconds",
        "heartbeat_rtt": "the last ping's round trip, seconds",
        "write_buffer_bytes": "bytes that have not reached the client",
        "sending": "`send()` calls that have not returned",
    },
    "ws_close": _COMMON
    | {
        "outcome": "`normal`, `going_away`, `abnormal`, `error`, `application`; for a handshake "
        "that failed `rejected` or `denied`",
        "status": "HTTP status of a handshake that failed",
        "code": "the close code",
        "closed_by": "`client`, `server`, `network` or `unknown`",
        "reason": "the cause, of a closed set",
        "close_text": "the close frame's reason, control characters escaped",
        "duration": "accept to close, seconds",
        "messages_in": "messages received",
        "messages_out": "messages sent",
        "bytes_in": "payload bytes received",
        "bytes_out": "payload bytes sent",
        "handler_time_max": "the longest handler time, seconds",
        "wire_bytes_in": "bytes received over TCP, the handshake and encryption included",
        "wire_bytes_out": "bytes sent over TCP, likewise",
        "compression": "the extension that compresses messages, or `none`",
        "heartbeat_rtt": "the last ping's round trip, seconds",
        "write_buffer_bytes": "bytes that had not reached the client at the end",
    },
    "ws_error": _COMMON
    | {
        "error_type": "the exception's class",
        "message_type": "what `current_message().type` was set to",
        "messages_in": "messages received until then",
    },
    "ws_fanout_down": _OF_CHANNEL | _BROKER_ERROR,
    "ws_fanout_refused": _OF_CHANNEL | _BROKER_ERROR,
    "ws_fanout_up": _OF_CHANNEL | {"away": "for how long it had not been listening, seconds"},
    "socketio_open": _OF_CLIENT | _OF_TRANSPORT,
    "socketio_close": _OF_CLIENT
    | _OF_TRANSPORT
    | {
        "outcome": "`accepted`, or how connecting failed",
        "reason": "why the client left, of a closed set",
        "code": "the WebSocket's close code",
        "duration": "accepted until left, seconds",
        "events_in": "events received",
    },
    "socketio_error": _OF_CLIENT
    | {
        "operation": "`connect`, `event`, `disconnect`, `save_session`",
        "event_name": "the event, bounded as the label is",
        "error_type": "the exception's class",
    },
}

_STANDARD: Final = frozenset(
    logging.LogRecord("", 0, "", 0, "", (), None).__dict__.keys()
    # `color_message` is uvicorn's: its text again, for terminals.
    | {"message", "asctime", "taskName", "color_message"}
)
_RESERVED: Final = _STANDARD | {
    *("app", "exception", "level", "logger", "time"),
    *(name for fields in LOG_FIELDS.values() for name in fields),
}


_PLAIN: Final = re.compile(r'[^\s="]+')


class ConnectionLog(ConnectionHook):
    """The reader that writes log lines."""

    part = "logs"

    def __init__(self, settings: Settings) -> None:
        self._open = settings.log_open
        self._close = settings.log_close
        self._node = settings.node
        self._unchecked = settings.log_handler == "auto"

    @classmethod
    def of(cls, settings: Settings) -> ConnectionLog:
        """Return the reader that these settings ask for."""
        interval = settings.heartbeat_log_seconds
        return cls(settings) if interval is None else LivingLog(settings, interval)

    def started(self, connection: Connection) -> None:
        # Not earlier: an application may configure logging when it starts.
        if self._unchecked:
            self._unchecked = False
            log_to_stderr_if_unconfigured()

    def opened(self, connection: Connection) -> None:
        if self._open:
            self._write(logging.INFO, "ws_open", connection)

    def closed(self, connection: Connection) -> None:
        if self._close:
            self._write(logging.INFO, "ws_close", connection)

    def errored(self, connection: Connection, error: BaseException) -> None:
        self._write(logging.ERROR, "ws_error", connection, error)

    def _write(
        self, level: int, event: str, connection: Connection, error: BaseException | None = None
    ) -> None:
        if not logger.isEnabledFor(level):
            return
        fields = {
            name: value
            for name, value in self._values(event, connection, error).items()
            if name in LOG_FIELDS[event] and value not in (None, "")
        }
        more = {
            f"app.{name}" if name in _RESERVED else name: given
            for name, given in connection.fields.items()
        }
        write_line(logger, level, fields, more, error)

    def _values(
        self, event: str, connection: Connection, error: BaseException | None
    ) -> dict[str, Any]:
        failed_handshake = connection.outcome in ("rejected", "denied")
        address = connection.scope.get("client")
        values: dict[str, Any] = {
            "event": event,
            "connection_id": connection.id,
            "trace_id": connection.trace_id,
            "span_id": connection.span_id,
            "node": self._node,
            "route": connection.route,
            "client_address": safe_text(address[0], 64) if address else None,
            "outcome": connection.outcome,
            "status": connection.status if failed_handshake else None,
            "code": connection.close_code,
            "subprotocol": connection.subprotocol,
            "handshake_duration": round(connection.handshake_duration, 6),
        }
        for name in ("closed_by", "reason", "close_text", "messages_in"):
            values[name] = getattr(connection, name)
        if not failed_handshake:
            values["duration"] = round(connection.duration, 6)
            for name in ("messages_out", "bytes_in", "bytes_out"):
                values[name] = getattr(connection, name)
            values["handler_time_max"] = round(connection.slowest, 6) or None
            values |= _seen_below(connection)
        if error is not None:
            values["error_type"] = type(error).__name__
            kind = connection.message_type
            values["message_type"] = None if kind is None else safe_text(kind, 64)
        return values


class LivingLog(ConnectionLog):
    """The same with a line now and then while a connection is open.

    Args:
        settings: The middleware's settings.
        interval: Seconds between two lines of one connection.
    """

    def __init__(self, settings: Settings, interval: float) -> None:
        super().__init__(settings)
        self._interval = interval
        self._due: dict[Connection, float] = {}

    def alive(self, connection: Connection) -> None:
        now = perf_counter()
        due = self._due.get(connection, connection.accepted_at + self._interval)
        if now >= due:
            # From the last one, so that a late round makes no later ones late.
            missed = (now - due) // self._interval
            due += (missed + 1) * self._interval
            self._write(logging.INFO, "ws_alive", connection)
        self._due[connection] = due

    def closed(self, connection: Connection) -> None:
        self._due.pop(connection, None)
        super().closed(connection)

    def _values(
        self, event: str, connection: Connection, error: BaseException | None
    ) -> dict[str, Any]:
        values = super()._values(event, connection, error)
        if event == "ws_alive":
            probe = connection.probe
            values["duration"] = round(perf_counter() - connection.accepted_at, 6)
            # A server that has changed costs this field and no line.
            with suppress(Exception):
                values["write_buffer_bytes"] = None if probe is None else probe.write_buffer()
            values["sending"] = connection.sending or None
        return values


def write_line(
    to: logging.Logger,
    level: int,
    fields: dict[str, Any],
    more: dict[str, Any] | None = None,
    error: BaseException | None = None,
) -> None:
    """Write one line.

    Args:
        to: Whose.
        level: How grave it is.
        fields: ``event``, and what the plain line and the record have.
        more: What the record has besides.
        error: Whose traceback it has.
    """
    text = " ".join(f"{name}={_quoted(fields[name])}" for name in fields if name != "event")
    # Not by `extra`, which raises where a record factory of the application's has set a field of
    # the same name; nor by `logger.log`, which walks the stack to name our own line.
    cause = None if error is None else (type(error), error, error.__traceback__)
    record = to.makeRecord(
        to.name, level, __file__, 0, "%s %s", (fields["event"], text), cause, "write_line"
    )
    vars(record).update(fields | (more or {}))
    to.handle(record)


def _seen_below(connection: Connection) -> dict[str, Any]:
    rtt, compression = connection.heartbeat_rtt, connection.compression
    return {
        "wire_bytes_in": connection.wire_in or None,
        "wire_bytes_out": connection.wire_out or None,
        "compression": None if compression is None else compression or "none",
        "heartbeat_rtt": None if rtt is None else round(rtt, 6),
        "write_buffer_bytes": connection.write_buffer,
    }


def _quoted(value: object) -> str:
    """Return a value for the plain line, in quotes where it could pass for more than one."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else orjson.dumps(text).decode()


class JSONFormatter(logging.Formatter):
    """Writes a log record, of this library or any other, as one JSON object on one line.

    The keys are ``time`` (ISO 8601, UTC), ``level``, ``logger``, then the record's own fields, or
    ``message`` where it has no ``event``; ``exception`` is the traceback. For
    `logging.config.dictConfig`: ``{"()": "asgi_ws_observe.JSONFormatter"}``.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname,
            "logger": record.name,
        }
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if "event" not in extra:
            line["message"] = record.getMessage()
        for name, value in extra.items():
            line[f"app.{name}" if name in line else name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return (
            _dumps(line) or _dumps({safe_text(key): _writable(line[key]) for key in line})
        ).decode()


def _dumps(value: object) -> bytes:
    """Return the JSON of a value, nothing where it has none."""
    try:
        return orjson.dumps(value, default=as_text, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return b""


def _writable(value: object) -> object:
    # Lone surrogates, numbers beyond 64 bits and circular values work as text.
    return value if _dumps(value) else safe_text(value, 65536)


def log_to_stderr_if_unconfigured() -> bool:
    """Write JSON lines to stderr if nobody configured logging; return whether it was so.

    "Configured" is any handler that this library's logger reaches, or a level set on it.
    """
    package = logging.getLogger("asgi_ws_observe")
    if logger.hasHandlers() or package.level != logging.NOTSET or logger.level != logging.NOTSET:
        return False
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    return True
