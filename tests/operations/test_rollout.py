"""A rollout that drains, as numbers: the generated rules say nothing of it."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from asgi_ws_observe.operations.rules import rules
from tests.servers.processes import program

#: Seconds between two scrapes.
STEP: Final = 15
#: Minutes before the rollout, and after its beginning.
BEFORE, AFTER = 70, 25
CONNECTIONS: Final = 1500
PACE: Final = 25
#: Connects and closes a second, and messages, of each node that is in service.
CHURN: Final = 2
MESSAGES: Final = 300


@dataclass
class Node:
    """One pod.

    Attributes:
        name: Its address.
        started: When it started, seconds.
        is_draining: Whether its connections are being closed.
        totals: Its counters and gauges, by series.
    """

    name: str
    started: int
    totals: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    is_draining: bool = False

    def add(self, connects: int, closes: int, ending: str) -> None:
        """Count connects, and closes of one kind."""
        self.totals['ws_connects_total{route="/chat"'] += connects
        self.totals[f'ws_closes_total{{route="/chat",{ending}'] += closes
        self.totals['ws_connections_active{route="/chat"'] += connects - closes
        self.totals['ws_handshake_duration_seconds_count{route="/chat"'] += connects
        for bound in ("0.01", "1.0", "+Inf"):
            key = f'ws_handshake_duration_seconds_bucket{{route="/chat",le="{bound}"'
            self.totals[key] += connects

    def tick(self) -> None:
        """Pass so much time as between two scrapes."""
        if not self.is_draining:
            self.add(CHURN * STEP, CHURN * STEP, 'code="1000",closed_by="client",reason="normal"')
        for direction in ("in", "out"):
            self.totals[f'ws_messages_total{{route="/chat",direction="{direction}"'] += (
                MESSAGES * STEP if self.active else 0
            )
        self.totals |= {
            "up{": 1,
            "process_start_time_seconds{": self.started,
            "ws_connections_limit{": 2000,
            'ws_observe_info{version="0",transport="sansio"': 1,
            "process_open_fds{": 20 + self.active,
            "process_max_fds{": 16384,
            "event_loop_lag_max_seconds{": 0.002,
        }

    @property
    def active(self) -> float:
        return self.totals['ws_connections_active{route="/chat"']


def rollout(ending: str) -> Iterator[list[Node]]:
    """Yield the nodes at each scrape: three are replaced, one after the other.

    Args:
        ending: The labels of the closes of a node that goes.
    """
    nodes = [Node(f"old-{number}:8000", 0) for number in range(3)]
    for each in nodes:
        each.add(CONNECTIONS, 0, 'code="1000",closed_by="client",reason="normal"')
    leaving = list(nodes)
    for now in range(0, (BEFORE + AFTER) * 60, STEP):
        yield nodes
        if now < BEFORE * 60:
            continue
        if not any(each.is_draining for each in nodes) and leaving:
            # The new one is ready before the old one drains.
            nodes = [*nodes, Node(f"new-{len(leaving)}:8000", now)]
            leaving[0].is_draining = True
        elif leaving and not leaving[0].active:
            nodes = [each for each in nodes if each is not leaving[0]]
            del leaving[0]
        elif leaving:
            gone = int(min(PACE * STEP, leaving[0].active))
            leaving[0].add(0, gone, ending)
            for _ in range(gone):
                fewest = min((node for node in nodes if not node.is_draining), key=_load)
                fewest.add(1, 0, ending)


def _load(node: Node) -> float:
    return node.active


def series(ending: str) -> list[dict[str, str]]:
    """Return the rollout as promtool's input."""
    values: dict[str, list[str]] = {}
    for number, nodes in enumerate(rollout(ending)):
        for node in nodes:
            node.tick()
            for name, value in node.totals.items():
                comma = "" if name.endswith("{") else ","
                key = f'{name}{comma}job="chat",instance="{node.name}"}}'
                column = values.setdefault(key, [])
                column += ["_"] * (number - len(column))
                column.append(f"{value:g}" if value < 100000 else f"{value:.0f}")
    return [{"series": key, "values": " ".join(column)} for key, column in values.items()]


def run(ending: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Let promtool expect silence of every alert, each minute of the rollout."""
    made: dict[str, Any] = rules()
    every = [rule for group in made["groups"] for rule in group["rules"]]
    alerts = [rule["alert"] for rule in every if "alert" in rule]
    (directory / "rules.yml").write_text(yaml.safe_dump(made))
    test = {
        "interval": f"{STEP}s",
        "input_series": series(ending),
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": []}
            for minute in range(BEFORE, BEFORE + AFTER)
            for alert in alerts
        ],
    }
    content = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{STEP}s",
        "tests": [test],
    }
    (directory / "test.yml").write_text(yaml.safe_dump(content))
    promtool = program("promtool", package="prometheus")
    return subprocess.run(
        [promtool, "test", "rules", "test.yml"], cwd=directory, capture_output=True, text=True
    )


def test_all_nodes_are_replaced_and_all_connections_kept() -> None:
    """The rollout is one: it goes through, and nobody is above the limit."""
    *_, nodes = rollout("")
    assert ["new-3:8000", "new-2:8000", "new-1:8000"] == [each.name for each in nodes]
    assert 3 * CONNECTIONS == sum(each.active for each in nodes)
    assert all(0 < each.active <= 2000 for each in nodes)


def test_rollout_that_drains_fires_nothing(tmp_path: Path) -> None:
    """Not while nodes drain, nor after."""
    found = run('code="1001",closed_by="server",reason="going_away"', tmp_path)
    assert 0 == found.returncode, found.stdout + found.stderr


def test_rollout_that_kills_does(tmp_path: Path) -> None:
    """The same numbers with connections that are lost are a fault."""
    found = run('code="1006",closed_by="network",reason="eof"', tmp_path)
    assert 0 != found.returncode
    assert "WebSocketAbnormalCloses" in found.stdout + found.stderr
