"""What was measured, as one JSON file, and the statistics that everything reads off it."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
#: By part; a part that was not measured again keeps what it had.
RESULTS: Final = ROOT / "docs" / "topics" / "performance.json"

#: What the figures depend on.
_PACKAGES: Final = (
    *("ddtrace", "fastapi", "logfire", "opentelemetry-instrumentation-asgi", "opentelemetry-sdk"),
    *("picows", "prometheus-client", "python-engineio", "python-socketio", "redis", "sentry-sdk"),
    *("starlette", "uvicorn", "uvloop", "websockets", "wsproto"),
)


class Effort(NamedTuple):
    """How much is measured.

    Attributes:
        rounds: How often every case has its turn.
        seconds: How long one case's turn takes, about.
        turn: How long a real server's turn takes, seconds.
        sizes: Sizes of messages, bytes.
        counts: Numbers of connections that take turns at ASGI level.
        levels: Numbers of idle connections whose memory is read.
        room: Connections that a broadcast reaches.
        churn: Connections opened and closed in one turn.
        storm: Connections opened at once.
        scraped: Connections open while ``/metrics`` is scraped.
        published: Messages published and delivered in one turn.
        watched: For how long the event loop's lag is watched, seconds.
        match: Only the cases whose names have this text.
    """

    rounds: int = 15
    seconds: float = 0.03
    turn: float = 0.3
    sizes: tuple[int, ...] = (64, 1024, 16_384, 131_072, 1_048_576)
    counts: tuple[int, ...] = (1, 10, 100, 1000, 10_000)
    levels: tuple[int, ...] = (1000, 5000, 10_000, 20_000)
    room: int = 1000
    churn: int = 500
    storm: int = 5000
    scraped: int = 10_000
    watched: float = 15.0
    published: int = 1000
    match: str = ""


#: Small rounds: that everything runs, not what it costs.
QUICK: Final = Effort(
    rounds=3,
    seconds=0.002,
    turn=0.02,
    sizes=(64, 1024),
    counts=(1, 10),
    levels=(50, 100),
    room=50,
    churn=20,
    storm=50,
    scraped=100,
    watched=2.0,
    published=50,
)


class Spread(NamedTuple):
    """A median between its quartiles."""

    median: float
    first: float
    third: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return that of the values."""
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        first, median, third = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, first, third)


def share(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """Return the median over the rounds of the one through the other.

    Of each round, since its cases met the same machine.
    """
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(mine / other for mine, other in pairs if other > 0)


def rounded(values: Iterable[float], digits: int = 0) -> list[float]:
    """Return the values as they are kept."""
    return [round(value, digits) if digits else round(value) for value in values]


def environment() -> Json:
    """Return what the figures of now depend on."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "packages": versions,
    }


def load() -> Json:
    """Return what was measured so far, by part."""
    if not RESULTS.exists():
        return {}
    found: Json = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def save(parts: Json) -> None:
    """Keep what was measured."""
    text = json.dumps(parts, indent=1, ensure_ascii=False)
    # Lists of numbers on one line each, so that a diff shows what changed.
    flat = re.sub(r"\[[\d\s.,e+-]+\]", lambda found: re.sub(r"\s+", " ", found.group()), text)
    RESULTS.write_text(flat + "\n", encoding="utf-8")
