"""The dashboard: what Grafana needs, what people need, and only metrics that exist."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final

import promql_parser
import pytest

from asgi_ws_observe.metrics.catalogue import CATALOGUE
from asgi_ws_observe.operations.dashboard import DASHBOARD_UID, dashboard_text, panel_id
from asgi_ws_observe.operations.signals import SIGNALS
from docs.dashboard.files import FILES
from docs.dashboard.rows import ROWS

DASHBOARD: Final[dict[str, Any]] = json.loads(dashboard_text())
ITEMS: Final[list[dict[str, Any]]] = DASHBOARD["panels"]
PANELS: Final = [each for each in ITEMS if each["type"] != "row"]
TARGETS: Final = [(panel, target) for panel in PANELS for target in panel["targets"]]
EXPRESSIONS: Final = [target["expr"] for _, target in TARGETS]
ANNOTATIONS: Final = [each["expr"] for each in DASHBOARD["annotations"]["list"]]

#: What prometheus_client and Prometheus itself have, and its labels that are asked for.
FOREIGN: Final[dict[str, set[str]]] = {
    "process_cpu_seconds_total": set(),
    "process_max_fds": set(),
    "process_open_fds": set(),
    "process_resident_memory_bytes": set(),
    "process_start_time_seconds": set(),
    "python_gc_collections_total": {"generation"},
    "up": set(),
    "scrape_duration_seconds": set(),
    "scrape_samples_scraped": set(),
    "ALERTS": {"alertname", "alertstate", "severity", "side"},
}
EVERYWHERE: Final = {"job", "instance", "worker"}
#: Asked for without the chosen routes: the limit is that of the whole process.
WHOLE: Final = "ws_connections_limit"

_SELECTOR: Final = re.compile(r"([a-zA-Z_]\w*)\{([^}]*)\}")
_MATCHER: Final = re.compile(r"(\w+)(=~|!~|!=|=)")
_GROUPING: Final = re.compile(r"\bby \(([^)]*)\)")


def filled(expr: str) -> str:
    """Return a query as Grafana asks it."""
    return expr.replace("$__rate_interval", "1m")


def selectors(expr: str) -> Iterator[tuple[str, str]]:
    """Yield the metric of each selector, a histogram's without what follows, and its matchers."""
    for name, matchers in _SELECTOR.findall(expr):
        yield re.sub(r"_(bucket|count|sum)$", "", name), matchers


def labels() -> dict[str, set[str]]:
    """Return every metric and the labels that it can have."""
    ours = {
        each.exposed_name: {*each.labels, *({"le"} if each.kind == "histogram" else set())}
        for each in CATALOGUE
    }
    return {name: found | EVERYWHERE for name, found in (ours | FOREIGN).items()}


def lost(given: Any, found: Any, path: str = "") -> Iterator[str]:
    """Yield where what was found has not what was given; it may have more keys."""
    if isinstance(given, dict) and isinstance(found, dict):
        for name, value in given.items():
            yield from lost(value, found.get(name), f"{path}/{name}")
    elif isinstance(given, list) and isinstance(found, list) and len(given) == len(found):
        for place, (one, other) in enumerate(zip(given, found, strict=True)):
            yield from lost(one, other, f"{path}/{place}")
    elif given != found:
        yield path


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the builders need Python 3.11")
def test_generator_would_write_what_is_there() -> None:
    """`python -m docs.dashboard` would change nothing; the package and the docs have the same."""
    from docs.dashboard.build import dashboard_json

    assert {dashboard_json()} == {file.read_text(encoding="utf-8") for file in FILES}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the types need Python 3.11")
def test_grafanas_own_types_know_every_key() -> None:
    """Read by the types that are generated from Grafana's schema, nothing is lost."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(DASHBOARD), cls=JSONEncoder))
    # They know nothing of annotations by Prometheus.
    assert [] == list(lost({**DASHBOARD, "annotations": {}}, again))


def test_dashboard_is_for_grafana_11() -> None:
    """It has the schema, the address and the title that links and people rely on."""
    found = {name: DASHBOARD[name] for name in ("schemaVersion", "uid", "title", "editable")}
    assert {
        "schemaVersion": 41,
        "uid": DASHBOARD_UID,
        "title": "WebSockets on ASGI",
        "editable": False,
    } == found
    # One that has it cannot be imported beside others.
    assert DASHBOARD.get("id") is None


def test_variables_choose_datasource_job_instance_and_route() -> None:
    """Each can be several or all, and all means whatever there is now."""
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert ["datasource", "job", "instance", "route", "runbook"] == list(variables)
    assert ("datasource", "prometheus") == (
        variables["datasource"]["type"],
        variables["datasource"]["query"],
    )
    for name in ("job", "instance", "route"):
        each = variables[name]
        # All jobs are those that have our metrics; others have `up` and `process_*` as well.
        every = None if name == "job" else ".+"
        expected = (True, True, every, 2, "${datasource}")
        found = (each["multi"], each["includeAll"], each.get("allValue"), each["refresh"])
        assert expected == (*found, each["datasource"]["uid"])
        assert name.title() == each["label"]
        query = re.fullmatch(r"label_values\((.*), (\w+)\)", each["query"]["query"])
        assert query is not None
        assert name == query[2]
        promql_parser.parse(query[1])


def test_every_panel_has_id_of_its_own() -> None:
    """Links refer to ids, so no two are alike; and each belongs to its row."""
    assert [] == [number for number, count in Counter(e["id"] for e in ITEMS).items() if count > 1]
    for row in ROWS:
        assert [row.id] * len(row.panels) == [each.id // 100 * 100 for each in row.panels]


def test_every_panel_has_title_of_its_own() -> None:
    """Signals refer to titles."""
    titles = Counter(each["title"] for each in ITEMS)
    assert [] == [title for title, count in titles.items() if count > 1 or not title.strip()]


def test_no_panel_overlaps_another() -> None:
    """All are within the 24 columns, and none covers another one."""
    places = [each["gridPos"] for each in ITEMS]
    assert [] == [each for each in places if each["x"] < 0 or each["x"] + each["w"] > 24]
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def test_every_line_of_panels_is_full() -> None:
    """No line has a hole: panels of one line are as high as each other and fill 24 columns."""
    lines: dict[int, list[dict[str, int]]] = {}
    for each in PANELS:
        lines.setdefault(each["gridPos"]["y"], []).append(each["gridPos"])
    for line in lines.values():
        assert 24 == sum(each["w"] for each in line), line
        assert 1 == len({each["h"] for each in line}), line


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["id"]))
def test_panel_is_what_the_rules_ask_for(panel: dict[str, Any]) -> None:
    """It has a unit, the variable data source, queries with names, and what good and bad are."""
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert {"type": "prometheus", "uid": "${datasource}"} == panel["datasource"]
    description = panel["description"]
    assert "**Good:** " in description
    assert "**Bad:** " in description
    assert description.endswith(".")
    assert panel["targets"]
    letters = [target["refId"] for target in panel["targets"]]
    assert sorted(set(letters)) == letters
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert {"type": "prometheus", "uid": "${datasource}"} == target["datasource"]


@pytest.mark.parametrize("expr", [*EXPRESSIONS, *ANNOTATIONS])
def test_expression_follows_the_variables(expr: str) -> None:
    """It parses, and each selector is filtered by job, instance, and route where it has one."""
    promql_parser.parse(filled(expr))
    found = list(selectors(expr))
    assert found
    routed = {each.exposed_name for each in CATALOGUE if "route" in each.labels}
    for name, matchers in found:
        assert 'job=~"$job"' in matchers
        assert 'instance=~"$instance' in matchers
        whole = name == "ws_connections_active" and WHOLE in expr
        assert (name in routed and not whole) == ('route=~"$route"' in matchers)


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_expression_takes_rates_of_counters_only(expr: str) -> None:
    """Every range is `$__rate_interval`, and every counter and bucket is in a rate."""
    assert set(re.findall(r"\[([^\]]*)\]", expr)) <= {"$__rate_interval"}
    bare = re.sub(
        r"(rate|increase|changes)\([^()]*(\([^()]*\)[^()]*)*\[\$__rate_interval\]\)", "", expr
    )
    assert [] == re.findall(r"\w+_(?:total|bucket|count|sum)\{", bare)
    # `rate` of a gauge would be nonsense.
    kinds = {each.exposed_name: each.kind for each in CATALOGUE}
    for name in re.findall(r"(?:rate|increase)\((\w+)\{", expr):
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        assert kinds.get(family, "counter") in ("counter", "histogram"), name


@pytest.mark.parametrize("expr", [*EXPRESSIONS, *ANNOTATIONS])
def test_expression_asks_for_what_exists(expr: str) -> None:
    """Every metric is one of ours, of prometheus_client's or of Prometheus; so is every label."""
    known = labels()
    names = [name for name, _ in selectors(expr)]
    assert [] == [name for name in names if name not in known]
    for name, matchers in selectors(expr):
        assert {label for label, _ in _MATCHER.findall(matchers)} <= known[name]
    grouped = {label.strip() for group in _GROUPING.findall(expr) for label in group.split(",")}
    assert grouped <= set().union(*(known[name] for name in names))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["id"]))
def test_legend_names_labels_that_the_result_has(panel: dict[str, Any]) -> None:
    """A label of a legend is one by which the query groups; in a table so is each column."""
    for target in panel["targets"]:
        grouped = {
            label.strip()
            for group in _GROUPING.findall(target["expr"])
            for label in group.split(",")
        }
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped
    if panel["type"] == "table":
        (kept,) = (each for each in panel["transformations"] if each["id"] == "filterFieldsByName")
        columns = {e for e in kept["options"]["include"]["names"] if not e.startswith("Value")}
        assert columns <= grouped


def test_every_metric_of_the_catalogue_is_on_the_dashboard() -> None:
    """Nothing is measured that nobody can see."""
    shown = {name for expr in EXPRESSIONS for name, _ in selectors(expr)}
    assert [] == [each.exposed_name for each in CATALOGUE if each.exposed_name not in shown]


def test_panels_of_histograms_show_exemplars_where_there_are_some() -> None:
    """Handler times and round trips have them."""
    dots = {
        name for _, each in TARGETS if each.get("exemplar") for name, _ in selectors(each["expr"])
    }
    assert {"ws_handler_duration_seconds", "ws_heartbeat_rtt_seconds"} <= dots


def test_lifetimes_are_a_heat_map_of_buckets() -> None:
    """Its buckets hold proxies' limits apart, and its text names them."""
    (panel,) = (each for each in PANELS if each["type"] == "heatmap")
    assert ["heatmap"] == [target["format"] for target in panel["targets"]]
    (bounds,) = (e.bounds for e in CATALOGUE if e.name == "ws_connection_duration_seconds")
    assert {55, 65, 235, 300} <= set(bounds)
    for words in ("55 to 65 s", "60 s", "240 s"):
        assert words in panel["description"]


def test_runbook_is_linked() -> None:
    """The link goes where the variable says; no address is made up."""
    assert ["${runbook}"] == [each["url"] for each in DASHBOARD["links"]]


def test_job_and_title_are_set_where_given() -> None:
    """The rest stays as it is, in the same order."""
    changed = json.loads(dashboard_text(job="chat"))
    (job,) = (each for each in changed["templating"]["list"] if each["name"] == "job")
    assert {"selected": True, "text": ["chat"], "value": ["chat"]} == job["current"]
    assert "Our chat" == json.loads(dashboard_text(title="Our chat"))["title"]
    assert list(DASHBOARD) == list(changed)
    assert DASHBOARD["panels"] == changed["panels"]
    assert dashboard_text() == dashboard_text(title="WebSockets on ASGI")


def test_every_signal_has_a_panel_to_look_at() -> None:
    """Alerts link to it."""
    assert 0 < len(SIGNALS)
    assert set() == {each.panel for each in SIGNALS} - {panel["title"] for panel in PANELS}
    # And the table of alerts has them all.
    names = re.compile("|".join(f"{each}.*" for each in ("WebSocket", "SocketIO", "EngineIO")))
    (alerts,) = (panel for panel in PANELS if panel["title"] == "Firing alerts")
    assert f'alertname=~"{names.pattern}"' in alerts["targets"][0]["expr"]
    assert [] == [each.name for each in SIGNALS if not names.fullmatch(each.name)]


def test_panel_is_found_by_its_title() -> None:
    """A title that no panel has is a `KeyError`, a row's as well."""
    assert 602 == panel_id("Heartbeat round trip p99 by node")
    for title in ("Nothing", ROWS[0].title):
        with pytest.raises(KeyError, match=re.escape(title)):
            panel_id(title)
