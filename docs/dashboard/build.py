"""The dashboard as Grafana's JSON, by Grafana's own library of builders."""

from __future__ import annotations

import json
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from asgi_ws_observe.operations.dashboard import DASHBOARD_UID

from .overview import ALERTS
from .panels import Panel
from .promql import series
from .rows import places
from .visuals import DATASOURCE, visual

__all__ = ["dashboard_json"]

TITLE: Final = "WebSockets on ASGI"
TEXT: Final = (
    "What asgi_ws_observe knows of the WebSockets of an ASGI application: is it the clients, the "
    "network, or this node? Each panel says what good and bad look like."
)
#: Prometheus's type of query for a list of label values, of Grafana's editor.
_LABEL_VALUES: Final = 1

#: Moments that all panels show: name, colour, query, and what the mark says.
_ANNOTATIONS: Final = (
    (
        "Process starts",
        "blue",
        f"changes({series('process_start_time_seconds')}[$__rate_interval]) > 0 or "
        f"(time() - {series('process_start_time_seconds')}) < 60",
        ("A process started", "{{instance}}", "instance"),
    ),
    (
        "Firing alerts",
        "red",
        f"max by (alertname, severity, instance) ({ALERTS})",
        ("{{alertname}}", "{{instance}} ({{severity}})", "severity"),
    ),
)


def dashboard_json() -> str:
    """Return the dashboard; the same at each call."""
    builder = (
        dashboard.Dashboard(TITLE)
        .uid(DASHBOARD_UID)
        .description(TEXT)
        .tags(["asgi", "websocket", "prometheus"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .version(1)
        .variables(_variables())
        .link(
            dashboard.DashboardLink("Runbook")
            .type(models.DashboardLinkType.LINK)
            .icon("doc")
            .tooltip("What to do about each alert")
            .url("${runbook}")
            .target_blank(True)
        )
    )
    for each, column, line in places():
        if isinstance(each, Panel):
            position = models.GridPos(each.height, each.width, column, line)
            builder = builder.with_panel(visual(each).grid_pos(position))
        else:
            position = models.GridPos(1, 24, 0, line)
            row = dashboard.Row(each.title).id(each.id).collapsed(False).grid_pos(position)
            builder = builder.with_row(row)
    found: dict[str, Any] = json.loads(json.dumps(builder.build(), cls=JSONEncoder))
    # The builders know nothing of annotations by Prometheus.
    found["annotations"] = {"list": [_annotation(*each) for each in _ANNOTATIONS]}
    return json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _variables() -> list[Any]:
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _labels("job", "Job", "ws_observe_info, job"),
        _labels("instance", "Instance", 'ws_observe_info{job=~"$job"}, instance'),
        _labels(
            "route",
            "Route",
            'ws_connects_total{job=~"$job", instance=~"$instance"}, route',
        ),
        dashboard.TextBoxVariable("runbook")
        .label("Runbook")
        .description("Where your copy of the runbook is: a URL.")
        .default_value("docs/operations/runbook.md"),
    ]


def _labels(name: str, label: str, what: str) -> dashboard.QueryVariable:
    query: dict[str, object] = {
        "qryType": _LABEL_VALUES,
        "query": f"label_values({what})",
        "refId": "PrometheusVariableQueryEditor-VariableQuery",
    }
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(DATASOURCE)
        .multi(True)
        .include_all(True)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    # All jobs are those of the list, since others have `up` and `process_*` as well.
    return variable if name == "job" else variable.all_value(".+")


def _annotation(name: str, colour: str, expr: str, words: tuple[str, str, str]) -> dict[str, Any]:
    title, text, tags = words
    return {
        "name": name,
        "datasource": {"type": DATASOURCE.type_val, "uid": DATASOURCE.uid},
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        "target": {"expr": expr, "refId": "Anno"},
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": tags,
    }
