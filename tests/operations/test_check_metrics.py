"""The check of a page, and `asgi-ws-observe check-metrics`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asgi_ws_observe.operations.check_metrics import check, grouped
from asgi_ws_observe.operations.commands import asgi_ws_observe
from tests.operations.served import Answer, Asked, Served
from tests.operations.test_audit import PAGES, captured
from tests.servers.processes import free_port

GOOD = "# HELP ws_rooms Rooms.\n# TYPE ws_rooms gauge\nws_rooms 1\n"
BAD = '# TYPE chat_total gauge\nchat_total{user="ann"} 1\n'


def run(*arguments: str) -> Result:
    """Run the command, with one look unless told otherwise."""
    window = [] if "--window" in arguments else ["--window", "0s"]
    runner = CliRunner(env={"COLUMNS": "120"})
    return runner.invoke(asgi_ws_observe, ["check-metrics", *arguments, *window])


def test_the_worst_comes_first() -> None:
    """And what breaks the same rule comes together."""
    found = check(captured("redis_exporter"), before={"gone": {"type": "gauge", "labels": {}}})
    assert found.failed
    levels = [each.level for each in found.findings]
    assert sorted(levels, key=("error", "warning", "info").index) == levels
    groups = [(group[0].rule, len(group)) for group in grouped(found.findings)]
    assert [("gone", 1), ("_total", 2), ("abbreviated unit", 4)] == groups[:3]
    assert ("redis_latency_percentiles_usec", 30) == found.widest[0]


def test_a_good_page_has_nothing_to_say(served: Served) -> None:
    """Exit code 0."""
    result = run(served.page(GOOD))
    assert 0 == result.exit_code
    assert "1 metrics, 1 series, 56 B; most: ws_rooms 1" in result.stdout
    assert "Nothing to say" in result.stdout


def test_what_is_worth_knowing_is_no_failure(served: Served) -> None:
    """Exit code 0 with findings that are only worth knowing."""
    result = run(served.page((PAGES / "instrumentator.txt").read_text()))
    assert 0 == result.exit_code
    assert "info  naming: created series" in result.stdout


def test_findings_are_told_with_what_to_do(served: Served) -> None:
    """Exit code 1; of many metrics the first three are named."""
    result = run(served.page(BAD))
    assert 1 == result.exit_code
    assert "warning  cardinality: unbounded label" in result.stdout
    assert "chat_total is a gauge that ends in _total" in result.stdout
    assert "to do: leave _total to counters" in result.stdout
    result = run(served.page((PAGES / "node_exporter.txt").read_text()))
    assert "node_memory_AnonHugePages_bytes is in camelCase" in result.stdout
    assert "more" in result.stdout


def test_json_has_every_finding(served: Served) -> None:
    """With the page's numbers."""
    result = run(served.page(BAD), "--json", "--max-series", "1")
    assert 1 == result.exit_code
    found = json.loads(result.stdout)
    assert (1, 1, {"chat_total": 1}) == (found["families"], found["series"], found["widest"])
    assert {
        "subject": "naming",
        "level": "warning",
        "rule": "no help",
        "metric": "chat_total",
        "says": "has no help",
        "remedy": "say in one line what it counts",
    } in found["findings"]


def test_growth_is_seen_by_looking_twice(served: Served) -> None:
    """The second look is what is judged."""

    def more(_: Asked) -> Answer:
        names = [f"word-{'a' * n}" for n in range(10 + 5 * len(served.asked))]
        series = "".join(f'ws_rooms{{kind="{name}"}} 1\n' for name in names)
        return Answer(GOOD.replace("ws_rooms 1\n", series))

    served.answers["/metrics"] = more
    result = run(served.address, "--window", "10ms")
    assert 1 == result.exit_code
    assert "label kind went from 15 to 20 values in 0.01 s" in result.stdout


def test_a_release_is_compared_with_the_one_before(served: Served, tmp_path: Path) -> None:
    """A baseline written before, compared with after."""
    path = str(tmp_path / "metrics.json")
    result = run(served.page(GOOD), "--write-baseline", path)
    assert (0, "") == (result.exit_code, result.stdout)
    assert f"{path} is written: 1 metrics.\n" == result.stderr
    assert 0 == run(served.address, "--baseline", path).exit_code
    result = run(served.page(GOOD.replace("rooms", "halls")), "--baseline", path)
    assert 1 == result.exit_code
    assert "ws_rooms was there and is gone" in result.stdout


@pytest.mark.parametrize("option", ["--baseline", "--write-baseline"])
def test_what_cannot_be_asked_is_said_in_one_line(tmp_path: Path, option: str) -> None:
    """Nobody answers: exit code 2."""
    path = tmp_path / "metrics.json"
    path.write_text('{"metrics": {}}')
    result = run(f"127.0.0.1:{free_port()}", option, str(path))
    assert (2, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert "asgi-ws-observe check-metrics: http://127.0.0.1" in result.stderr


def test_files_that_cannot_be_used_are_named(served: Served, tmp_path: Path) -> None:
    """Exit code 2 as well, and both at once make no sense."""
    url = served.page(GOOD)
    result = run(url, "--write-baseline", str(tmp_path / "no" / "metrics.json"))
    assert (2, True) == (result.exit_code, "cannot write" in result.stderr)
    result = run(url, "--baseline", str(tmp_path / "metrics.json"))
    assert (2, True) == (result.exit_code, "write one with --write-baseline" in result.stderr)
    result = run(url, "--baseline", "a", "--write-baseline", "b")
    assert (2, True) == (result.exit_code, "not both" in result.stderr)
