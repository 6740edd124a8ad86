"""Tables: as Grafana makes them of a panel's transformations and overrides."""

from __future__ import annotations

from typing import Any, Final

from .answers import Prometheus
from .drawing_style import DIM, GRID, TEXT, Frame, step_colour
from .units import written

__all__ = ["table"]

#: Pixels of a line.
_LINE: Final = 25
_TOP: Final = 56

_Cells = dict[str, "str | float"]


def table(frame: Frame, panel: dict[str, Any], prometheus: Prometheus) -> None:
    """Draw a table, as many lines as fit."""
    options = panel["transformations"][-1]["options"]
    names = {name: options["renameByName"][name] for name in _in_order(options["indexByName"])}
    (order,) = panel["options"]["sortBy"]
    (by,) = (name for name, title in names.items() if title == order["displayName"])
    lines = _lines(panel, prometheus)
    lines.sort(key=lambda cells: cells.get(by, ""), reverse=order["desc"])
    if not lines:
        text = panel["fieldConfig"]["defaults"].get("noValue") or "No data"
        middle = frame.height / 2 - 14
        frame.write(frame.width / 2, middle, text, size=13, colour=DIM, align="center")
        return
    lines = lines[: int((frame.height - _TOP - 6) // _LINE)]
    texts = {
        name: [_cell(panel, title, cells.get(name, "")) for cells in lines]
        for name, title in names.items()
    }
    for number in range(len(lines)):
        bottom = frame.height - _TOP - number * _LINE - 4
        rule = frame.axes(12, bottom, 12, frame.height - bottom - 1)
        rule.axhline(0, color=GRID, linewidth=1)
        rule.set_axis_off()
    x = 12.0
    longest = [
        max(len(names[name]), *(len(text) for text, _ in cells)) + 5
        for name, cells in texts.items()
    ]
    for (name, cells), letters in zip(texts.items(), longest, strict=True):
        frame.write(x, frame.height - _TOP, names[name], size=10.5, colour="#6e9fff")
        for number, (text, colour) in enumerate(cells, start=1):
            frame.write(x, frame.height - _TOP - number * _LINE, text, size=11, colour=colour)
        x += (frame.width - 24) * letters / sum(longest)


def _in_order(places: dict[str, int]) -> list[str]:
    return sorted(places, key=lambda name: places[name])


def _lines(panel: dict[str, Any], prometheus: Prometheus) -> list[_Cells]:
    """Return the cells of each line; lines of several queries are joined by their labels."""
    found: dict[tuple[tuple[str, str], ...], _Cells] = {}
    several = len(panel["targets"]) > 1
    for target in panel["targets"]:
        name = f"Value #{target['refId']}" if several else "Value"
        for each in prometheus.now(target):
            key = tuple(sorted(each.labels.items()))
            found.setdefault(key, {**each.labels})[name] = each.values[0]
    return list(found.values())


def _cell(panel: dict[str, Any], title: str, value: str | float) -> tuple[str, str]:
    if isinstance(value, str):
        return value or "-", TEXT
    given: dict[str, Any] = {}
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == title:
            given = {each["id"]: each["value"] for each in override["properties"]}
    steps = given.get("thresholds", {}).get("steps")
    colour = step_colour(steps, value) if steps else TEXT
    return written(value, given.get("unit", "short")), colour
