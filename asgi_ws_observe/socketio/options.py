"""What `instrument_server` can be told, checked when it is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

from ..exceptions import SettingsError
from ..options import Callback, Choice, Kind, Names
from ..settings import Settings

__all__ = ["ServerOptions", "ServerSettings", "TrustCallback", "server_table"]

#: A function of a client's environ (WSGI's, as connect handlers get it) that says whether to
#: believe that client's trace context.
TrustCallback = Callable[[Mapping[str, Any]], "bool | Literal['never']"]


class _Category(Kind):
    """Templates of room names, or a function."""

    accepts = "templates such as room:{id}, or a plain function of a room's name, or None"

    def check(self, value: Any) -> Any:
        if callable(value):
            return Callback().check(value)
        return _Events().check(value)


class _Events(Names):
    """Names of events."""

    accepts = "a collection of names"


class _Trust(Kind):
    """Whether clients are believed."""

    accepts = "True, False, 'never', or a plain function of the client's environ"

    def check(self, value: Any) -> Any:
        if isinstance(value, bool) or value == "never":
            return value
        return Callback().check(value)


class _Given(Kind):
    """Settings."""

    accepts = "a Settings object, or None"

    def check(self, value: Any) -> Settings:
        if not isinstance(value, Settings):
            raise ValueError
        return value


def _option(kind: Kind, default: Any, text: str) -> Any:
    return field(default=default, metadata={"kind": kind, "text": text})


class ServerOptions(TypedDict, total=False):
    """The same as keyword arguments, for type checkers and editors."""

    room_category: Sequence[str] | Callable[[str], str | None] | None
    ignore_events: Collection[str]
    trust_client: bool | Literal["never"] | TrustCallback
    inject_events: Collection[str]
    event_spans: Literal["all", "capped", "slow", "off"] | None
    settings: Settings | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What `instrument_server` can be told; `server_table` says what each means.

    Raises:
        SettingsError: A value is not accepted.
    """

    room_category: Any = _option(
        _Category(optional=True),
        None,
        "Makes a room's category of its name: templates such as `room:{id}`, the first that fits "
        "counts, or a function (`None` from it: `_other`). Without it `room:42` is of category "
        "`room:{id}`. The first 20 categories count, the rest, and what has none, is `_other`. A "
        "room's name is never a label.",
    )
    ignore_events: Any = _option(
        _Events(),
        (),
        "Events, received and emitted, of which nothing is counted and no span is made.",
    )
    trust_client: Any = _option(
        _Trust(),
        False,
        "What trace context of clients is: `False` links it, `True` makes it the parent, `'never'` "
        "ignores it; or a function of the environ, asked once for each connection. A carrier is "
        "taken off the event's arguments in any case.",
    )
    inject_events: Any = _option(
        _Events(),
        (),
        "Emitted events that carry trace context to clients, as one more argument. Only for "
        "clients that take it off again, or ignore it as JavaScript does.",
    )
    event_spans: Any = _option(
        Choice("all", "capped", "slow", "off"),
        None,
        "Spans of events, emits, deliveries and calls, bounded as `Settings.message_spans` says "
        "of messages, which is what counts if `None` is given. `off`: only those of connections.",
    )
    settings: Any = _option(
        _Given(optional=True),
        None,
        "`enabled`, `node`, `connection_span` (`off`: no spans), `message_span_rate`, "
        "`slow_message_seconds`, `trust` (for the `traceparent` header), `log_open`, `log_close` "
        "and `log_handler` count. Default: from the environment.",
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            kind, value = each.metadata["kind"], getattr(self, each.name)
            if value is None and each.default is None:
                continue
            try:
                object.__setattr__(self, each.name, kind.check(value))
            except (TypeError, ValueError):
                raise SettingsError(
                    f"instrument_server({each.name}=...): got {value!r}; accepted: {kind.accepts}"
                ) from None
        if self.settings is None:
            object.__setattr__(self, "settings", Settings())
        if self.event_spans is None:
            object.__setattr__(self, "event_spans", self.settings.message_spans)


def server_table() -> list[tuple[str, str, str, str]]:
    """Return the rows of the reference: argument, default, what is accepted, meaning."""
    return [
        (each.name, repr(each.default), each.metadata["kind"].accepts, each.metadata["text"])
        for each in fields(ServerSettings)
    ]
