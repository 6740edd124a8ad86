"""What a channel can be told, checked when it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypedDict

from ..options import Callback, Choice, Kind, Number, Switch, Text
from .arguments import checked

__all__ = ["ChannelOptions", "ChannelSettings", "channel_table"]


class _Key(Text):
    accepts = "a key of JSON objects"


def _option(kind: Kind, text: str, default: Any = MISSING) -> Any:
    return field(default=default, metadata={"kind": kind, "text": text})


class ChannelOptions(TypedDict, total=False):
    """The same as keyword arguments, for type checkers and editors."""

    name: str
    label: Callable[[str], str] | None
    trace: Literal["parent", "link", "off"]
    key: str | None
    probe_interval: float | None
    timeout: float
    silence: float
    backoff: float
    queue: int
    outbox: int
    raises: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """What a channel can be told; `channel_table` says what each means.

    Raises:
        SettingsError: A value is not accepted.
    """

    name: str = _option(
        Text(),
        "The value of the label `channel`, and the name in log lines; the broker's system if none "
        "is given.",
    )
    label: Callable[[str], str] | None = _option(
        Callback(optional=True),
        "Makes a topic's value of the label `channel`, such as `room:{id}` of `room:17`, for what "
        "is counted by message. The first 50 values count, the rest becomes `other`; the topic "
        "itself is never a label.",
        None,
    )
    trace: str = _option(
        Choice("parent", "link", "off"),
        "What a publisher is to the span of a delivery. `off`: no spans.",
        "parent",
    )
    key: str | None = _option(
        _Key(optional=True),
        "Wraps every body under this key, where the payload is the envelope.",
        None,
    )
    probe_interval: float | None = _option(
        Number(0.1, whole=False, unit="seconds", optional=True),
        "How often a probe is published and listened for while there is a listener.",
        5.0,
    )
    timeout: float = _option(
        Number(0.05, whole=False, unit="seconds"),
        "How long publishing, connecting and subscribing may take.",
        5.0,
    )
    silence: float = _option(
        Number(0.05, whole=False, unit="seconds"),
        "A broker that said nothing for so long is asked, and lost when as much time passes again.",
        2.0,
    )
    backoff: float = _option(
        Number(0.01, whole=False, unit="seconds"),
        "The longest pause between two attempts to reach the broker; they begin at 0.1 seconds, "
        "double, and are left to chance.",
        5.0,
    )
    queue: int = _option(
        Number(1),
        "How many messages of one subscription wait for the application. Then the oldest are "
        "dropped, or, where the broker keeps messages, no more are read.",
        10_000,
    )
    outbox: int = _option(
        Number(1),
        "How many messages wait for a broker that keeps messages; then the oldest are dropped.",
        10_000,
    )
    raises: bool = _option(
        Switch(), "Whether `publish` raises what the broker's client raised.", False
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            kind = each.metadata["kind"]
            value = checked(each.name, kind, getattr(self, each.name), _accepts(kind))
            object.__setattr__(self, each.name, value)


def _accepts(kind: Kind) -> str:
    # What is in brackets is about environment variables, which a channel has none of.
    return kind.accepts.partition(" (")[0] + (", or None" if kind.optional else "")


def channel_table() -> list[tuple[str, str, str, str]]:
    """Return the rows of the reference: argument, default, what is accepted, meaning."""
    return [
        (
            each.name,
            "" if each.default is MISSING else repr(each.default),
            _accepts(each.metadata["kind"]),
            each.metadata["text"],
        )
        for each in fields(ChannelSettings)
    ]
