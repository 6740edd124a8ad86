"""What was measured, as Markdown tables: the same in the terminal and on the page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from tests.benchmarks.bars import bars
from tests.benchmarks.cases import PROOF
from tests.benchmarks.fanout import PLAIN
from tests.benchmarks.results import Json, Spread, share
from tests.benchmarks.served import BARE, FLOOR
from tests.benchmarks.socketio_modes import BARE as SOCKETIO
from tests.benchmarks.socketio_turns import SMALL

__all__ = ["bar_table", "figure", "section", "size_name"]


def bar_table(parts: Json) -> tuple[str, int]:
    """Return the promises beside what was measured, and how many of them are not kept."""
    found = bars(parts)
    rows = [
        (
            "ok" if bar.holds else "**NOT**",
            bar.what,
            f"{figure(bar.found)} {bar.unit}",
            f"at {'least' if bar.at_least else 'most'} {bar.limit:,g}",
            "" if bar.peer is None else figure(bar.peer),
        )
        for bar in found
    ]
    head = ("", "what", "measured", "promised", "opentelemetry-instrumentation-asgi")
    return table(head, rows, texts=2), sum(not bar.holds for bar in found)


def section(name: str, part: Json) -> str:
    """Return the tables of a part."""
    return SECTIONS[name](part)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Return a Markdown table; all but the first columns hold numbers."""
    line = ["---" if number < texts else "---:" for number in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, line, *rows))


def figure(value: float) -> str:
    """Return a number as precisely as it means something."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def size_name(size: int) -> str:
    """Return a size in its unit."""
    for unit, factor in (("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size // factor} {unit}"
    return f"{size} B"


def _messages(part: Json) -> str:
    rows = [(FLOOR, *_spread(part["floor"]), "1.0", "")]
    for row in part["rows"]:
        floors = share(row["above"], part["floor"])
        rows.append((row["name"], *_spread(row["above"]), f"{floors:.1f}", str(row["spans"])))
    rows += [(name, "not measured", why, "", "") for name, why in part["absent"].items()]
    head = ("what", "ns, median", "quartiles", "pass-throughs")
    return table((*head, f"spans of a connection with {PROOF} messages"), rows)


def _profile(part: Json) -> str:
    rows = [(row["name"], *_spread(row["above"])) for row in part["rows"]]
    return table(("what", "ns, median", "quartiles"), rows)


def _columns(part: Json, name: Callable[[int], str]) -> str:
    rows = [
        (row["name"], *(f"{statistics.median(values):,.0f}" for values in row["above"]))
        for row in part["rows"]
    ]
    return table(("ns above bare", *(name(each) for each in part["columns"])), rows)


def _sizes(part: Json) -> str:
    return _columns(part, size_name)


def _connections(part: Json) -> str:
    return _columns(part, "{:,}".format)


def _server(part: Json) -> str:
    return "\n\n".join(
        _load(implementation, connections, modes)
        for implementation, loads in part.items()
        if implementation != "on"
        for connections, modes in loads.items()
    )


def _load(implementation: str, connections: str, modes: Json) -> str:
    bare = modes[BARE]
    rows = [
        (
            mode,
            figure(statistics.median(of["cpu"])),
            f"{share(of['cpu'], bare['cpu']):.2f}",
            figure(statistics.median(of["rate"])),
            f"{share(of['rate'], bare['rate']):.2f}",
            figure(statistics.median(of["p50"])),
            figure(statistics.median(of["p99"])),
        )
        for mode, of in modes.items()
    ]
    many = "connection" if connections == "1" else "connections"
    head = (f"{implementation}, {connections} {many}", "CPU, µs", "of bare", "echoes a second")
    return table((*head, "of bare", "p50, µs", "p99, µs"), rows)


def _memory(part: Json) -> str:
    columns = part["columns"]
    bare = next(row["bytes"] for row in part["rows"] if row["name"] == BARE)
    rows = []
    for row in part["rows"]:
        each = [size / number / 1024 for size, number in zip(row["bytes"], columns, strict=True)]
        above = (row["bytes"][-1] - bare[-1]) / columns[-1] / 1024
        rows.append((row["name"], *(f"{size:.1f}" for size in each), f"{above:.1f}"))
    names = (f"{number:,}" for number in columns)
    return table(("KiB a connection, of", *names, f"above bare, of {columns[-1]:,}"), rows)


def _churn(part: Json) -> str:
    bare = next(row for row in part["rows"] if row["name"] == BARE)
    rows = [
        (
            row["name"],
            figure(statistics.median(row["rate"])),
            f"{share(row['rate'], bare['rate']):.2f}",
            figure(statistics.median(row["cpu"])),
            f"{share(row['cpu'], bare['cpu']):.2f}",
        )
        for row in part["rows"]
    ]
    head = ("opened and closed", "connections a second", "of bare", "CPU of one, µs", "of bare")
    return table(head, rows)


def _storm(part: Json) -> str:
    rows = [
        (
            row["name"],
            f"{statistics.median(row['seconds']):.2f}",
            f"{statistics.median(row['cpu']):.2f}",
            str(row["lost"]),
        )
        for row in part["rows"]
    ]
    head = (f"{part['connections']:,} at once", "seconds until all have an echo")
    return table((*head, "CPU, seconds", "lost"), rows)


def _broadcast(part: Json) -> str:
    bare = next(row for row in part["rows"] if row["name"] == BARE)
    rows = [
        (
            row["name"],
            figure(statistics.median(row["seconds"])),
            figure(statistics.median(row["cpu"])),
            f"{share(row['cpu'], bare['cpu']):.2f}",
        )
        for row in part["rows"]
    ]
    head = (f"one message to {part['connections']:,}", "ms until the last send returned")
    return table((*head, "CPU, ms", "of bare"), rows)


def _hub(part: Json) -> str:
    rows = [
        (
            f"{row['name']} the one that does not read",
            *(figure(statistics.median(row[key])) for key in ("p50", "p99", "largest")),
        )
        for row in part["rows"]
    ]
    return table(("ms from `hub.send` to a client", "p50", "p99", "largest"), rows)


def _scrape(part: Json) -> str:
    rows = [
        (name, figure(statistics.median(part[key])), figure(max(part[key])))
        for name, key in (
            ("rendering, by `ws_observe_scrape_seconds`", "seconds"),
            ("the whole scrape, by its client", "outside"),
            ("largest lag of the loop in a second, not scraped", "calm"),
            ("largest lag of the loop in a second, scraped once", "lagging"),
        )
    ]
    return table(("ms", "median", "largest"), rows)


def _look(part: Json) -> str:
    rows = [
        ("by the clock, median", f"{part['median']:.2f}"),
        ("by the clock, longest", f"{part['longest']:.2f}"),
        ("CPU without the garbage collector's, longest", f"{part['cpu']:.2f}"),
        ("of the garbage collector, longest", f"{part['collector']:.2f}"),
    ]
    return table((f"{part['callbacks']:,} callbacks", "ms"), rows)


def _spans(part: Json) -> str:
    rows = [
        (f"`{shape}`", f"{size:,}", f"{part['spans'][shape]:,}")
        for shape, size in part["bytes"].items()
    ]
    return table(("`Settings.connection_span`", "bytes each above `off`", "spans alive"), rows)


def _fanout(part: Json) -> str:
    rows = []
    for row in part["rows"]:
        if row["name"] in PLAIN.values():
            plain = row
        cells = []
        for key in ("publish", "deliver"):
            above = [mine - bare for mine, bare in zip(row[key], plain[key], strict=True)]
            cells.append(figure(statistics.median(row[key])))
            cells.append("" if row is plain else figure(statistics.median(above)))
        rows.append((row["name"], *cells))
    head = ("CPU of one message, µs", "publish", "above it alone", "deliver", "above it alone")
    return table(head, rows)


def _socketio(part: Json) -> str:
    measured = {
        "event, acknowledged": part["operations"]["event"],
        "the same through uvicorn": {mode: of["cpu"] for mode, of in part["served"].items()},
        "emit to a client": part["operations"]["client"],
        f"to a room of {SMALL}": part["operations"]["small"],
        f"of {part['clients']:,}": part["operations"]["large"],
        "publish to Redis": part["bus"]["publish"],
        "hear from Redis": part["bus"]["hear"],
    }
    rows = []
    for mode in part["served"]:
        cells = [
            f"{figure(statistics.median(of[mode]))} ({share(of[mode], of[SOCKETIO]):.2f})"
            for of in measured.values()
        ]
        rows.append((mode, *cells))
    first = table(("CPU, µs (times that of the first line)", *measured), rows)
    memory = part["memory"]
    clients = memory["connections"]
    rows = []
    for mode, each in memory["bytes"].items():
        above = [mine - bare for mine, bare in zip(each, memory["bytes"][SOCKETIO], strict=True)]
        sizes = (f"{statistics.median(of) / clients / 1024:.2f}" for of in (each, above))
        rows.append((mode, *sizes))
    second = table((f"KiB a connection, of {clients:,}", "median", "above the first line"), rows)
    return "\n\n".join((first, second, _scrape(part["scrape"])))


def _spread(values: Sequence[float]) -> tuple[str, str]:
    median, first, third = Spread.of(values)
    return f"{median:,.0f}", f"{first:,.0f} - {third:,.0f}"


#: Part -> its tables.
SECTIONS: Final[dict[str, Callable[[Any], str]]] = {
    "messages": _messages,
    "profile": _profile,
    "sizes": _sizes,
    "connections": _connections,
    "server": _server,
    "memory": _memory,
    "churn": _churn,
    "storm": _storm,
    "broadcast": _broadcast,
    "hub": _hub,
    "scrape": _scrape,
    "look": _look,
    "spans": _spans,
    "fanout": _fanout,
    "socketio": _socketio,
}
