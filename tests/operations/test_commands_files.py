"""`rules`, `alertmanager`, `dashboard`, `scrape-config`, `runbook`: files for others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click
import pytest
from click.testing import CliRunner, Result

from asgi_ws_observe import __version__
from asgi_ws_observe.operations.commands import asgi_ws_observe
from asgi_ws_observe.operations.dashboard import dashboard_text
from asgi_ws_observe.operations.routing import alertmanager_text
from asgi_ws_observe.operations.rules import rules_text
from asgi_ws_observe.operations.runbook import runbook_text
from asgi_ws_observe.operations.scrape import scrape_text
from asgi_ws_observe.operations.thresholds import DEFAULTS, THRESHOLDS

WEBHOOK: Final = "http://127.0.0.1:9/"
FAST: Final = {**DEFAULTS, "capacity": 0.8}


def run(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(asgi_ws_observe, list(arguments), catch_exceptions=False)


WRITES: Final = {
    "rules": ([], rules_text()),
    "rules of a job": (
        ["--job", "chat", "--scale", "0.5", "--threshold", "capacity=0.8"],
        rules_text(FAST, job="chat", scale=0.5),
    ),
    "rules with links": (
        ["--runbook-url", "http://r", "--grafana-url", "http://g"],
        rules_text(runbook="http://r", grafana="http://g"),
    ),
    "alertmanager": (["--webhook", WEBHOOK], alertmanager_text(WEBHOOK)),
    "alertmanager in a hurry": (
        ["--webhook", WEBHOOK, "--scale", "0.1"],
        alertmanager_text(WEBHOOK, scale=0.1),
    ),
    "dashboard": ([], dashboard_text()),
    "dashboard of a job": (
        ["--job", "chat", "--title", "Chat"],
        dashboard_text(job="chat", title="Chat"),
    ),
    "scrape-config": (["a:1", "b:1"], scrape_text(["a:1", "b:1"])),
    "scrape-config with all": (
        [
            *("a:1", "--job", "chat", "--path", "/m", "--interval", "5s", "--token-file", "t"),
            *("--rules", "r.yml", "--alertmanager", "c:2"),
        ],
        scrape_text(
            ["a:1"],
            job="chat",
            path="/m",
            interval="5s",
            token_file="t",
            rules_file="r.yml",
            alertmanager="c:2",
        ),
    ),
    "runbook": ([], runbook_text()),
    "runbook of a job": (
        ["--job", "chat", "--threshold", "capacity=0.8"],
        runbook_text(FAST, job="chat"),
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_command_prints_its_file(name: str) -> None:
    """And nothing else."""
    arguments, expected = WRITES[name]
    result = run(name.split()[0], *arguments)
    assert (0, expected, "") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize("name", WRITES)
def test_command_writes_its_file(name: str, tmp_path: Path) -> None:
    """And says so where it does not disturb."""
    arguments, expected = WRITES[name]
    out = tmp_path / "file"
    result = run(name.split()[0], *arguments, "--out", str(out))
    assert (0, "", f"{out} is written.\n") == (result.exit_code, result.stdout, result.stderr)
    assert expected == out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rules", "--threshold", "capcity=1"], "got 'capcity=1', accepted is name=value"),
        (["rules", "--threshold", "capacity=2"], "got '2', accepted is a number above 0 up to 1"),
        (["runbook", "--threshold", "capacity"], "got 'capacity', accepted is name=value"),
        (["rules", "--scale", "0"], "0.001<=x<=10"),
        (["alertmanager"], "Missing option '--webhook'"),
        (["scrape-config"], "Missing argument 'HOST:PORT...'"),
        (["scrape-config", "http://a:1/metrics"], "got 'http://a:1/metrics', accepted is host:por"),
        (["scrape-config", "a:1", "localhost"], "got 'localhost', accepted is host:port"),
        (["scrape-config", "a:1", "--interval", "5"], "got '5', accepted is a duration such as"),
        (["dashboard", "--out", "/nowhere/at/all"], "cannot write /nowhere/at/all: No such file"),
        (["rules", "--out", "/"], "is a directory"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_mistake_is_told_in_one_line(arguments: list[str], says: str) -> None:
    """What was wrong and what is accepted; exit code 2, and nothing is printed."""
    result = run(*arguments)
    assert (2, "") == (result.exit_code, result.stdout)
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert says in line


@pytest.mark.parametrize("name", sorted({name.split()[0] for name in WRITES}))
def test_help_has_an_example_that_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is printed, in a directory of its own."""
    result = run(name, "--help")
    assert 0 == result.exit_code
    _, _, example = " ".join(result.stdout.split()).partition("Example: asgi-ws-observe ")
    assert name == example.split()[0]
    monkeypatch.chdir(tmp_path)
    assert 0 == run(*example.split()).exit_code


def test_thresholds_are_listed() -> None:
    """A line for each, with its default, exactly, and its meaning."""
    result = run("rules", "--thresholds")
    lines = result.stdout.splitlines()
    assert [each.name for each in THRESHOLDS] == [line.split()[0] for line in lines]
    assert [each.default for each in THRESHOLDS] == [float(line.split()[1]) for line in lines]
    assert all(line.endswith(each.text) for line, each in zip(lines, THRESHOLDS, strict=True))


def test_dashboard_is_json() -> None:
    """Whatever its title."""
    assert "Chat" == json.loads(run("dashboard", "--title", "Chat").stdout)["title"]


def test_help_lists_every_command() -> None:
    """With what it does."""
    listed = asgi_ws_observe.list_commands(click.Context(asgi_ws_observe))
    told = run("--help").stdout.partition("Commands:")[2].split("\n")
    lines = [line for line in told if line.startswith("  ") and line[2] != " "]
    assert listed == [line.split()[0] for line in lines]
    assert all(len(line.split()) > 3 for line in lines)


def test_version_is_that_of_the_library() -> None:
    """With the program's name."""
    result = CliRunner().invoke(asgi_ws_observe, ["--version"], prog_name="asgi-ws-observe")
    assert f"asgi-ws-observe {__version__}\n" == result.stdout
