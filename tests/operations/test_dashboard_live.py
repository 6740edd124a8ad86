"""Every expression of the dashboard returns data, on a Prometheus that scrapes a fleet under load.

No Grafana runs here: its variables are filled in as it would, and Prometheus is asked.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from asgi_ws_observe.operations.dashboard import dashboard_text
from docs.dashboard.picture import draw
from docs.dashboard.rows import ROWS
from tests.operations.dashboard_fleet import Fleet, fleet
from tests.support import wait_until

DASHBOARD: Final[dict[str, Any]] = json.loads(dashboard_text())
PANELS: Final = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
#: A panel's title -> its queries.
QUERIES: Final = {
    **{panel["title"]: [each["expr"] for each in panel["targets"]] for panel in PANELS},
    **{each["name"]: [each["expr"]] for each in DASHBOARD["annotations"]["list"]},
}
#: As Grafana fills them in where all is chosen. A rate remembers the whole load.
VARIABLES: Final = {
    "$__rate_interval": "40s",
    "$job": ".+",
    "$instance": ".+",
    "$route": ".+",
}


def filled(expr: str) -> str:
    """Return a query as Grafana asks it."""
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


def has_data(found: list[dict[str, Any]]) -> bool:
    """Return whether there is a number in a result; NaN is none."""
    return any(math.isfinite(float(each["value"][1])) for each in found)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet under load, until the tests of this module are done."""
    folder: Path = tmp_path_factory.mktemp("fleet")
    with fleet(folder) as found:
        found.visit_odd()
        with found.load(seconds=18):
            yield found


def test_every_expression_returns_data(running: Fleet) -> None:
    """No query is an error, and each has a number at some time of the load."""
    waiting = {(title, expr) for title, queries in QUERIES.items() for expr in queries}

    def done() -> bool:
        for each in list(waiting):
            if has_data(running.ask("query", query=filled(each[1]))["result"]):
                waiting.discard(each)
        running.visit_odd()
        return not waiting

    try:
        wait_until(done, 45)
    except AssertionError:
        assert [] == sorted(waiting)


def test_variables_have_values(running: Fleet) -> None:
    """Each query of a variable finds jobs, nodes and routes."""
    found = {}
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(
                r"label_values\((.*), (\w+)\)", variable["query"]["query"]
            ).groups()  # type: ignore[union-attr]
            found[variable["name"]] = running.ask(
                f"label/{label}/values", **{"match[]": filled(selector)}
            )
    assert ["a", "b", "odd", "socketio", "workers"] == found["job"]
    assert {*running.chat, running.socketio, running.odd} == set(found["instance"])
    assert "/rooms/{room}" in found["route"]


def test_table_has_its_columns(running: Fleet) -> None:
    """Each label that a table shows is in what Prometheus answers."""
    for panel in PANELS:
        if panel["type"] == "table":
            (kept,) = (e for e in panel["transformations"] if e["id"] == "filterFieldsByName")
            names = {e for e in kept["options"]["include"]["names"] if not e.startswith("Value")}
            for target in panel["targets"]:
                found = running.ask("query", query=filled(target["expr"]))["result"]
                assert names <= set().union(*(each["metric"] for each in found)), panel["title"]


def test_picture_is_drawn_of_every_kind_of_panel(running: Fleet, tmp_path: Path) -> None:
    """From the same JSON and the same Prometheus: stats, timelines, tables, lines, a heat map."""
    file, rows = tmp_path / "dashboard.png", [row for row in ROWS if row.id in (100, 400, 700)]
    assert {panel["type"] for panel in PANELS} == {e.kind for row in rows for e in row.panels}
    draw(running.prometheus.url, file, minutes=1, rows=[row.id for row in rows])
    width, height = struct.unpack(">II", file.read_bytes()[16:24])
    assert width > 1600
    assert height > 1200


def test_dots_lead_to_traces(running: Fleet) -> None:
    """The exemplars of handler times are trace ids."""
    (panel,) = (each for each in PANELS if each["title"] == "Handler time")
    query = filled(panel["targets"][0]["expr"])
    now = running.ask("query", query="time()")["result"][1]
    found = running.ask("query_exemplars", query=query, start=str(float(now) - 300), end=now)
    traces = {e["labels"]["trace_id"] for series in found for e in series["exemplars"]}
    assert traces
    assert [] == [each for each in traces if not re.fullmatch("[0-9a-f]{32}", each)]
