"""The benchmarks: they run, and the page about costs says what was measured. Nothing is timed."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.benchmarks import page
from tests.benchmarks.__main__ import PARTS, main
from tests.benchmarks.bars import BARS, Bar, bars
from tests.benchmarks.page import PLOTS
from tests.benchmarks.results import load, share
from tests.benchmarks.tables import SECTIONS, bar_table
from tests.benchmarks.texts import PART_TEXTS

STORM: dict[str, Any] = {
    "storm": {
        "connections": 50,
        "rows": [
            {
                "name": "asgi_ws_observe: no SDK",
                "seconds": [0.1],
                "cpu": [0.1],
                "lost": 0,
                "counted": [50, 50, 50],
            }
        ],
    }
}


def test_page_and_its_plots_are_fresh() -> None:
    """`python -m tests.benchmarks.page` would change nothing."""
    written = page.files(load())
    assert {path: path.read_text(encoding="utf-8") for path in written} == written


def test_every_plot_is_well_formed_and_named_by_the_page() -> None:
    """No plot is broken XML, and each is on the page."""
    written = page.files(load())
    text = written[page.PAGE]
    plots = [path for path in written if path.suffix == ".svg"]
    assert len(PLOTS) == len(plots)
    for path in plots:
        assert "svg" in ElementTree.fromstring(written[path]).tag
        assert path.name in text


def test_every_part_is_measured_and_has_its_section() -> None:
    """What the command line offers is what is kept, shown and explained."""
    assert set(PARTS) == set(SECTIONS) == set(PART_TEXTS) == set(load())
    assert set(BARS) <= set(PARTS)


def test_parts_in_process_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The parts at ASGI level run with a few of their cases, and nothing is kept of that."""
    before = page.PAGE.read_text(encoding="utf-8")
    assert 0 == main(["--quick", "--match", "no SDK", "messages", "profile"])
    output = capsys.readouterr().out
    assert "asgi_ws_observe: metrics and logs, no SDK" in output
    assert before == page.PAGE.read_text(encoding="utf-8")


def test_parts_with_a_server_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A real server and fast clients: none is lost, and `/metrics` knows all of them."""
    assert 0 == main(["--quick", "--rounds", "1", "storm"])
    assert "| ok | 50 connect at once, default with an SDK | 0 lost" in capsys.readouterr().out


def test_hub_beside_a_client_that_does_not_read_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Every message is sent or counted as dropped, and memory stays bounded."""
    assert 0 == main(["--quick", "--rounds", "1", "hub"])
    output = capsys.readouterr().out
    assert "| ok | a room of 50, one of which does not read: messages | 0 unaccounted" in output
    assert "| ok | a room of 50, one of which does not read: memory" in output


def test_servers_of_socketio_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Every mode makes the spans that it says, and a scrape knows all clients and rooms."""
    assert 0 == main(["--quick", "--rounds", "1", "socketio"])
    output = capsys.readouterr().out
    assert "| asgi_ws_observe: all events traced, sampled |" in output
    assert "Socket.IO: a scrape, 50 connections, 5 rooms" in output


def test_part_that_fails_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part that raises is named, the next one runs, and the exit status tells."""

    def broken(*_: object) -> Any:
        raise RuntimeError("no such server")

    monkeypatch.setitem(PARTS, "churn", broken)
    monkeypatch.setitem(PARTS, "storm", lambda *_: dict(STORM["storm"]))
    assert 1 == main(["--quick", "churn", "storm"])
    output = capsys.readouterr()
    assert "churn: RuntimeError: no such server" in output.err
    assert "50 connect at once" in output.out


def test_lost_connection_breaks_a_promise() -> None:
    """A storm that one client did not survive does not count as survived."""
    parts = json.loads(json.dumps(STORM))
    assert [True] == [bar.holds for bar in bars(parts)]
    parts["storm"]["rows"][0]["lost"] = 1
    assert [False] == [bar.holds for bar in bars(parts)]
    text, broken = bar_table(parts)
    assert 1 == broken
    assert "**NOT**" in text


@pytest.mark.parametrize(
    ("found", "at_least", "holds"),
    [(1.0, False, True), (1.1, False, False), (1.0, True, True), (0.9, True, False)],
)
def test_bar_holds_on_its_side_of_the_limit(found: float, at_least: bool, holds: bool) -> None:
    """At most means not more, at least not less; the limit itself is kept."""
    assert holds == Bar("", found, 1.0, at_least=at_least).holds


def test_share_is_taken_within_rounds() -> None:
    """A round in which the machine was slow for both says the same as any other."""
    assert 0.5 == share([1.0, 10.0, 2.0], [2.0, 20.0, 4.0])


def test_modules_of_peers_are_not_needed_to_start() -> None:
    """No benchmark imports a peer before its case runs: one that is missing is a line, no error."""
    folder = Path(page.__file__).parent
    imported = {
        name.split(".")[0]
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _names(node)
    }
    assert set() == imported & {"ddtrace", "fastapi", "logfire", "sentry_sdk"}


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
