"""Processes that end: by a deploy, or by themselves."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.nodes import Node, NodeOptions
from tests.laboratory.harness.scenario import LAB_THRESHOLDS, Finding, Scenario

__all__ = ["SCENARIOS"]


def _restart_all(lab: Lab) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(Node.restart, lab.nodes))


def _drain_all(lab: Lab) -> None:
    for node in lab.nodes:
        node.drain()
    _restart_all(lab)


def _workers(lab: Lab) -> list[int]:
    process = lab.nodes[0].process
    assert process is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in _command(pid)]


def _kill_worker(lab: Lab) -> None:
    os.kill(_workers(lab)[0], signal.SIGKILL)


def _stop_worker(lab: Lab) -> None:
    os.kill(_workers(lab)[0], signal.SIGSTOP)


def _command(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _kill_node(lab: Lab) -> None:
    lab.nodes[1].kill()


def _write_longer(lab: Lab) -> None:
    lab.crowd.manners.size = 400


def _send_elsewhere(lab: Lab) -> None:
    del lab.fronts[1]
    lab.crowd.hang_up()


#: For how long a start is new: `diagnose` itself takes a second or more, which is minutes here.
_LONGER: Final = {**LAB_THRESHOLDS, "warm_up": 900.0}

SCENARIOS: Final = (
    Scenario(
        name="deploy-all-at-once",
        what="every node gets SIGTERM at once and is started again: all clients see 1012",
        action=_restart_all,
        expected=frozenset({"WebSocketFleetRestarted"}),
        finding=Finding("WebSocketFleetRestarted", "deploy"),
        nodes=2,
        warm_up=9,
        thresholds=_LONGER,
    ),
    Scenario(
        name="deploy-drain",
        what="every application closes all connections with 1001 at once, and is started again",
        action=_drain_all,
        expected=frozenset({"WebSocketFleetRestarted"}),
        finding=Finding("WebSocketFleetRestarted", "deploy"),
        nodes=2,
        warm_up=9,
        thresholds=_LONGER,
    ),
    Scenario(
        name="worker-killed",
        what="one of two workers of a node is killed; uvicorn starts another one",
        action=_kill_worker,
        expected=frozenset({"WebSocketWorkerDied"}),
        finding=Finding("WebSocketWorkerDied", "node"),
        node=NodeOptions(workers=2),
    ),
    Scenario(
        name="worker-hung",
        what="one of two workers of a node hangs: it lives, and does nothing",
        action=_stop_worker,
        expected=frozenset({"WebSocketWorkerDown"}),
        finding=Finding("WebSocketWorkerDown", "node"),
        # uvicorn itself kills a worker that says nothing for five seconds.
        node=NodeOptions(workers=2, of_last=("--timeout-worker-healthcheck", "60")),
        # Its sibling waits for its answer before it gives its own.
        interval=2.5,
    ),
    Scenario(
        name="node-down",
        what="one of two nodes is killed and stays away",
        action=_kill_node,
        expected=frozenset({"WebSocketNodeDown"}),
        finding=Finding("WebSocketNodeDown", "node"),
        nodes=2,
    ),
    Scenario(
        name="node-unlike-peers",
        what="one of two nodes was started with another limit of message sizes, and it is met",
        action=_write_longer,
        expected=frozenset({"WebSocketNodeUnlikePeers"}),
        finding=Finding("WebSocketNodeUnlikePeers", "node"),
        nodes=2,
        node=NodeOptions(of_last=("--ws-max-size", "300")),
    ),
    Scenario(
        name="node-unused",
        what="the load balancer sends nobody to one of two nodes any more",
        action=_send_elsewhere,
        expected=frozenset({"WebSocketNodeUnused"}),
        finding=Finding("WebSocketNodeUnused", "node"),
        nodes=2,
        clients=46,
    ),
)
