"""How each kind of panel looks in Grafana."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models import prometheus as prometheus_models

from .panels import Panel, Query, Steps

__all__ = ["DATASOURCE", "visual"]

DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: The colour of a number that is neither good nor bad.
_PLAIN: Final = "blue"


def visual(panel: Panel) -> Any:
    """Return the builder of a panel, without its position."""
    builder = _KINDS[panel.kind](panel)
    builder = (
        builder.id(panel.id)
        .title(panel.title)
        .description(panel.description)
        .datasource(DATASOURCE)
        .unit(panel.unit)
    )
    for place, query in enumerate(panel.queries):
        builder = builder.with_target(_target(panel, query, chr(ord("A") + place)))
    if panel.empty:
        builder = builder.no_value(panel.empty)
    if panel.words or panel.empty:
        builder = builder.mappings([*_words(panel.words), *_nothing(panel.empty)])
    if panel.kind != "table":
        builder = builder.thresholds(_thresholds(panel.steps))
    for name, colour in panel.colours.items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        builder = builder.override_by_name(name, [models.DynamicConfigValue("color", fixed)])
    return builder


def _target(panel: Panel, query: Query, letter: str) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .ref_id(letter)
        .datasource(DATASOURCE)
        .editor_mode(prometheus_models.QueryEditorMode.CODE)
        .expr(query.expr)
        .legend_format(query.legend)
    )
    if panel.kind == "table":
        return target.instant().format(prometheus_models.PromQueryFormat.TABLE)
    if panel.kind == "heatmap":
        return target.range().format(prometheus_models.PromQueryFormat.HEATMAP)
    return target.range().exemplar(panel.exemplars)


def _timeseries(panel: Panel) -> Any:
    builder = (
        timeseries.Panel()
        .min(0)
        .line_width(1)
        .fill_opacity(45 if panel.stacked else 8)
        .show_points(looks.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(looks.LegendDisplayMode.LIST)
            .placement(looks.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(looks.TooltipDisplayMode.MULTI)
            .sort(looks.SortOrder.DESCENDING)
        )
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    )
    if panel.most is not None:
        builder = builder.max(panel.most)
    if panel.stacked:
        normal = common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A")
        builder = builder.stacking(normal)
    if panel.steps:
        dashed = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
        builder = builder.thresholds_style(dashed)
    return builder


def _stat(panel: Panel) -> Any:
    graph = looks.BigValueGraphMode.NONE if panel.words else looks.BigValueGraphMode.AREA
    return (
        stat.Panel()
        .graph_mode(graph)
        .color_mode(looks.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["last"]))
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    )


def _timeline(panel: Panel) -> Any:
    return (
        statetimeline.Panel()
        .show_value(looks.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(looks.LegendDisplayMode.LIST)
            .placement(looks.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    )


def _heatmap(panel: Panel) -> Any:
    return (
        heatmap.Panel()
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heat.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(heat.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .cell_gap(1)
        # A cell without a close is none.
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_legend()
    )


def _table(panel: Panel) -> Any:
    several = len(panel.queries) > 1
    names = {f"Value #{chr(ord('A') + place)}": each for place, each in enumerate(panel.queries)}
    if not several:
        names = {"Value": panel.queries[0]}
    renamed = panel.columns | {name: query.legend for name, query in names.items()}
    # What has neither a unit nor a column is there to be counted only.
    kept = [*panel.columns, *(name for name, query in names.items() if query.unit)]
    transformations = [
        *([models.DataTransformerConfig("merge", options={})] if several else []),
        models.DataTransformerConfig("filterFieldsByName", options={"include": {"names": kept}}),
        models.DataTransformerConfig(
            "organize",
            options={
                "excludeByName": {},
                "indexByName": {name: place for place, name in enumerate(kept)},
                "renameByName": {name: renamed[name] for name in kept},
            },
        ),
    ]
    # The most first, where there is one number; else by name.
    by = panel.queries[0] if not several and panel.queries[0].unit else None
    order = (
        common.TableSortByFieldState()
        .display_name(by.legend if by else renamed[kept[0]])
        .desc(by is not None)
    )
    builder = table.Panel().transformations(transformations).sort_by([order])
    for query in panel.queries:
        if query.unit:
            builder = builder.override_by_name(query.legend, _column(query))
    return builder


def _column(query: Query) -> list[models.DynamicConfigValue]:
    found = [
        models.DynamicConfigValue("unit", query.unit),
        models.DynamicConfigValue("mappings", _nothing("-")),
    ]
    if query.steps:
        steps = {"mode": "absolute", "steps": [_step(*each) for each in query.steps]}
        cells = {"type": "color-text"}
        found += [
            models.DynamicConfigValue("thresholds", steps),
            models.DynamicConfigValue("color", {"mode": "thresholds"}),
            models.DynamicConfigValue("custom.cellOptions", cells),
        ]
    return found


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    found = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps(found or [models.Threshold(value=None, color=_PLAIN)])
    )


def _step(value: float | None, colour: str) -> dict[str, Any]:
    return {"value": value, "color": colour}


def _words(words: dict[int, tuple[str, str]]) -> list[Any]:
    found = {
        str(value): models.ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(words.items())
    }
    return [models.ValueMap(found)] if found else []


def _nothing(text: str) -> list[Any]:
    """Return what says this of NaN: a quantile or a share of nothing."""
    result = models.ValueMappingResult(text=text, color="text", index=0)
    options = models.DashboardSpecialValueMapOptions(
        match=models.SpecialValueMatch.NULL_AND_NAN, result=result
    )
    return [models.SpecialValueMap(options)] if text else []


_KINDS: Final[dict[str, Callable[[Panel], Any]]] = {
    "timeseries": _timeseries,
    "stat": _stat,
    "state-timeline": _timeline,
    "heatmap": _heatmap,
    "table": _table,
}
