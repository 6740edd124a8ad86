"""When, by whom and as what number a message was published: one check for both ends of its way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from time import time as wall_clock
from typing import Any, Final, TypeAlias

import orjson

__all__ = [
    "MAX_PUBLISHER",
    "MAX_SEQUENCE",
    "NOTHING",
    "Fields",
    "checked",
    "fields_in",
    "from_texts",
    "texts_of",
    "to_texts",
]

#: The largest number of characters of a publisher's name.
MAX_PUBLISHER: Final = 64
#: The largest number of a message: what a signed integer of 64 bits holds.
MAX_SEQUENCE: Final = 2**63 - 1

#: Time, clock, publisher and sequence, as in `Envelope`.
Fields: TypeAlias = "tuple[float | None, float | None, str | None, int | None]"
#: Those of a message that says nothing.
NOTHING: Final[Fields] = (None, None, None, None)

_PREFIX: Final = "ws-"
_MAX_DIGITS: Final = 32
_MAX_FLOAT: Final = sys.float_info.max


def _number(value: Any) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    # No NaN is in between; an integer that no float holds can be compared.
    return float(value) if -_MAX_FLOAT <= value <= _MAX_FLOAT else None


def _name(value: Any) -> str | None:
    fits = isinstance(value, str) and 0 < len(value) <= MAX_PUBLISHER and value.isprintable()
    return value if fits else None


def _sequence(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 < value <= MAX_SEQUENCE else None


_CHECKS: Final[Mapping[str, tuple[Callable[[Any], Any], str]]] = {
    "time": (_number, "a finite number"),
    "clock": (_number, "a finite number"),
    "publisher": (_name, f"1 to {MAX_PUBLISHER} printable characters"),
    "sequence": (_sequence, "an integer from 1 to 2**63 - 1"),
}


def checked(
    publisher: str | None, sequence: int | None, time: float | None, clock: float | None
) -> dict[str, Any]:
    """Return what is known of a message that is published.

    The time always is: by that the other end knows that there is an envelope.

    Raises:
        ValueError: The other end would not take an argument.
    """
    moment = wall_clock() if time is None else time
    given = {"time": moment, "clock": clock, "publisher": publisher, "sequence": sequence}
    meta = {}
    for name, value in given.items():
        if value is not None:
            check, accepted = _CHECKS[name]
            meta[name] = check(value)
            if meta[name] is None:
                raise ValueError(f"{name}: got {value!r}; accepted: {accepted}")
    return meta


def fields_in(meta: Mapping[str, Any]) -> Fields | None:
    """Return what is valid, `None` where nothing is: then somebody else uses these names."""
    get = meta.get
    fields = (
        *(_number(get("time")), _number(get("clock"))),
        *(_name(get("publisher")), _sequence(get("sequence"))),
    )
    return None if fields == NOTHING else fields


# As headers.


def to_texts(meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of what is known."""
    return {_PREFIX + name: str(value) for name, value in meta.items()}


def from_texts(texts: Mapping[str, str]) -> Fields | None:
    """Return what the headers say, `None` where they say nothing that is valid."""
    meta: dict[str, Any] = {"publisher": texts.get(_PREFIX + "publisher")}
    for name in ("time", "clock", "sequence"):
        text = texts.get(_PREFIX + name, "")
        try:
            # JSON's numbers are those that str() writes, and fewer than int() and float() read.
            meta[name] = orjson.loads(text) if len(text) <= _MAX_DIGITS else None
        except ValueError:
            meta[name] = None
    return fields_in(meta)


def texts_of(headers: Mapping[str, Any] | Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Return the headers that are text, by their names in lower case; the last of each.

    Args:
        headers: A mapping or pairs, as clients of brokers give them. Values are `str` or UTF-8
            `bytes`; others are left out.
    """
    found: dict[str, str] = {}
    try:
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            key, text = _text(name), _text(value)
            if key is not None and text is not None:
                found[key.lower()] = text
    except (TypeError, ValueError):
        # Neither a mapping nor pairs: what came so far counts.
        pass
    return found


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None
