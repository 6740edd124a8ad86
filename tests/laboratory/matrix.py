"""The detection matrix: for people on a terminal, and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.table import Table

from asgi_ws_observe.operations.signals import SIGNALS
from tests.laboratory.harness.scenario import Result, Scenario
from tests.laboratory.suite import wrong

__all__ = ["PAGE", "page", "table", "unmade"]

#: Where the page lies.
PAGE: Final = Path(__file__).parents[2] / "docs" / "operations" / "detection.md"

_COMMAND: Final = "python -m tests.laboratory --write"


def table(scenarios: Sequence[Scenario], results: Mapping[str, Result]) -> Table:
    """Return the matrix for a terminal."""
    made = Table(title="What was detected", show_lines=True)
    for heading in ("fault", "alert delivered", "after", "diagnose says", "as it should"):
        made.add_column(heading)
    for scenario in scenarios:
        result = results[scenario.name]
        said = wrong(scenario, result)
        made.add_row(
            scenario.name,
            "\n".join(_short(name) for name in sorted(result.delivered)) or "none",
            _times(scenario, result),
            f"{_short(result.finding.signal)}, {result.finding.side}"
            if result.finding
            else "all well",
            "[red]" + "\n".join(said) + "[/]" if said else "[green]yes[/]",
        )
    return made


def page(scenarios: Sequence[Scenario], results: Mapping[str, Result], seconds: float) -> str:
    """Return the page.

    Args:
        scenarios: All of them.
        results: What came of them.
        seconds: How long all of it took.
    """
    faults = [scenario for scenario in scenarios if not scenario.is_quiet]
    quiet = [scenario for scenario in scenarios if scenario.is_quiet]
    right = sum(not wrong(scenario, results[scenario.name]) for scenario in scenarios)
    lines = [
        f"<!-- Written by `{_COMMAND}`: figures of its last full run. -->",
        "",
        "# What is detected, and how fast",
        "",
        f"Every fault of [the laboratory](laboratory.md) made for real, {len(faults)} of them, and "
        f"{len(quiet)} quiet times. {right} of {len(scenarios)} came out as they should: their own "
        "alert was delivered by Alertmanager and no other, and `diagnose` named the cause first. "
        f"All of it took {seconds / 60:.1f} minutes on two cores.",
        "",
        "*After* is the time from the fault's begin to the webhook, and in brackets what that is "
        "without the laboratory's time scale, in which a minute lasts a second (four minutes for "
        "`connection-leak`). The times of machines do not shrink with it, so it is an upper bound. "
        "*Kept back* fired as well, and was not delivered, since the alert beside it explains it.",
        "",
        "## Faults",
        "",
        "| fault | what is done | alert | after | kept back | diagnose: first finding, side |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_fault_row(scenario, results[scenario.name]) for scenario in faults),
        "",
        "## Quiet times",
        "",
        "| time | what is done | for | alerts | diagnose |",
        "| --- | --- | --- | --- | --- |",
        *(_quiet_row(scenario, results[scenario.name]) for scenario in quiet),
        "",
        "## Not made here",
        "",
        "These signals have no fault of their own in the laboratory; like all of them they have a "
        "firing and a silent case in the unit tests of the rules: "
        + ", ".join(f"`{name}`" for name in unmade(scenarios))
        + ".",
        "",
    ]
    return "\n".join(lines)


def unmade(scenarios: Sequence[Scenario]) -> list[str]:
    """Return the names of the signals that no scenario expects."""
    made = {name for scenario in scenarios for name in scenario.expected}
    return [signal.name for signal in SIGNALS if signal.name not in made]


def _fault_row(scenario: Scenario, result: Result) -> str:
    found = result.finding
    cells = [
        f"`{scenario.name}`",
        scenario.what,
        ", ".join(f"`{name}`" for name in sorted(result.delivered)) or "none",
        _times(scenario, result),
        ", ".join(f"`{name}`" for name in result.inhibited) or "-",
        f"`{found.signal}`, {found.side}" if found else "nothing",
    ]
    return f"| {' | '.join(cells)} |"


def _quiet_row(scenario: Scenario, result: Result) -> str:
    cells = [
        f"`{scenario.name}`",
        scenario.what,
        f"{scenario.seconds:g} s ({_human(scenario.seconds / scenario.scale)})",
        ", ".join(f"`{name}`" for name in sorted(result.delivered)) or "none",
        f"`{result.finding.signal}`" if result.finding else "nothing",
    ]
    return f"| {' | '.join(cells)} |"


def _times(scenario: Scenario, result: Result) -> str:
    seconds = result.detected(scenario.expected)
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s ({_human(seconds / scenario.scale)})"


def _human(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _short(name: str) -> str:
    return name.removeprefix("WebSocket")
