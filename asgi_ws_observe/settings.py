"""What can be set: each field, its environment variable, its default and what it accepts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .exceptions import SettingsError
from .labels import MAX_ROUTES, safe_text
from .options import (
    Callback,
    Choice,
    DeclaredCodes,
    ErrorCodes,
    Kind,
    Names,
    Number,
    Path,
    Patterns,
    Switch,
    Text,
    TokenOrCallback,
    WordOrCallback,
    WordOrDirectory,
)

__all__ = [
    "ENVIRONMENT_PREFIX",
    "TRUST_WORDS",
    "MessageCallback",
    "MetricsAuth",
    "ScopeCallback",
    "Settings",
    "settings_table",
]

#: An environment variable is this and the field's name in capitals.
ENVIRONMENT_PREFIX: Final = "ASGI_WS_OBSERVE_"

#: A function of the connection's ASGI scope that returns a text, or `None` for the default.
ScopeCallback = Callable[[Mapping[str, Any]], "str | None"]
#: A bearer token, or a function of the request's ASGI scope that says whether it may read.
MetricsAuth = str | Callable[[Mapping[str, Any]], "bool | Awaitable[bool]"]

#: A function of an ASGI message that returns its type, or `None`.
MessageCallback = Callable[[Mapping[str, Any]], "str | None"]
#: What `Settings.trust` may be, or return.
TRUST_WORDS: Final = ("auto", "link", "parent", "never")

_UNSET: Final[Any] = object()


def _option(default: Any, kind: Kind, text: str, *, secret: bool = False) -> Any:
    """Return a dataclass field: its default, its kind, and its line in the reference."""
    return dataclasses.field(
        default=_UNSET,
        repr=not secret,
        metadata={"default": default, "kind": kind, "text": text, "secret": secret},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the library.

    Every field is a keyword argument here and an environment variable
    ``ASGI_WS_OBSERVE_<FIELD>``; an argument wins over the environment. The reference page of the
    documentation has a line for each.

    Raises:
        SettingsError: A value is not accepted.
    """

    enabled: bool = _option(
        True,
        Switch(),
        "Observe at all. When false, the middleware passes everything through untouched.",
    )
    node: str | None = _option(
        None,
        Text(optional=True),
        "A constant label `node` on every series and a field on every log line. Off by default, "
        "since Prometheus adds `instance`.",
    )
    excluded_paths: Sequence[str] = _option(
        (), Patterns(), "Connections to these paths are passed through and never observed."
    )
    connection_id: ScopeCallback | None = _option(
        None,
        Callback(optional=True),
        "Gets the scope, returns the connection's id. Default: 16 random hexadecimal digits.",
    )
    route: ScopeCallback | None = _option(
        None,
        Callback(optional=True),
        "Gets the scope at accept, returns the label `route` (`None`: found as usual), for "
        "applications whose router leaves no template in the scope.",
    )
    max_routes: int = _option(
        MAX_ROUTES, Number(1), "Distinct values of the label `route`; the rest is `other`."
    )
    close_codes: Sequence[int] = _option(
        (),
        DeclaredCodes(),
        "Close codes of the application that get a label of their own instead of `3xxx` or `4xxx`.",
    )
    error_close_codes: Sequence[int] = _option(
        (1011,),
        ErrorCodes(),
        "Close codes that are errors: they set the outcome and the span's status.",
    )
    max_connections: int | None = _option(
        None,
        Number(1, optional=True),
        "The tested ceiling of this process, shown as `ws_connections_limit`.",
    )
    enforce: bool = _option(
        False,
        Switch(),
        "Refuse handshakes above `max_connections` with status 503 instead of only showing them.",
    )
    probe: str = _option(
        "auto",
        Choice("auto", "off"),
        "`auto`: read off the server's own objects what ASGI does not carry: the true end of each "
        "connection, heartbeats, write buffers, queues. `off`: only what ASGI tells.",
    )
    look_interval: float = _option(
        5.0,
        Number(0, whole=False, unit="seconds"),
        "How often all open connections are looked at: write buffers, queues, bytes on the wire; "
        "0 turns it off.",
    )
    slow_buffer_bytes: int = _option(
        2**20,
        Number(1),
        "A connection with more unsent bytes than this counts in `ws_slow_connections`.",
    )
    heartbeat_interval: float | None = _option(
        None,
        Number(0.1, whole=False, unit="seconds", optional=True),
        "Ping every connection this often where the server itself does not, or more rarely. "
        "None: measure the server's own pings only.",
    )
    heartbeat_timeout: float = _option(
        20.0,
        Number(0.1, whole=False, unit="seconds"),
        "A ping without an answer for this long counts in `ws_heartbeat_timeouts_total`.",
    )
    heartbeat_close: bool = _option(
        False,
        Switch(),
        "End connections that are dead: one whose ping was not answered in time (close code "
        "1011), and one that the server closes and that its client keeps from ending.",
    )
    connection_span: str = _option(
        "nested",
        Choice("nested", "linked", "off"),
        "`nested`: the span `ws.upgrade` lasts as long as the connection and messages are its "
        "children. `linked`: it ends when the handshake is accepted, and every message is a trace "
        "of its own with a link to it. `off`: no spans.",
    )
    max_span_seconds: float | None = _option(
        None,
        Number(1, whole=False, unit="seconds", optional=True),
        "A span `ws.upgrade` that lasts longer ends, and another one with a link to it follows, so "
        "that no backend waits for hours. None: it lasts as long as the connection.",
    )
    message_spans: str = _option(
        "capped",
        Choice("all", "capped", "slow", "off"),
        "Spans `ws.message` of received messages. `all`: one each. `capped`: `message_span_rate` a "
        "second, and beyond that the slow and the failed ones. `slow`: only those. `off`: none.",
    )
    message_span_rate: float = _option(
        100.0,
        Number(0.01, whole=False, unit="spans a second"),
        "How many message spans the process makes a second when they are `capped`.",
    )
    slow_message_seconds: float = _option(
        1.0,
        Number(0, whole=False, unit="seconds"),
        "A message whose handler takes this long has a span in any case.",
    )
    message_type: MessageCallback | None = _option(
        None,
        Callback(optional=True),
        "Gets the ASGI message, returns its type for the span's name (`None`: found as usual).",
    )
    message_type_keys: Sequence[str] | None = _option(
        ("type", "event", "action", "op"),
        Names(optional=True),
        "Keys of a message that is a JSON object, the first of which that it has is its type. "
        "None: no message is read for that.",
    )
    message_json_bytes: int = _option(
        16384, Number(0), "Messages larger than this are not read as JSON."
    )
    send_spans: bool = _option(
        False,
        Switch(),
        "Make spans `ws.send` of what the application sends, bounded as `message_spans` says.",
    )
    trust: str | ScopeCallback = _option(
        "auto",
        WordOrCallback(*TRUST_WORDS),
        "What trace context from outside is. `auto`: that of the upgrade's headers is the parent, "
        "that of the query string and of messages is linked. `parent`, `link`, `never`: all of it "
        "is. Or a callable that gets the scope and returns one of these.",
    )
    log_open: bool = _option(True, Switch(), "Write the line `ws_open` for each connection.")
    log_close: bool = _option(
        True, Switch(), "Write the line `ws_close` for each connection and each failed handshake."
    )
    heartbeat_log_seconds: float | None = _option(
        None,
        Number(1, whole=False, unit="seconds", optional=True),
        "Write the line `ws_alive` this often for each open connection. None: never.",
    )
    log_handler: str = _option(
        "auto",
        Choice("auto", "off"),
        "`auto`: where the application configured no logging at all by the first connection, "
        "write JSON lines to stderr. `off`: never add a handler.",
    )
    metrics_auth: MetricsAuth | None = _option(
        None,
        TokenOrCallback(optional=True),
        "Close `/metrics`: a bearer token (401 without it), or a callable, plain or async, that "
        "gets the request's scope and returns whether it may read (403 if not).",
        secret=True,
    )
    metrics_path: str | None = _option(
        None,
        Path(optional=True),
        "Where `opentelemetry-instrument` and `WebSocketInstrumentor` serve the metrics. None: "
        "nowhere. `mount_metrics` and `observe` take theirs as an argument.",
    )
    workers: str = _option(
        "auto",
        WordOrDirectory("auto", "off"),
        "`auto`: the workers that uvicorn, gunicorn, hypercorn or granian started answer "
        "`/metrics` for each other, with the label `worker`. A directory: all processes that name "
        "the same one do, whoever started them. `off`: each answers for itself.",
    )
    otlp: bool = _option(
        False,
        Switch(),
        "Export all metrics over OTLP, to where OpenTelemetry's own variables "
        "(`OTEL_EXPORTER_OTLP_ENDPOINT` and the like) say. Needs the extra `otlp`.",
    )
    loop_lag_interval: float = _option(
        0.5,
        Number(0, whole=False, unit="seconds"),
        "How often the event loop's lag is measured; 0 turns it off.",
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _resolve(field, getattr(self, field.name)))
        if self.enforce and self.max_connections is None:
            raise SettingsError(
                "Settings.enforce: got True without max_connections; accepted: max_connections=N "
                "beside it"
            )
        if self.send_spans and self.message_spans == "off":
            raise SettingsError(
                "Settings.send_spans: got True with message_spans='off', which bounds them; "
                "accepted: message_spans='all', 'capped' or 'slow' beside it"
            )


def _resolve(field: dataclasses.Field[Any], value: Any) -> Any:
    """Return the checked value of a field: the argument, else the environment's, else the default.

    Raises:
        SettingsError: It is not accepted.
    """
    kind: Kind = field.metadata["kind"]
    shown, source = value, ""
    if value is _UNSET:
        variable = ENVIRONMENT_PREFIX + field.name.upper()
        text = os.environ.get(variable)
        if text is None:
            return field.metadata["default"]
        shown, source = text, f" from the environment variable {variable}"
        if not text.strip():
            return None if kind.optional else field.metadata["default"]
    if value is None and kind.optional:
        return None
    try:
        return kind.check(kind.parse(shown) if source else value)
    except (ValueError, TypeError, OverflowError) as error:
        # A token must not reach a log by way of an error message.
        secret = field.metadata["secret"]
        got = "a value" if secret else safe_text(repr(shown))
        why = f" ({safe_text(error)})" if str(error) and source and not secret else ""
        raise SettingsError(
            f"Settings.{field.name}: got {got}{source}; accepted: {kind.describe()}{why}"
        ) from None


def settings_table() -> list[tuple[str, str, str, str, str]]:
    """Return the rows of the reference: field, variable, default, what is accepted, meaning."""
    return [
        (
            field.name,
            ENVIRONMENT_PREFIX + field.name.upper(),
            repr(field.metadata["default"]),
            field.metadata["kind"].describe(),
            field.metadata["text"],
        )
        for field in dataclasses.fields(Settings)
    ]
