"""What a channel and a hub can be told: one check for both."""

from __future__ import annotations

from typing import Any, Final, Literal

from ..exceptions import SettingsError
from ..options import Callback, Choice, Kind, Number, Text

__all__ = ["Policy", "checked", "hub_argument"]

#: What happens when a queue is full.
Policy = Literal["drop_oldest", "drop_newest", "close"]


class _CloseCode(Kind):
    """A close code that may be in a close frame (RFC 6455 section 7.4)."""

    accepts = "a close code from 1000 to 4999, but not 1004, 1005, 1006 and 1015"

    def check(self, value: Any) -> int:
        code = int(Number(1000).check(value))
        if code > 4999 or code in (1004, 1005, 1006, 1015):
            raise ValueError
        return code


_KINDS: Final[dict[str, Kind]] = {
    "name": Text(),
    "queue": Number(1, unit="messages"),
    "queue_bytes": Number(1, unit="bytes"),
    "policy": Choice("drop_oldest", "drop_newest", "close"),
    "close_code": _CloseCode(),
    "close_timeout": Number(0, whole=False, unit="seconds"),
    "label": Callback(optional=True),
    "room": Callback(optional=True),
}


def checked(name: str, kind: Kind, value: Any, accepts: str = "") -> Any:
    """Return a value in its final form.

    Args:
        name: What the message calls it.
        kind: What it has to be.
        value: What was given.
        accepts: What the message says is accepted. Default: the kind's own words.

    Raises:
        SettingsError: It is not accepted.
    """
    if value is None and kind.optional:
        return None
    try:
        return kind.check(value)
    except (TypeError, ValueError):
        accepted = accepts or kind.describe()
        raise SettingsError(f"{name}: got {value!r}; accepted: {accepted}") from None


def hub_argument(name: str, value: Any) -> Any:
    """Return an argument of a hub in its final form.

    Raises:
        SettingsError: It is not accepted.
    """
    return checked(f"Hub({name}=...)", _KINDS[name], value)
