"""How each kind of panel is drawn: about as Grafana does."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .answers import Prometheus, Series
from .drawing_style import DIM, GRID, PALETTE, PANEL, TEXT, Frame, colour_of, step_colour
from .drawing_table import table
from .units import written

__all__ = ["KINDS"]

#: Pixels around the axes, and of a line of the legend.
_LEFT: Final = 62
_TITLE: Final = 32
_LEGEND: Final = 22
_TICKS: Final = 20
#: So many bright steps as Grafana's "Oranges", on a dark ground.
_HEAT: Final = LinearSegmentedColormap.from_list(
    "heat", ["#3b2416", "#7f3b0a", "#c9580a", "#fd8d3c", "#fdd0a2", "#fff5eb"]
)


def _timeseries(frame: Frame, panel: dict[str, Any], prometheus: Prometheus) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    every = [each for target in panel["targets"] for each in prometheus.over_time(target)]
    every = [each for each in every if any(map(math.isfinite, each.values))]
    if not every:
        _nothing(frame, defaults)
        return
    colours = _colours(panel, every)
    stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
    axes = frame.axes(_LEFT, _LEGEND + _TICKS + 4, 14, _TITLE)
    fill = defaults["custom"]["fillOpacity"] / 100
    times = np.arange(prometheus.start, prometheus.end + prometheus.step / 2, prometheus.step)
    below = np.zeros(len(times))
    # What was zero all the time needs no line of its own.
    seen = [each for each in every if any(each.values)] or every
    for each in seen if stacked else every:
        values = _aligned(each, times, prometheus)
        if stacked:
            values = below + np.nan_to_num(values)
        colour = colours[each.name]
        axes.fill_between(times, below, values, color=colour, alpha=fill, linewidth=0)
        axes.plot(times, values, color=colour, linewidth=1.15)
        below = values if stacked else below
    _scaled(axes, defaults, prometheus)
    _thresholds(axes, defaults)
    for at, colour in frame.marks:
        axes.axvline(at, color=colour, linewidth=0.9, linestyle=(0, (3, 3)), alpha=0.8)
    _legend(frame, [(each.name, colours[each.name]) for each in seen])


def _aligned(series: Series, times: Any, prometheus: Prometheus) -> Any:
    """Return the values at these times, NaN where there is none."""
    found = np.full(len(times), np.nan)
    places = np.rint((np.array(series.times) - prometheus.start) / prometheus.step).astype(int)
    found[places] = series.values
    return found


def _colours(panel: dict[str, Any], every: list[Series]) -> dict[str, str]:
    found = {each.name: PALETTE[place % len(PALETTE)] for place, each in enumerate(every)}
    for override in panel["fieldConfig"]["overrides"]:
        for given in override["properties"]:
            if given["id"] == "color":
                found[override["matcher"]["options"]] = colour_of(given["value"]["fixedColor"])
    return found


def _scaled(axes: Axes, defaults: dict[str, Any], prometheus: Prometheus) -> None:
    top = defaults.get("max", axes.get_ylim()[1] * 1.02)
    axes.set_ylim(0, top if top > 1e-9 else 1)
    axes.set_xlim(prometheus.start, prometheus.end)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, defaults["unit"])))
    _clock(axes, prometheus)


def _clock(axes: Axes, prometheus: Prometheus) -> None:
    span = prometheus.end - prometheus.start
    width = axes.get_window_extent().width
    steps = (30, 60, 120, 300, 600, 900, 1800, 3600)
    step = next((each for each in steps if span / each <= max(2, width / 75)), 7200)
    axes.set_xticks(np.arange(math.ceil(prometheus.start / step) * step, prometheus.end, step))
    form = "%H:%M:%S" if step < 60 else "%H:%M"
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: datetime.fromtimestamp(at).strftime(form))
    )


def _thresholds(axes: Axes, defaults: dict[str, Any]) -> None:
    if "thresholdsStyle" not in defaults["custom"]:
        return
    for step in defaults["thresholds"]["steps"][1:]:
        if step["value"] <= axes.get_ylim()[1]:
            colour = colour_of(step["color"])
            axes.axhline(step["value"], color=colour, linewidth=1, linestyle=(0, (6, 5)), alpha=0.8)


def _legend(frame: Frame, names: list[tuple[str, str]]) -> None:
    x = 12.0
    for name, colour in names:
        if x + 24 + 5.6 * len(name) > frame.width - 4:
            frame.write(x, 7, "…", colour=DIM)
            return
        frame.write(x, 7, "━", size=10, colour=colour, weight="bold")
        frame.write(x + 16, 7, name, size=10.5)
        x += 28 + 5.6 * len(name)


def _nothing(frame: Frame, defaults: dict[str, Any]) -> None:
    text = defaults.get("noValue") or "No data"
    frame.write(frame.width / 2, frame.height / 2 - 14, text, size=13, colour=DIM, align="center")


def _stat(frame: Frame, panel: dict[str, Any], prometheus: Prometheus) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    every = [each for target in panel["targets"] for each in prometheus.over_time(target)]
    values = [value for each in every for value in each.values if math.isfinite(value)]
    if not values or not math.isfinite(every[0].values[-1]):
        _nothing(frame, defaults)
        return
    last = every[0].values[-1]
    colour, text = (
        step_colour(defaults["thresholds"]["steps"], last),
        written(last, defaults["unit"]),
    )
    for mapping in defaults.get("mappings", []):
        if found := mapping["options"].get(f"{last:g}"):
            colour, text = colour_of(found["color"]), found["text"]
    if panel["options"]["graphMode"] == "area":
        axes = frame.axes(1, 1, 1, frame.height * 0.58)
        axes.fill_between(every[0].times, every[0].values, color=colour, alpha=0.18, linewidth=0)
        axes.plot(every[0].times, every[0].values, color=colour, linewidth=1.1, alpha=0.8)
        axes.set_xlim(prometheus.start, prometheus.end)
        axes.set_ylim(0, max(values) * 1.05 or 1)
        axes.set_axis_off()
    size = 27 if len(text) < 9 else 22
    middle = frame.height * 0.42
    frame.write(
        frame.width / 2, middle, text, size=size, colour=colour, weight="bold", align="center"
    )


def _timeline(frame: Frame, panel: dict[str, Any], prometheus: Prometheus) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    every = [each for target in panel["targets"] for each in prometheus.over_time(target)]
    if not every:
        _nothing(frame, defaults)
        return
    words = defaults["mappings"][0]["options"]
    axes = frame.axes(_LEFT, _LEGEND + _TICKS + 4, 14, _TITLE)
    seen = set()
    for line, each in enumerate(reversed(every)):
        for begin, lasts, value in _merged(each, prometheus.step):
            word = words[f"{value:g}"]
            seen.add((int(value), word["text"], word["color"]))
            axes.barh(line, lasts, left=begin, height=0.72, color=colour_of(word["color"]))
    axes.set_yticks(range(len(every)), [each.name for each in reversed(every)], color=TEXT)
    axes.set_ylim(-0.5, len(every) - 0.5)
    axes.set_xlim(prometheus.start, prometheus.end)
    _clock(axes, prometheus)
    _legend(frame, [(text, colour_of(colour)) for _, text, colour in sorted(seen)])


def _merged(series: Series, step: float) -> list[tuple[float, float, float]]:
    """Return when each state began, how long it lasted, and which it was."""
    found: list[tuple[float, float, float]] = []
    for at, value in zip(series.times, series.values, strict=True):
        begin, lasts, last = found[-1] if found else (at, 0.0, math.nan)
        if value == last and begin + lasts > at - step / 2:
            found[-1] = (begin, at + step - begin, value)
        else:
            found.append((at, step, value))
    return found


def _heatmap(frame: Frame, panel: dict[str, Any], prometheus: Prometheus) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    (target,) = panel["targets"]
    every = sorted(prometheus.over_time(target), key=lambda each: float(each.labels["le"]))
    if not every:
        _nothing(frame, defaults)
        return
    times = np.arange(prometheus.start, prometheus.end + prometheus.step / 2, prometheus.step)
    bounds = [float(each.labels["le"]) for each in every]
    upto = np.array([np.nan_to_num(_aligned(each, times, prometheus)) for each in every])
    counts = np.diff(upto, axis=0, prepend=0)
    counts = np.ma.masked_less(counts, 1e-6)
    used = [place for place in range(len(bounds)) if counts[place].count()]
    shown = slice(0, min(max(used, default=0) + 2, len(bounds)))
    axes = frame.axes(_LEFT, _TICKS + 10, 14, _TITLE)
    counts, bounds = counts[shown], bounds[shown]
    edges = np.append(times, times[-1] + prometheus.step) - prometheus.step / 2
    axes.pcolormesh(
        edges, np.arange(len(bounds) + 1), counts**0.5, cmap=_HEAT, edgecolors=PANEL, linewidth=0.4
    )
    places = range(1, len(bounds) + 1)
    axes.set_yticks(places, [written(each, "s") if each < math.inf else "+Inf" for each in bounds])
    axes.set_xlim(prometheus.start, prometheus.end)
    _clock(axes, prometheus)


KINDS: Final[dict[str, Callable[[Frame, dict[str, Any], Prometheus], None]]] = {
    "timeseries": _timeseries,
    "stat": _stat,
    "state-timeline": _timeline,
    "heatmap": _heatmap,
    "table": table,
}
