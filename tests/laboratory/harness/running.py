"""Runs a scenario: as usual, the fault, the alert, what else comes, and what `diagnose` says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.scenario import Finding, Result, Scenario
from tests.laboratory.harness.starter import Starter
from tests.servers.processes import ROOT

__all__ = ["diagnose", "run"]


def run(
    scenario: Scenario,
    starter: Starter,
    directory: Path,
    tell: Callable[[str], None] = lambda text: None,
    keep: Callable[[Lab], None] = lambda lab: None,
    stop: threading.Event | None = None,
) -> Result:
    """Run one scenario.

    Args:
        scenario: Which.
        starter: What the nodes are started from.
        directory: Where logs and data go.
        tell: Gets what is done just now.
        keep: Called at the end, while all of it still runs.
        stop: Ends it early when it is set.
    """
    began = time.monotonic()
    result = Result(name=scenario.name, scale=scenario.scale)
    try:
        with Lab(scenario, starter, directory, tell) as lab:
            lab.stop = stop or lab.stop
            lab.warm_up()
            _watch(lab, result, directory, keep)
            tell("end everything")
    except Exception as error:
        result.problem = f"{type(error).__name__}: {error}"
    result.seconds = time.monotonic() - began
    (directory / "result.json").write_text(json.dumps(result, default=vars, indent=1))
    return result


def _watch(lab: Lab, result: Result, directory: Path, keep: Callable[[Lab], None]) -> None:
    """Make the fault and wait for what comes of it."""
    scenario = lab.scenario
    if early := lab.receiver.names():
        raise RuntimeError(f"alerts before anything was wrong: {', '.join(sorted(early))}")
    lab.tell(scenario.what)
    began = time.monotonic()
    fault = _Fault(lab)
    ends = began + scenario.seconds
    while time.monotonic() < ends and not fault.failed and not lab.stop.wait(0.1):
        if scenario.expected and scenario.expected <= lab.receiver.names():
            break
    lab.tell("diagnose")
    result.finding = diagnose(lab.prometheus.url, scenario.scale, scenario.thresholds, directory)
    if scenario.expected:
        lab.tell("does another alert come?")
        lab.stop.wait(scenario.settle)
    result.delivered = {alert.name: alert.at - began for alert in reversed(lab.receiver.alerts())}
    result.inhibited = sorted(lab.prometheus.fired() - result.delivered.keys())
    keep(lab)
    lab.over.set()
    fault.end()


class _Fault:
    """The action of a scenario, in a thread of its own.

    Attributes:
        failed: What it raised; empty for nothing.
    """

    def __init__(self, lab: Lab) -> None:
        self.failed = ""
        self._lab = lab
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Wait for its end.

        Raises:
            RuntimeError: It failed.
        """
        self._thread.join(30)
        if self.failed:
            raise RuntimeError(f"the fault could not be made: {self.failed}")

    def _run(self) -> None:
        try:
            self._lab.scenario.action(self._lab)
        except Exception as error:
            self.failed = f"{type(error).__name__}: {error}"


def diagnose(
    url: str, scale: float, thresholds: dict[str, float] | Any, directory: Path
) -> Finding | None:
    """Return what the command `diagnose` finds first; `None` for nothing.

    Raises:
        RuntimeError: It fails.
    """
    arguments = [sys.executable, "-m", "asgi_ws_observe", "diagnose", url]
    arguments += ["--json", "--scale", str(scale)]
    for name, value in thresholds.items():
        arguments += ["--threshold", f"{name}={value:g}"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=60)
    (directory / "diagnosis.json").write_text(done.stdout + done.stderr)
    try:
        findings = json.loads(done.stdout)["findings"]
    except (ValueError, KeyError):
        raise RuntimeError(f"diagnose: {done.stderr.strip() or done.stdout}") from None
    return Finding(findings[0]["signal"], findings[0]["side"]) if findings else None
