"""Several scenarios at a time, and whether each came out as it should."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.running import run
from tests.laboratory.harness.scenario import Finding, Result, Scenario
from tests.laboratory.harness.starter import Starter

__all__ = ["AT_ONCE", "Suite", "wrong"]

#: So many scenarios run at a time: most of the time each of them waits.
AT_ONCE: Final = 4


class Suite:
    """Runs scenarios; a context manager.

    Args:
        scenarios: Which.
        directory: Where each gets a directory for its logs and data.
        at_once: How many run at a time.
        tell: Gets the name of a scenario and what is done in it just now.
        keep: Called at the end of each, while all of it still runs.

    Attributes:
        results: What comes of each, by name.
    """

    def __init__(
        self,
        scenarios: Iterable[Scenario],
        directory: Path,
        at_once: int = AT_ONCE,
        tell: Callable[[str, str], None] = lambda name, text: None,
        keep: Callable[[Lab], None] = lambda lab: None,
    ) -> None:
        self.results: dict[str, Future[Result]] = {}
        self._scenarios = list(scenarios)
        self._directory = directory
        self._tell = tell
        self._keep = keep
        self._starter = Starter()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(at_once)

    def __enter__(self) -> Suite:
        self._starter.__enter__()
        for scenario in self._scenarios:
            self.results[scenario.name] = self._pool.submit(self._run, scenario)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._stop.set()
        self._pool.shutdown(cancel_futures=True)
        self._starter.__exit__()

    def again(self, scenario: Scenario) -> Result:
        """Run a scenario once more, as soon as there is room for it."""
        return self._pool.submit(self._run, scenario, "-again").result()

    def _run(self, scenario: Scenario, suffix: str = "") -> Result:
        return run(
            scenario,
            self._starter,
            self._directory / f"{scenario.name}{suffix}",
            lambda text: self._tell(scenario.name, text),
            self._keep,
            self._stop,
        )


def wrong(scenario: Scenario, result: Result) -> list[str]:
    """Return what is not as it should be; empty where all is."""
    if result.problem:
        return [result.problem]
    said = []
    delivered = result.delivered.keys()
    if missing := scenario.expected - delivered:
        said.append(f"not delivered: {_listed(missing)}")
    if more := delivered - scenario.expected:
        said.append(f"delivered as well: {_listed(more)}")
    if scenario.is_quiet and result.inhibited:
        said.append(f"fired, and kept back: {_listed(result.inhibited)}")
    if result.finding != scenario.finding:
        said.append(f"diagnose: {_named(result.finding)} instead of {_named(scenario.finding)}")
    return said


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _named(finding: Finding | None) -> str:
    return f"{finding.signal} ({finding.side})" if finding else "nothing"
