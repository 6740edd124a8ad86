"""The rules as Prometheus takes them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from asgi_ws_observe.operations.expressions import seconds
from asgi_ws_observe.operations.rules import rules, rules_text
from asgi_ws_observe.operations.signals import RECORDINGS, SIGNALS
from asgi_ws_observe.operations.thresholds import DEFAULTS
from tests.servers.processes import program

ALERTS: Final = [signal.name for signal in SIGNALS]


def alerts(**options: Any) -> dict[str, dict[str, Any]]:
    """Return the alert rules by their names."""
    every = [rule for group in rules(**options)["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in every if "alert" in rule}


@pytest.mark.parametrize("options", [{}, {"job": "chat", "scale": 0.02, "grafana": "http://g/"}])
def test_promtool_takes_the_rules(options: dict[str, Any], tmp_path: Path) -> None:
    """All of them, for every job or one, in another time scale as well."""
    file = tmp_path / "rules.yml"
    file.write_text(rules_text(**options), encoding="utf-8")
    promtool = program("promtool", package="prometheus")
    done = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60
    )
    count = len(SIGNALS) + len(RECORDINGS)
    assert 0 == done.returncode, done.stderr
    assert f"SUCCESS: {count} rules found" in done.stdout


def test_every_signal_is_an_alert_in_the_group_of_its_side() -> None:
    """With its severity, side and scope as labels."""
    groups = {group["name"]: group["rules"] for group in rules()["groups"]}
    recorded = [
        *groups.pop("asgi_ws_observe.recorded"),
        *groups.pop("asgi_ws_observe.recorded_slowly"),
    ]
    assert {each.name for each in RECORDINGS} == {rule["record"] for rule in recorded}
    assert {(signal.name, f"asgi_ws_observe.{signal.side}") for signal in SIGNALS} == {
        (rule["alert"], name) for name, made in groups.items() for rule in made
    }
    for signal in SIGNALS:
        labels = {"severity": signal.severity, "side": signal.side, "scope": signal.scope}
        assert labels == alerts()[signal.name]["labels"]


@pytest.mark.parametrize("name", ALERTS)
def test_annotations_lead_to_the_runbook_and_the_panel(name: str) -> None:
    """At the addresses that were given, with the place of the alert."""
    told = alerts(runbook="http://r/book", grafana="http://g/")[name]["annotations"]
    assert f"http://r/book#{name.lower()}" == told["runbook_url"]
    assert re.fullmatch(
        r"http://g/d/asgi-ws-observe\?viewPanel=\d+&var-job=\{\{ \$labels\.job \}\}.*",
        told["dashboard_url"],
    )
    assert "{value}" not in told["summary"]
    assert "<" not in told["summary"]


def test_averages_of_hours_are_recorded_seldom() -> None:
    """They cost much, and hardly change."""
    slowly = rules(scale=0.5)["groups"][1]
    assert ("asgi_ws_observe.recorded_slowly", "1m") == (slowly["name"], slowly["interval"])
    windows = {rule["record"].rpartition("rate")[2] for rule in slowly["rules"]}
    assert {"2h", "6h", "1d", "3d"} == windows


def test_thresholds_are_in_the_expressions() -> None:
    """Those that were given."""
    made = alerts(values={**DEFAULTS, "capacity": 0.66})["WebSocketCapacityNear"]
    assert "> 0.66" in made["expr"]


def test_scale_is_in_every_time() -> None:
    """An alert that holds at once still does."""
    usual, fast = alerts(), alerts(scale=0.1)
    for name, rule in usual.items():
        assert seconds(fast[name]["for"]) == pytest.approx(seconds(rule["for"]) / 10)
    assert "[30s]" in fast["WebSocketCapacityReached"]["expr"]


def test_text_is_the_rules() -> None:
    """YAML that says the same."""
    assert rules(job="chat") == yaml.safe_load(rules_text(job="chat"))
