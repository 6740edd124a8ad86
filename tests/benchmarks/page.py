"""``docs/topics/performance.md`` and its plots, written from the results that are kept.

``python -m tests.benchmarks.page`` writes them again without measuring anything.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks import charts
from tests.benchmarks.bars import bars
from tests.benchmarks.charts import Line, Row
from tests.benchmarks.results import RESULTS, ROOT, Json, Spread, load
from tests.benchmarks.served import BARE, CLOCKS, FLOOR, MODES, PEER
from tests.benchmarks.tables import bar_table, figure, section, size_name
from tests.benchmarks.texts import PART_TEXTS, introduction, newest_of, text_of

__all__ = ["bar_table", "files", "section", "write"]

PAGE: Final = RESULTS.with_name("performance.md")
IMAGES: Final = ROOT / "docs" / "images"
NOTE: Final = "<!-- Written by `nox -s bench` from performance.json; change the benchmarks. -->\n"


def write(parts: Json) -> None:
    """Write the page and its plots."""
    for path, text in files(parts).items():
        path.write_text(text, encoding="utf-8")


def files(parts: Json) -> dict[Path, str]:
    """Return the page and its plots by their paths."""
    plots = {name: plot(parts[name]) for name, plot in PLOTS.items() if name in parts}
    written = {IMAGES / f"performance-{name}.svg": text for name, text in plots.items()}
    written[PAGE] = "\n".join(_page(parts, plots))
    return written


def _page(parts: Json, plots: dict[str, str]) -> Iterator[str]:
    yield NOTE
    yield introduction(parts)
    yield "## What is promised\n"
    yield bar_table(parts)[0] + "\n"
    yield from (
        f"- Not kept: {bar.what}: {bar.why}\n" for bar in bars(parts) if bar.why and not bar.holds
    )
    for name, (title, text) in PART_TEXTS.items():
        if name not in parts:
            continue
        yield f"## {title}\n"
        yield text_of(text, parts[name])
        if (on := parts[name]["on"]) != newest_of(parts):
            yield f"Measured on {on['date']}, with Python {on['python']}.\n"
        if name in plots:
            yield f"![{title}](../images/performance-{name}.svg)\n"
        yield section(name, parts[name]) + "\n"


def _colour(name: str) -> str:
    if name.startswith("asgi_ws_observe"):
        return charts.OURS
    return charts.PLAIN if name in (FLOOR, CLOCKS, BARE) else charts.PEER


def _short(name: str) -> str:
    """Return the name of a case where there is little room."""
    name = name.replace("opentelemetry-instrumentation-asgi", "OpenTelemetry ASGI")
    name = name.replace(
        "the tutorial's Counter.labels().inc() in and out", "the tutorial's counter"
    )
    return name.replace("asgi_ws_observe: ", "")


def _messages(part: Json) -> str:
    rows = [(FLOOR, Spread.of(part["floor"]))]
    rows += [(row["name"], Spread.of(row["above"])) for row in part["rows"]]
    # What costs less than the noise has no place on such an axis.
    shown = sorted((row for row in rows if row[1].first > 10), key=lambda row: row[1].median)
    return charts.rows(
        "An echo at ASGI level, nanoseconds above the bare application (each step is 10 times)",
        [Row(_short(name), value, _colour(name), figure(value.median)) for name, value in shown],
        logarithmic=True,
    )


def _server(part: Json) -> str:
    rows = []
    for implementation, loads in part.items():
        if implementation == "on":
            continue
        modes = loads["50"]
        rows.append(Row(f"{implementation}, uvloop"))
        for mode in (each for each in MODES if each != BARE):
            pairs = zip(modes[mode]["cpu"], modes[BARE]["cpu"], strict=True)
            value = Spread.of([mine / bare for mine, bare in pairs])
            rows.append(Row(_short(mode), value, _colour(mode), f"{value.median:.2f}"))
    title = "Server CPU an echo, times that of the bare application (50 connections)"
    return charts.rows(title, rows, mark=1)


def _memory(part: Json) -> str:
    columns = part["columns"]
    given = [
        Line(
            _short(row["name"]),
            [size / number / 1024 for size, number in zip(row["bytes"], columns, strict=True)],
            _colour(row["name"]),
        )
        for row in part["rows"]
    ]
    places = [f"{number:,}" for number in columns]
    title = "Server memory of an idle connection, KiB, by how many are open"
    return charts.lines(title, places, given, said="{:.1f}".format)


def _sizes(part: Json) -> str:
    given = [
        Line(
            _short(row["name"]),
            [statistics.median(values) for values in row["above"]],
            charts.PEER if row["name"].startswith(PEER[:13]) else charts.OURS,
        )
        for row in part["rows"]
    ]
    places = [size_name(size) for size in part["columns"]]
    title = "An echo at ASGI level, nanoseconds above bare, by the size of its message"
    return charts.lines(title, places, given, logarithmic=True, said="{:,.0f}".format)


#: Part -> draws it.
PLOTS: Final = {"messages": _messages, "sizes": _sizes, "server": _server, "memory": _memory}


if __name__ == "__main__":
    write(load())
