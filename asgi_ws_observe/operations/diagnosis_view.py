"""A diagnosis as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from .diagnosis import Diagnosis, Finding
from .signal import SIDES, Severity

__all__ = ["view"]

_COLOURS: Final[Mapping[Severity, str]] = {"critical": "red", "warning": "yellow", "info": "cyan"}


def view(diagnosis: Diagnosis, asked: str) -> RenderableType:
    """Return what to print.

    Args:
        diagnosis: What was found.
        asked: Whom, and over which time.
    """
    return Group(_verdict(diagnosis), *_findings(diagnosis), _checked(diagnosis, asked))


def _verdict(diagnosis: Diagnosis) -> RenderableType:
    if not diagnosis.findings:
        return Panel(Text("Nothing is wrong, as far as was checked.", "bold green"))
    first = diagnosis.findings[0]
    text = Text.assemble(
        "It is ", (SIDES[first.signal.side], f"bold {_COLOURS[first.signal.severity]}"), ": "
    )
    text.append(first.says)
    if first.spread:
        text.append(f"\non {first.spread}", "dim")
    return Panel(text, border_style=_COLOURS[first.signal.severity])


def _findings(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    for number, finding in enumerate(diagnosis.findings, 1):
        colour = _COLOURS[finding.signal.severity]
        title = Text.assemble(
            (f"{number}  {finding.signal.name}", f"bold {colour}"),
            (f"   {finding.signal.severity}, {SIDES[finding.signal.side]}", "dim"),
        )
        yield Rule(title, align="left", style="dim", characters="─")
        yield Padding(_finding(finding), (0, 0, 1, 3))


def _finding(finding: Finding) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("found", Text(finding.says))
    if finding.spread:
        table.add_row("where", Text(finding.spread))
    table.add_row("means", Text(finding.signal.means))
    for question, answer in finding.numbers:
        table.add_row("look", Text.assemble(question, " ", (answer, "bold")))
    table.add_row("type", Text(finding.command, "cyan"))
    for step in finding.signal.do:
        table.add_row("do", Text(step))
    if finding.follows:
        table.add_row("follows", Text(", ".join(sorted(set(finding.follows)))))
    return table


def _checked(diagnosis: Diagnosis, asked: str) -> RenderableType:
    nodes = ", ".join(
        f"{count} {'node' if count == 1 else 'nodes'} of {job or 'no job'}"
        for job, count in sorted(diagnosis.nodes.items())
    )
    text = f"{diagnosis.checked} signals checked, {asked}: {nodes}."
    if diagnosis.unchecked:
        text += (
            f" {len(diagnosis.unchecked)} more compare with the past: "
            "give the URL of a Prometheus, which remembers, to check them."
        )
    return Text(text, "dim")
