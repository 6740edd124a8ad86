"""What ``top`` shows: one row a node, as many columns as the terminal is wide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .figures import amount, sparkline
from .quantities import quantity
from .thresholds import DEFAULTS
from .top import COLUMNS, Column, Node, Watch, level

__all__ = ["SORTS", "view"]

#: What can be sorted by.
SORTS: Final = tuple(column.name for column in COLUMNS if column.name != "limit")

_STYLES: Final = {"bad": "bold red", "doubtful": "yellow", "": ""}
_TITLES: Final = {
    "connects": "conn\n/s",
    "closes": "close\n/s",
    "in": "in\n/s",
    "out": "out\n/s",
    "p99": "handler\np99",
    "rtt50": "rtt\np50",
    "rtt99": "rtt\np99",
    "buffers": "buffers\nsum",
    "fullest": "buffers\nmax",
    "lag": "loop\nlag",
}
#: Between two columns, and at most for a node's name.
_GAP: Final = 2
_NAME: Final = 32
_CODES: Final = 2


@dataclass(frozen=True, slots=True)
class _Shown:
    """A column as it is shown.

    Attributes:
        title: Above it.
        cell: What it says of a node.
        rank: As in `Column`.
        right: Whether it is aligned to the right.
        always: Whether it stays where no node has anything to say, as before the first heartbeat.
    """

    title: str
    cell: Callable[[Node], Text]
    rank: int
    right: bool = True
    always: bool = True


def view(watch: Watch, *, width: int, height: int, by: str = "", title: str = "") -> RenderableType:
    """Return the table of a watch.

    Args:
        watch: What was seen.
        width: Characters in a line; columns that do not fit are left out.
        height: Lines; nodes that do not fit are counted.
        by: The column to sort by; the nodes' names by default.
        title: A line above it; empty for none.
    """
    nodes = watch.sorted(by)
    room = max(height - (7 if watch.error else 6), 1)
    rows = [*nodes[:room], *([watch.together()] if len(nodes) > 1 else [])]
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    shown = _fitting(_columns(), rows, width)
    for each in shown:
        table.add_column(each.title, justify="right" if each.right else "left", no_wrap=True)
    for number, node in enumerate(rows):
        whole = len(nodes) > 1 and number == len(rows) - 1
        style = "bold" if whole else "" if node.up else "red"
        table.add_row(*(each.cell(node) for each in shown), style=style)
    parts: list[RenderableType] = [Text(title, "dim", no_wrap=True)] if title else []
    parts.append(table)
    if len(nodes) > room:
        parts.append(Text(f"and {len(nodes) - room} more nodes", "dim"))
    if watch.error:
        parts.append(Text(f"the last look failed: {watch.error}", "red"))
    return Group(*parts)


def _columns() -> list[_Shown]:
    """Return all columns from left to right."""
    shown = [_Shown("\nnode", _name, -1, right=False)]
    for column in COLUMNS:
        if column.name == "limit":
            shown.append(_Shown("\ntrend", _line("open", 12), 7, right=False))
            continue
        title = _TITLES.get(column.name, f"\n{column.name}")
        always = not column.name.startswith("rtt")
        shown.append(_Shown(title, _cell(column), column.rank, always=always))
        if column.name == "closes":
            shown.append(_Shown("\nby code", _codes, 6, right=False))
        if column.name == "out":
            shown.append(_Shown("\ntrend", _line("out", 12), 12, right=False))
    return shown


def _fitting(shown: list[_Shown], rows: list[Node], width: int) -> list[_Shown]:
    """Return the columns that fit; the ones of the highest rank go first."""
    widths = [
        max(*map(len, each.title.split("\n")), *(each.cell(node).cell_len for node in rows))
        for each in shown
    ]
    kept = [index for index, each in enumerate(shown) if each.always or _says(each, rows)]
    while len(kept) > 1 and sum(widths[index] + _GAP for index in kept) - _GAP > width:
        kept.remove(max(kept, key=lambda index: (shown[index].rank, index)))
    return [shown[index] for index in kept]


def _says(shown: _Shown, rows: list[Node]) -> bool:
    return any(shown.cell(node).plain.strip(" -") for node in rows)


def _name(node: Node) -> Text:
    text = Text(node.name, no_wrap=True)
    text.truncate(_NAME, overflow="ellipsis")
    return text if node.up else text.append(" down", "bold")


def _cell(column: Column) -> Callable[[Node], Text]:
    def cell(node: Node) -> Text:
        value = node.values.get(column.name)
        if value is None:
            return Text("-", "dim")
        style = _STYLES[level(column, value, node.values)]
        limit = node.values.get("limit") if column.name == "open" else None
        if limit is not None:
            return Text(f"{amount(value)}/{amount(limit)}", style)
        if column.unit in ("seconds", "bytes"):
            return Text(quantity(value, column.unit) if value else "0", style)
        return Text(amount(value), style)

    return cell


def _codes(node: Node) -> Text:
    """Return the codes that most connections were closed with."""
    text = Text("" if node.codes else "-", "dim" if not node.codes else "")
    for code, rate in list(node.codes.items())[:_CODES]:
        bad = code == "1006" and rate >= DEFAULTS["abnormal_per_second"]
        text.append(f"{' ' if text else ''}{code}", "bold red" if bad else "dim")
        text.append(f":{amount(rate)}", "bold red" if bad else "")
    return text


def _line(name: str, width: int) -> Callable[[Node], Text]:
    def cell(node: Node) -> Text:
        return Text(sparkline(list(node.past.get(name, ())), width), "cyan")

    return cell
