"""`asgi-ws-observe diagnose`: of nodes, of a Prometheus, and of neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from asgi_ws_observe.operations.commands import asgi_ws_observe
from tests.operations.nodes import growing
from tests.operations.prometheus import prometheus
from tests.operations.served import Answer, Asked, Served
from tests.servers.processes import free_port
from tests.support import wait_until


def diagnose(*arguments: str) -> Result:
    """Run the command on a wide terminal."""
    return CliRunner(env={"COLUMNS": "160"}).invoke(asgi_ws_observe, ["diagnose", *arguments])


def found(result: Result) -> dict[str, Any]:
    """Return what it printed for scripts."""
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def full() -> Callable[[Asked], Answer]:
    """Return what serves a node whose connections nearly reach the limit."""
    return growing(active=39, limit=40, code="1000")


def test_node_that_is_full_is_found_by_watching_it(served: Served) -> None:
    """With the side, where, the numbers, the next command, and what was not checked."""
    served.answers["/metrics"] = full()
    result = diagnose(served.address, "--window", "1s")
    assert 1 == result.exit_code
    # The handler time is ill as well, and as urgent.
    assert "It is " in result.stdout
    assert f"the only node: {served.address}" in result.stdout
    assert "WebSocketCapacityNear" in result.stdout
    assert "0.975" in result.stdout or "97.5 % of the ceiling is used" in result.stdout
    assert f"curl -s http://{served.address}/metrics" in result.stdout
    assert "watched for 1 s: 1 node of asgi" in result.stdout
    assert "more compare with the past" in result.stdout


def test_json_is_for_scripts(served: Served) -> None:
    """The same, and nothing else on stdout."""
    served.answers["/metrics"] = full()
    told = found(diagnose(served.address, "--window", "1s", "--json"))
    by_name = {each["signal"]: each for each in told["findings"]}
    near = by_name["WebSocketCapacityNear"]
    assert {"asgi": 1} == told["nodes"]
    assert told["side"] == told["findings"][0]["side"]
    assert ("capacity", 0.975) == (near["side"], near["places"][0]["value"])
    assert all(each["command"] and each["do"] and each["numbers"] for each in told["findings"])


def test_threshold_that_is_given_decides(served: Served) -> None:
    """What is below it is no finding."""
    served.answers["/metrics"] = growing(active=30, limit=40)
    names = [
        {each["signal"] for each in found(diagnose(*arguments))["findings"]}
        for arguments in (
            (served.address, "--window", "1s", "--json"),
            (served.address, "--window", "1s", "--json", "--threshold", "capacity=0.5"),
        )
    ]
    assert [False, True] == ["WebSocketCapacityNear" in each for each in names]


def test_node_that_never_answers_is_found(served: Served) -> None:
    """Beside one that does, so that two are counted."""
    served.answers["/metrics"] = growing()
    down = f"127.0.0.1:{free_port()}"
    told = found(diagnose(served.address, down, "--window", "1s", "--json"))
    (node,) = (each for each in told["findings"] if each["signal"] == "WebSocketNodeDown")
    assert {"asgi": 2} == told["nodes"]
    assert f"1 of 2 nodes: {down}" == node["spread"]


def test_well_node_is_called_well(served: Served) -> None:
    """Exit code 0."""
    text = "\n".join(
        (
            *("# TYPE ws_observe_info gauge", 'ws_observe_info{version="1"} 1'),
            *("# TYPE ws_connections_active gauge", 'ws_connections_active{route="/a"} 3', ""),
        )
    )
    served.answers["/metrics"] = Answer(text)
    result = diagnose(served.address, "--window", "1s")
    assert 0 == result.exit_code
    assert "Nothing is wrong, as far as was checked." in result.stdout


def test_prometheus_is_asked_for_every_signal(served: Served, tmp_path: Path) -> None:
    """It remembers, so that none is left out; it is asked for one job where one is given."""
    served.answers["/metrics"] = full()
    configuration = (
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f'scrape_configs: [{{job_name: chat, static_configs: [{{targets: ["{served.address}"]}}]}}]'
    )
    with prometheus(tmp_path, configuration) as server:
        wait_until(lambda: server.query("rate(ws_connects_total[1m])"), 30)
        told = found(diagnose(server.url, "--json", "--job", "chat"))
        spoken = diagnose(server.url)
        other = diagnose(server.url, "--job", "other")
        both = diagnose(server.url, served.address)
    assert [] == told["unchecked"]
    assert {"chat": 1} == told["nodes"]
    assert f"asked of {server.url}: 1 node of chat" in spoken.stdout
    assert "compare with the past" not in spoken.stdout
    assert (2, True) == (other.exit_code, "has no series of asgi_ws_observe" in other.stderr)
    assert (2, True) == (both.exit_code, "give one Prometheus, or" in both.stderr)


def test_nobody_who_answers_is_said_in_one_line() -> None:
    """Exit code 2."""
    result = diagnose(f"127.0.0.1:{free_port()}")
    assert (2, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert result.stderr.startswith("asgi-ws-observe diagnose: http://127.0.0.1")


def test_options_that_are_wrong_are_named() -> None:
    """Each with what is accepted."""
    for option, value, accepted in (
        ("--window", "soon", "a duration such as 30s"),
        ("--window", "0s", "a duration of 1s or more"),
        ("--threshold", "capacity=2", "a number above 0 up to 1"),
        ("--scale", "0", "0.001<=x<=10"),
    ):
        result = diagnose("127.0.0.1:1", option, value)
        assert 2 == result.exit_code
        assert accepted in " ".join(result.stderr.split())
