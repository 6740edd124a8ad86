"""What the clients of a Socket.IO load are going to do, decided by the seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

__all__ = ["ENDINGS", "Line", "Script", "plan"]

#: Clients in a room, about.
_CROWD: Final = 12

#: How a client's part ends -> (how often, what to call it). The first round has one of each.
ENDINGS: Final[dict[str, tuple[int, str]]] = {
    "goodbye": (10, "left"),
    "vanish": (2, "vanished without a goodbye"),
    "kicked": (2, "were disconnected by /admin"),
    "crash": (2, "made a handler raise, and left"),
    "unhandled": (2, "sent an event that nobody handles, and left"),
    "refused": (1, "had a wrong token"),
    "stranger": (1, "asked for /admin without its token"),
    "lost": (1, "asked for a namespace that is not there"),
}
#: Those that are never let in.
OUTSIDE: Final = frozenset({"refused", "stranger", "lost"})

#: Of a poll that stays away the server knows nothing for a long time, and a client that does not
#: close by itself waits as long for its last one.
_NOT_POLLING: Final = OUTSIDE | {"vanish", "kicked"}

#: How clients connect -> how often. By ``auto`` they begin with polling, and upgrade.
TRANSPORTS: Final = {"auto": 4, "websocket": 4, "polling": 2}

#: What a client says, or asks for -> how often.
_LINES: Final = {"say": 10, "whisper": 2, "ping-user": 2, "statistics": 1, "slow": 1}
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
    "The p99 looks fine from here.",
    "brb",
    "🎉🎉🎉",
    "Long lines count too: " + "observability " * 40,
)


@dataclass(frozen=True, slots=True)
class Line:
    """An event, what it says, and the seconds to wait before it."""

    pause: float
    event: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Script:
    """One client's part.

    Attributes:
        room: Where.
        name: Who.
        transport: A key of `TRANSPORTS`.
        start: Seconds after the begin.
        lines: What to do, after the join.
        ending: A key of `ENDINGS`.
    """

    room: str
    name: str
    transport: str
    start: float
    lines: tuple[Line, ...]
    ending: str


def plan(clients: int, seconds: float, seed: int) -> list[Script]:
    """Return the parts; the same arguments always give the same ones."""
    random = Random(seed)  # noqa: S311
    rooms = [f"load-{number}" for number in range(1, max(3, clients // _CROWD) + 1)]
    return [
        _script(random, random.choice(rooms), f"{random.choice(_NAMES)} {number}", ending, seconds)
        for number, ending in enumerate(_endings(random, clients), start=1)
    ]


def _endings(random: Random, clients: int) -> Iterator[str]:
    kinds = list(ENDINGS)
    weights = [often for often, _ in ENDINGS.values()]
    yield from kinds[:clients]
    yield from random.choices(kinds, weights, k=max(0, clients - len(kinds)))


def _script(random: Random, room: str, name: str, ending: str, seconds: float) -> Script:
    (transport,) = random.choices(list(TRANSPORTS), list(TRANSPORTS.values()))
    if transport == "polling" and ending in _NOT_POLLING:
        transport = "websocket"
    start = random.uniform(0, 0.3) * seconds
    rest = random.uniform(0.5, 1.0) * (seconds - start)
    lines: list[Line] = []
    while ending not in OUTSIDE and rest > 0:
        line = _line(random, seconds)
        rest -= line.pause + line.seconds
        if rest > 0:
            lines.append(line)
    return Script(room, name, transport, start, tuple(lines), ending)


def _line(random: Random, seconds: float) -> Line:
    (event,) = random.choices(list(_LINES), list(_LINES.values()))
    takes = round(random.uniform(0.05, min(1.0, seconds / 8)), 2) if event == "slow" else 0.0
    return Line(random.expovariate(1.4), event, random.choice(_TEXTS), takes)
