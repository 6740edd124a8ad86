"""``python -m tests.laboratory``: make faults for real, and see what detects them."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.scenario import Result, Scenario
from tests.laboratory.matrix import PAGE, page, table
from tests.laboratory.scenarios import SCENARIOS
from tests.laboratory.suite import AT_ONCE, Suite, wrong

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run scenarios and show the matrix.

    Returns:
        The exit code: 0; 1 where something was not as it should be; 2 for a wrong argument.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console()
    if options.list:
        for scenario in SCENARIOS.values():
            console.print(f"[bold]{scenario.name}[/]: {scenario.what}", highlight=False)
        return 0
    try:
        chosen = _chosen(options)
    except ValueError as problem:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
        return 2
    directory = Path(tempfile.mkdtemp(prefix="laboratory-"))
    console.print(f"Logs and data of each: {directory}", highlight=False)
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As Ctrl-C: nothing is left behind.
        signal.signal(number, signal.default_int_handler)
    try:
        results = _run(chosen, options, directory, console)
    except KeyboardInterrupt:
        console.print("Stopped; everything is ended.")
        return 130
    seconds = time.monotonic() - began
    console.print(table(chosen, results))
    console.print(f"{len(chosen)} in {seconds:.0f} s")
    if options.write:
        PAGE.write_text(page(chosen, results, seconds), encoding="utf-8")
        console.print(f"Written: {PAGE}", highlight=False)
    return 1 if any(wrong(scenario, results[scenario.name]) for scenario in chosen) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.laboratory",
        description="Make faults for real, and see which alerts are delivered and what diagnose "
        "says.",
        epilog="example: python -m tests.laboratory reset-storm --keep",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--list", action="store_true", help="show all names, and end")
    parser.add_argument(
        "--seconds", type=float, help="how long a fault may go undetected, a quiet time lasts"
    )
    parser.add_argument(
        "--at-once", type=int, default=AT_ONCE, help=f"how many at a time; default: {AT_ONCE}"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave it running until Ctrl-C; one scenario only"
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write docs/operations/{PAGE.name}; all scenarios only",
    )
    return parser


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    for name in options.names:
        if name not in SCENARIOS:
            near = get_close_matches(name, SCENARIOS, 1)
            hint = f"; did you mean {near[0]}?" if near else "; --list shows all"
            raise ValueError(f"there is no {name!r}{hint}")
    if options.keep and len(options.names) != 1:
        raise ValueError("--keep: accepted with one name")
    if options.write and options.names:
        raise ValueError("--write: accepted without names, since the page shows all")
    if options.at_once < 1 or (options.seconds is not None and options.seconds <= 0):
        raise ValueError("--at-once and --seconds: accepted is a number above 0")
    chosen = [SCENARIOS[name] for name in options.names or SCENARIOS]
    if options.seconds is not None:
        chosen = [dataclasses.replace(each, seconds=options.seconds) for each in chosen]
    return chosen


def _run(
    chosen: list[Scenario], options: argparse.Namespace, directory: Path, console: Console
) -> dict[str, Result]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    stop = threading.Event()
    with Progress(*columns, console=console, transient=True) as progress:
        tasks = {
            scenario.name: progress.add_task(scenario.name, start=False, visible=False)
            for scenario in chosen
        }

        def tell(name: str, text: str) -> None:
            progress.start_task(tasks[name])
            progress.update(tasks[name], description=f"[bold]{name}[/]: {text}", visible=True)
            if not console.is_terminal:
                print(f"{name}: {text}", flush=True)

        def keep(lab: Lab) -> None:
            if options.keep:
                console.print(f"Prometheus: {lab.prometheus.url}/alerts", highlight=False)
                for node in lab.nodes:
                    console.print(f"{node.name}: http://{node.address}/metrics", highlight=False)
                tell(lab.scenario.name, "it goes on until Ctrl-C")
                stop.wait()

        with Suite(chosen, directory, options.at_once, tell, keep) as suite:
            results = {}
            try:
                for scenario in chosen:
                    result = results[scenario.name] = suite.results[scenario.name].result()
                    progress.update(tasks[scenario.name], visible=False)
                    _report(scenario, result, console)
            finally:
                stop.set()
    return results


def _report(scenario: Scenario, result: Result, console: Console) -> None:
    said = wrong(scenario, result)
    mark = "[red]no[/]" if said else "[green]as it should[/]"
    told = f"{scenario.name}: {mark} {'; '.join(said)} ({result.seconds:.0f} s)"
    console.print(told, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
