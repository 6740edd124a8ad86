"""What a channel can be told, checked when it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

from ..exceptions import SettingsError
from ..options import Callback, Choice, Kind, Number, Switch, Text

__all__ = ["ChannelSettings"]


class _Key(Text):
    accepts = "the key that a body goes under, or None"


_KINDS: Final[dict[str, Kind]] = {
    "name": Text(),
    "label": Callback(optional=True),
    "trace": Choice("parent", "link", "off"),
    "key": _Key(optional=True),
    "probe_interval": Number(0.1, whole=False, unit="seconds", optional=True),
    "timeout": Number(0.05, whole=False, unit="seconds"),
    "silence": Number(0.05, whole=False, unit="seconds"),
    "backoff": Number(0.01, whole=False, unit="seconds"),
    "queue": Number(1),
    "outbox": Number(1),
    "raises": Switch(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """What a channel can be told.

    Attributes:
        name: The value of the label ``channel``, and the name in log lines.
        label: Makes a topic's value of that label instead, such as ``room:{id}`` of ``room:17``.
            The first 50 values of a process count, the rest becomes ``other``.
        trace: What a publisher is to a delivery's span: its ``parent``, a ``link``; ``off`` for no
            spans.
        key: Wraps every body under this key; see `asgi_ws_observe.fanout.inject`.
        probe_interval: How often a probe is published and listened for, seconds; `None` for never.
        timeout: How long publishing, connecting and subscribing may take, seconds.
        silence: After so many seconds in which the broker said nothing it is asked, and after as
            many again it counts as lost.
        backoff: The longest pause between two attempts to reach the broker, seconds.
        queue: How many messages of one subscription wait for the application; the oldest are
            dropped first.
        outbox: How many messages wait for a broker that keeps messages; the oldest are dropped
            first.
        raises: Whether `publish` raises what the broker raised.
    """

    name: str
    label: Callable[[str], str] | None = None
    trace: str = "parent"
    key: str | None = None
    probe_interval: float | None = 5.0
    timeout: float = 5.0
    silence: float = 2.0
    backoff: float = 5.0
    queue: int = 10_000
    outbox: int = 10_000
    raises: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _checked(field.name, getattr(self, field.name)))


def _checked(name: str, value: Any) -> Any:
    kind = _KINDS[name]
    if value is None and kind.optional:
        return None
    try:
        return kind.check(value)
    except (ValueError, TypeError):
        raise SettingsError(f"{name}: got {value!r}; accepted: {kind.describe()}") from None
