"""The pages of the guide: their queries, commands and configurations are right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import promql_parser
import pytest

from asgi_ws_observe.metrics.catalogue import CATALOGUE
from tests.operations.stack import OPERATIONS
from tests.servers.processes import program

PAGES: Final = {
    name: (OPERATIONS / name).read_text(encoding="utf-8")
    for name in (
        *("README.md", "alertmanager.md", "collector.md", "grafana.md", "kubernetes.md"),
        *("load-balancers.md", "prometheus.md", "traces.md"),
    )
}
#: What Prometheus has beside ours.
OTHERS: Final = frozenset({"up", "scrape_duration_seconds"})
METRICS: Final = {each.exposed_name for each in CATALOGUE} | OTHERS
_PARTS: Final = re.compile(r"_(bucket|count|sum)$")


def exists(name: str) -> bool:
    """Return whether a metric, or a series of a histogram, has this name."""
    return name in METRICS or _PARTS.sub("", name) in METRICS


def queries() -> list[str]:
    """Return what the pages show as PromQL, in blocks and in tables."""
    blocks = [
        query.strip()
        for text in PAGES.values()
        for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL)
        for query in re.split(r"\n\n", re.sub(r"^#.*\n", "", block, flags=re.MULTILINE))
    ]
    inline = [
        found
        for text in PAGES.values()
        for found in re.findall(r"`((?:sum|max|min) (?:by )?\(.*?)`", text)
    ]
    return blocks + inline


@pytest.mark.parametrize("query", queries())
def test_query_is_one_of_metrics_that_exist(query: str) -> None:
    """It parses, and each of its metrics is in the catalogue."""
    promql_parser.parse(query)
    named = set(re.findall(r"\b(?:ws|socketio|engineio|event_loop|scrape)_\w+|\bup\b", query))
    assert named
    assert set() == {name for name in named if not exists(name)}


def test_pages_name_metrics_that_exist() -> None:
    """In sentences too."""
    named = {
        (page, name)
        for page, text in PAGES.items()
        for name in re.findall(
            r"`((?:ws|socketio|engineio|event_loop)_[a-z_]+)(?:\{[^`]*\})?`", text
        )
    }
    assert set() == {(page, name) for page, name in named if not exists(name)}


def shell(script: str, directory: Path) -> str:
    """Run a script as a reader would, in a folder, and return what it says."""
    commands = directory / "bin"
    commands.mkdir()
    command = commands / "asgi-ws-observe"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m asgi_ws_observe "$@"\n')
    command.chmod(0o755)
    path = f"{commands}:{os.environ['PATH']}"
    run = subprocess.run(
        ["sh", "-ec", script],
        cwd=directory,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(OPERATIONS.parents[1])},
        capture_output=True,
        text=True,
    )
    assert 0 == run.returncode, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_files_of_the_first_ten_minutes_are_accepted(tmp_path: Path) -> None:
    """The commands of the third step, word for word."""
    program("promtool", package="prometheus")
    program("amtool", package="prometheus-alertmanager")
    (step,) = re.findall(r"```\n(   asgi-ws-observe rules.*?)   ```", PAGES["README.md"], re.DOTALL)
    said = shell(step, tmp_path)
    # The configuration, that it names rules, the rules, and the routes.
    assert 4 == said.count("SUCCESS")


def test_commands_for_prometheus_are_accepted(tmp_path: Path) -> None:
    """Up to where it would start."""
    program("promtool", package="prometheus")
    (block,) = re.findall(r"```\n(asgi-ws-observe scrape.*?)```", PAGES["prometheus.md"], re.DOTALL)
    script = block.partition("prometheus --config")[0]
    assert "SUCCESS" in shell(f"asgi-ws-observe rules --out rules.yml\n{script}", tmp_path)


def test_other_receivers_are_accepted(tmp_path: Path) -> None:
    """By `amtool`."""
    amtool = program("amtool", package="prometheus-alertmanager")
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGES["alertmanager.md"], re.DOTALL)
    (tmp_path / "alertmanager.yml").write_text(block)
    assert "SUCCESS" in shell(f"{amtool} check-config alertmanager.yml", tmp_path)


def test_route_is_what_the_page_says(tmp_path: Path) -> None:
    """A critical alert goes to whoever is on call."""
    program("amtool", package="prometheus-alertmanager")
    text = PAGES["alertmanager.md"]
    making = text[text.index("asgi-ws-observe alertmanager") :].partition("\n")[0]
    ((asking, answer),) = re.findall(r"```\n\$ (amtool config.*)\n(.*)\n```", text)
    shell(making, tmp_path)
    assert (
        answer
        == subprocess.run(
            ["sh", "-ec", asking], cwd=tmp_path, capture_output=True, text=True
        ).stdout.strip()
    )
