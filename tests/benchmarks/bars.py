"""What the project promises, and whether what was measured keeps it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from tests.benchmarks.cases import OURS, OURS_ALL, PEER_ALL, PEER_FEW
from tests.benchmarks.results import Json, share
from tests.benchmarks.served import BARE, DEFAULT, NO_SDK, PEER
from tests.benchmarks.socketio_modes import BARE as SOCKETIO
from tests.benchmarks.socketio_modes import NO_SDK as SOCKETIO_NO_SDK
from tests.servers.harness import IMPLEMENTATIONS

__all__ = ["BARS", "Bar", "bars"]

#: The load of a real server that is its limit.
FULL: Final = "50"


_WHERE: Final = "[where the time goes](#where-the-time-of-an-echo-goes)"
_FLOOR: Final = (
    "promised as 1,100 ns where the wrapper takes 200; where it takes less, so does little else. "
    f"The floor is {_WHERE}: coroutines, clocks, sizes, counts and values kept for four histograms "
    "are nearly all of it, and only a compiled part would make them cheaper."
)
_SPAN: Final = (
    "a span below the connection's, with one attribute and current in the handler, takes nearly as "
    f"much when it is made by the SDK's own means and nothing is counted: {_WHERE}."
)
_NOISE: Final = (
    "server and clients share the machine's cores, and these figures move by several hundredths "
    "from run to run; those of CPU move least."
)


_SESSIONS: Final = (
    "a session that tells of its pings and its end has changed its class, and from then on Python "
    "reads its attributes a little slower, for each recipient; that is most of it."
)
_FILES: Final = (
    "nearly half is asking 5,000 sessions, none of which is in the processor's caches; counting "
    "the process's open files, as prometheus_client does, is 3 ms."
)


class Bar(NamedTuple):
    """One promise.

    Attributes:
        what: What it is about.
        found: What was measured.
        limit: What it may be at most, or has to be at least.
        unit: Of both.
        peer: The same figure of opentelemetry-instrumentation-asgi, where it has one.
        at_least: Whether more is better.
        why: What the page says where it is not kept.
    """

    what: str
    found: float
    limit: float
    unit: str = ""
    peer: float | None = None
    at_least: bool = False
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit


def bars(parts: Json) -> list[Bar]:
    """Return the promises of these parts. What was not measured makes none."""
    return [bar for name, of in BARS.items() if name in parts for bar in of(parts[name])]


def _messages(part: Json) -> Iterator[Bar]:
    rows = {row["name"]: row for row in part["rows"]}
    floor = part["floor"]
    if OURS in rows:
        few = rows[PEER_FEW]["above"] if PEER_FEW in rows else None
        ours = rows[OURS]["above"]
        peer = few and statistics.median(few)
        yield Bar("metrics and logs, an echo", statistics.median(ours), 1100, "ns", peer)
        peer = few and share(few, floor)
        what = "the same against the pass-through wrapper"
        yield Bar(what, share(ours, floor), 5.5, "wrappers", peer, why=_FLOOR)
    if OURS_ALL in rows and PEER_ALL in rows:
        found = share(rows[OURS_ALL]["above"], rows[PEER_ALL]["above"])
        yield Bar("all messages traced, an echo", found, 0.33, "of the peer", 1.0, why=_SPAN)


def _sizes(part: Json) -> Iterator[Bar]:
    for row in part["rows"]:
        # What is not ASCII has to be encoded to know its bytes: the page says so.
        if row["name"] in ("metrics and logs, ASCII text", "metrics and logs, bytes"):
            what = f"{row['name']}: the largest message"
            yield Bar(what, share(row["above"][-1], row["above"][0]), 1.25, "of the smallest")


def _connections(part: Json) -> Iterator[Bar]:
    columns = part["columns"]
    most = max(each for each in columns if each <= 1000)
    for row in part["rows"]:
        if row["name"] == OURS:
            found = share(row["above"][columns.index(most)], row["above"][0])
            yield Bar(f"an echo with {most:,} connections", found, 1.25, "of that with one")


def _server(part: Json) -> Iterator[Bar]:
    for implementation in IMPLEMENTATIONS:
        modes = part[implementation][FULL]
        for mode, key, limit in (
            (NO_SDK, "cpu", 1.15),
            (DEFAULT, "cpu", 1.25),
            (DEFAULT, "rate", 0.85),
        ):
            ours, peer = (share(modes[each][key], modes[BARE][key]) for each in (mode, PEER))
            what = {"cpu": "CPU an echo", "rate": "echoes a second"}[key]
            sdk = "no SDK" if mode == NO_SDK else "default with an SDK"
            yield Bar(
                f"{implementation}: {what}, {sdk}",
                *(ours, limit, "of bare", peer, key == "rate", _NOISE),
            )


def _memory(part: Json) -> Iterator[Bar]:
    rows = {row["name"]: row["bytes"] for row in part["rows"]}
    most, least = part["columns"][-1], part["columns"][0]

    def above(mode: str) -> float:
        return float((rows[mode][-1] - rows[BARE][-1]) / most / 1024)

    for mode, limit, what in ((NO_SDK, 2.5, "no SDK"), (DEFAULT, 5.5, "nested span")):
        yield Bar(f"memory of an idle connection, {what}", above(mode), limit, "KiB", above(PEER))
    for mode, what in ((NO_SDK, "no SDK"), (DEFAULT, "nested span")):
        each = rows[mode]
        growth = (each[-1] - each[-2]) / (part["columns"][-1] - part["columns"][-2])
        yield Bar(
            f"memory of the last connections, {what}",
            growth / (each[0] / least),
            1.15,
            "of that of the first",
        )


def _storm(part: Json) -> Iterator[Bar]:
    wanted = part["connections"]
    for row in part["rows"]:
        if row["counted"]:
            wrong = row["lost"] + sum(abs(each - wanted) for each in row["counted"])
            mode = "no SDK" if row["name"] == NO_SDK else "default with an SDK"
            yield Bar(f"{wanted:,} connect at once, {mode}", wrong, 0, "lost or miscounted")


def _hub(part: Json) -> Iterator[Bar]:
    without, beside = (row["p99"] for row in part["rows"])
    what = f"a room of {part['connections']:,}, one of which does not read"
    yield Bar(f"{what}: p99", share(beside, without), 1.3, "of that without it", why=_NOISE)
    yield Bar(f"{what}: memory", max(part["held"]), 12, "MiB")
    yield Bar(f"{what}: messages", abs(part["unaccounted"]), 0, "unaccounted for")


def _scrape(part: Json) -> Iterator[Bar]:
    what = f"{part['connections']:,} connections, {part['routes']} routes"
    yield Bar(f"a scrape, {what}", statistics.median(part["seconds"]), 30, "ms")
    yield Bar(
        "the loop's lag in a second with a scrape", statistics.median(part["lagging"]), 5, "ms"
    )


def _look(part: Json) -> Iterator[Bar]:
    yield Bar("the loop held by the periodic work", part["cpu"], 5, "ms")


def _spans(part: Json) -> Iterator[Bar]:
    yield Bar(
        "memory of a connection's span",
        part["bytes"]["nested"] - part["bytes"]["linked"],
        3072,
        "bytes",
    )
    yield Bar("spans of open connections, linked", part["spans"]["linked"], 0, "spans")


def _socketio(part: Json) -> Iterator[Bar]:
    for name, limit, what, why in (
        ("event", 1.35, "an event and its acknowledgement", ""),
        ("large", 1.05, f"an emit to a room of {part['clients']:,}", _SESSIONS),
    ):
        modes = part["operations"][name]
        found = share(modes[SOCKETIO_NO_SDK], modes[SOCKETIO])
        yield Bar(f"Socket.IO: CPU of {what}, no SDK", found, limit, "of it alone", why=why)
    sizes, clients = part["memory"]["bytes"], part["memory"]["connections"]
    pairs = zip(sizes[SOCKETIO_NO_SDK], sizes[SOCKETIO], strict=True)
    above = statistics.median(mine - bare for mine, bare in pairs) / clients / 1024
    yield Bar("Socket.IO: memory of a connection, no SDK", above, 0.8, "KiB")
    scrape = part["scrape"]
    what = f"{scrape['connections']:,} connections, {scrape['rooms']} rooms"
    yield Bar(
        f"Socket.IO: a scrape, {what}", statistics.median(scrape["seconds"]), 15, "ms", why=_FILES
    )


#: Part -> its promises.
BARS: Final[dict[str, Callable[[Any], Iterator[Bar]]]] = {
    "messages": _messages,
    "sizes": _sizes,
    "connections": _connections,
    "server": _server,
    "memory": _memory,
    "storm": _storm,
    "hub": _hub,
    "scrape": _scrape,
    "look": _look,
    "spans": _spans,
    "socketio": _socketio,
}
