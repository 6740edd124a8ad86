"""Prometheus' scrape configuration."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from asgi_ws_observe.operations.rules import rules_text
from asgi_ws_observe.operations.scrape import scrape_text
from tests.servers.processes import program


@pytest.mark.parametrize("all_of_it", [False, True])
def test_promtool_takes_the_configuration(all_of_it: bool, tmp_path: Path) -> None:
    """With the defaults, and with everything."""
    options: dict[str, Any] = {}
    if all_of_it:
        (tmp_path / "token").write_text("secret", encoding="utf-8")
        (tmp_path / "rules.yml").write_text(rules_text(), encoding="utf-8")
        options = {
            "token_file": str(tmp_path / "token"),
            "rules_file": "rules.yml",
            "alertmanager": "127.0.0.1:9093",
        }
    file = tmp_path / "prometheus.yml"
    file.write_text(scrape_text(["a:1", "b:1"], **options), encoding="utf-8")
    promtool = program("promtool", package="prometheus")
    done = subprocess.run(
        [promtool, "check", "config", str(file)], capture_output=True, text=True, timeout=60
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def test_what_is_not_given_is_not_there() -> None:
    """No token, no rules, no Alertmanager."""
    assert {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "scrape_configs": [
            {
                "job_name": "websockets",
                "metrics_path": "/metrics",
                "static_configs": [{"targets": ["a:1"]}],
            }
        ],
    } == yaml.safe_load(scrape_text(["a:1"]))


def test_what_is_given_is_there() -> None:
    """Under Prometheus' names."""
    made = yaml.safe_load(
        scrape_text(
            ["a:1"],
            job="chat",
            path="/m",
            interval="5s",
            token_file="t",
            rules_file="r.yml",
            alertmanager="c:2",
        )
    )
    assert ["r.yml"] == made["rule_files"]
    assert [{"static_configs": [{"targets": ["c:2"]}]}] == made["alerting"]["alertmanagers"]
    (scrape,) = made["scrape_configs"]
    assert {"type": "Bearer", "credentials_file": "t"} == scrape["authorization"]
    assert ("chat", "/m", "5s") == (
        scrape["job_name"],
        scrape["metrics_path"],
        made["global"]["scrape_interval"],
    )
