"""PromQL as templates: thresholds by name, one job or all, and another time scale."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = [
    *("BAD_CLOSES", "LABEL", "THRESHOLD", "duration", "escaped", "render", "scaled", "seconds"),
    "unlike_peers",
]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdw])")
#: Durations of a query: of a range, of a subquery and its step, and after ``offset``.
_IN_QUERY: Final = re.compile(
    r"(?<=[\[:])(?:\d+(?:ms|[smhdw]))+(?=[\]:])|(?<=offset )(?:\d+(?:ms|[smhdw]))+"
)
#: Selectors of the families that the alerts ask for; recorded series (with a colon) have their job.
_SELECTOR: Final = re.compile(
    r"(?<![:\w])((?:ws|socketio|engineio|event_loop|process|python)_\w+|up)\b(?!:)(\{[^}]*\})?"
)
#: Where a threshold is meant.
THRESHOLD: Final = re.compile(r"\$([a-z_0-9]+)")
#: Where the value of a label is meant, in what people read and type.
LABEL: Final = re.compile(r"<([a-z]+)>")
#: Closes that neither side wanted.
BAD_CLOSES: Final = (
    'ws_closes_total{reason!~"normal|going_away|application|server_shutdown|policy"}'
)


def seconds(text: str) -> float:
    """Return how many seconds a duration of PromQL is, such as ``1h30m``.

    Raises:
        ValueError: It is none.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"got {text!r}, accepted is a duration such as 30s, 5m, 1h or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def duration(amount: float) -> str:
    """Return so many seconds as PromQL writes it, in whole milliseconds, at least one."""
    rest = max(round(amount * 1000), 1)
    text = ""
    for unit in ("w", "d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, round(_UNITS[unit] * 1000))
        if count:
            text += f"{count}{unit}"
    return text


def scaled(text: str, scale: float) -> str:
    """Return a duration times `scale`; nothing stays nothing."""
    return text if scale == 1 or seconds(text) == 0 else duration(seconds(text) * scale)


def render(
    template: str, values: Mapping[str, float], *, job: str | None = None, scale: float = 1.0
) -> str:
    """Return the query that a template makes.

    Args:
        template: PromQL with ``$name`` where a threshold is meant.
        values: The thresholds by name.
        job: Ask for the series of this job only.
        scale: What the durations are multiplied by; below 1 for fleets that live fast.

    Raises:
        KeyError: There is no such threshold.
    """
    text = _IN_QUERY.sub(lambda found: scaled(found[0], scale), template)
    text = THRESHOLD.sub(lambda found: _number(values[found[1]]), text)
    if job is None:
        return text
    return _SELECTOR.sub(lambda found: _with_job(found[1], found[2], job), text)


def unlike_peers(name: str) -> str:
    """Return the template by which a recorded series of an instance is far above its peers' mean.

    Args:
        name: The series, without ``instance:``; it must not be NaN anywhere.
    """
    return f"""
    instance:{name} > $peers_factor * (
        sum by (job) (instance:{name}) - on (job) group_right () instance:{name}
      )
      / on (job) group_left () (count by (job) (instance:{name}) - 1)
"""


def escaped(text: str) -> str:
    """Return a label's value as it is written between quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _with_job(name: str, matchers: str | None, job: str) -> str:
    inner = (matchers or "{}")[1:-1]
    return f'{name}{{{inner}{"," if inner else ""}job="{escaped(job)}"}}'


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(value)
