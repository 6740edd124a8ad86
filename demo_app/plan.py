"""What the load's clients are going to do, decided by the seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

__all__ = ["ENDINGS", "Line", "Script", "plan"]

#: Clients in a room, about: what each says goes to all.
_CROWD: Final = 12

#: How a client's part ends -> (how often, what to call it). The first round has one of each.
ENDINGS: Final[dict[str, tuple[int, str]]] = {
    "close": (8, "closed with 1000"),
    "away": (3, "closed with 1001"),
    "empty": (3, "closed without a code"),
    "bored": (2, "closed with 4100, which is declared"),
    "undeclared": (2, "closed with 4123, which is not"),
    "vanish": (3, "vanished without a close"),
    "kicked": (2, "closed by the server: 4001"),
    "nameless": (1, "closed by the server: 4000, no name"),
    "twin": (1, "closed by the server: 4002, name taken"),
    "crash": (2, "made the handler raise"),
    "refused": (1, "refused before accept"),
    "lost": (1, "asked for a path that is not there"),
}
#: Those that say nothing before they end.
_SILENT: Final = frozenset({"nameless", "refused", "lost"})
#: Those that must be alone, so that nobody writes to them when they can no longer count it.
_ALONE: Final = frozenset({"vanish", "twin"})

_NAMES: Final = (
    *("Ada", "Grace", "Björn", "Zoë", "Łukasz"),
    *("Müge", "さくら", "Олена", "Noor", "Linus"),
)
_TEXTS: Final = (
    "Good morning!",
    "Who broke the build?",
    "It was the network. It is always the network.",
    "Grüße aus Köln ☕",
    "お疲れさまです",
    "Привіт усім 👋",
    "The p99 looks fine from here.",
    "brb",
    "Did somebody restart the proxy at 60 s?",
    "🎉🎉🎉",
    "Long lines count too: " + "observability " * 40,
)


@dataclass(frozen=True, slots=True)
class Line:
    """A message, and the seconds to wait before it."""

    pause: float
    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Script:
    """One client's part.

    Attributes:
        room: Where.
        name: Who.
        start: Seconds after the begin.
        lines: What to say, after the join.
        pause: Seconds between the last line and the end.
        ending: A key of `ENDINGS`.
    """

    room: str
    name: str
    start: float
    lines: tuple[Line, ...]
    pause: float
    ending: str


def plan(clients: int, seconds: float, seed: int) -> list[Script]:
    """Return the parts; the same arguments always give the same ones."""
    random = Random(seed)  # noqa: S311
    rooms = [f"load-{number}" for number in range(1, max(3, clients // _CROWD) + 1)]
    scripts = []
    for number, ending in enumerate(_endings(random, clients), start=1):
        room = f"load-own-{number}" if ending in _ALONE else random.choice(rooms)
        name = f"{random.choice(_NAMES)} {number}"
        scripts.append(_script(random, room, name, ending, seconds))
    return scripts


def _endings(random: Random, clients: int) -> Iterator[str]:
    kinds = list(ENDINGS)
    weights = [often for often, _ in ENDINGS.values()]
    yield from kinds[:clients]
    yield from random.choices(kinds, weights, k=max(0, clients - len(kinds)))


def _script(random: Random, room: str, name: str, ending: str, seconds: float) -> Script:
    start = random.uniform(0, 0.3) * seconds
    rest = random.uniform(0.5, 1.0) * (seconds - start)
    lines: list[Line] = []
    while ending not in _SILENT and rest > 0:
        pause = random.expovariate(1.4)
        message, takes = _message(random, seconds)
        rest -= pause + takes
        if rest > 0:
            lines.append(Line(pause, message))
    pause = random.uniform(0, 0.5)
    return Script(room, name, start, tuple(lines), pause, ending)


def _message(random: Random, seconds: float) -> tuple[dict[str, Any], float]:
    """Return a message, and the seconds that its handler takes."""
    if random.random() < 0.08:
        takes = round(random.uniform(0.05, min(1.0, seconds / 8)), 2)
        return {"type": "slow", "seconds": takes}, takes
    return {"type": "chat", "text": random.choice(_TEXTS)}, 0.0
