"""``asgi-ws-observe audit``."""

from __future__ import annotations

import asyncio
import json
import sys

import click
from rich.box import SIMPLE
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..pages import AskError, http_client
from ..verdict import Audit, Criterion
from ..verdict import audit as ask
from .options import failed, json_option, token_option

__all__ = ["audit"]

#: So many of the metrics that do not count are shown.
_SHOWN = 3


@click.command(
    epilog="Exit code: 0 pass, 1 fail, 2 could not ask. Example: asgi-ws-observe audit "
    "http://127.0.0.1:8000/metrics"
)
@click.argument("url")
@json_option
@token_option
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for the page.")
def audit(url: str, as_json: bool, token: str | None, timeout: float) -> None:
    """Audit the metrics of a real-time service, whoever wrote it.

    It passes with at least three kinds of real-time metrics, active connections among them. The
    others are message throughput, queue depth, errors and latency percentiles. URL is its metrics
    page; /metrics is added where it has no path.
    """
    sys.exit(asyncio.run(_audit(url, as_json, token, timeout)))


async def _audit(url: str, as_json: bool, token: str | None, timeout: float) -> int:
    """Print the verdict and return the exit code."""
    try:
        async with http_client(token) as client:
            verdict = await ask(client, url, timeout)
    except AskError as error:
        return failed("audit", error)
    if as_json:
        click.echo(json.dumps(verdict.as_dict(), indent=2))
    else:
        Console(highlight=False).print(_view(verdict))
    return 0 if verdict.passed else 1


def _view(verdict: Audit) -> Group:
    word, colour = ("PASS", "bold green") if verdict.passed else ("FAIL", "bold red")
    parts: list[Table | Text] = [
        Text.assemble((word, colour), f" {verdict.url}"),
        Text(f"It {verdict.reason}."),
    ]
    if verdict.criteria:
        table = Table("", "kind", "metric, and what it says now", box=SIMPLE, pad_edge=False)
        for each in verdict.criteria:
            table.add_row(_mark(each), each.kind.name, _finding(each))
        parts.append(table)
    if verdict.remedy:
        word = "even better: " if verdict.passed else "to do: "
        parts.append(Text.assemble((word, "bold"), verdict.remedy))
    return Group(*parts)


def _mark(criterion: Criterion) -> Text:
    return Text("yes", "green") if criterion.found else Text("no", "red")


def _finding(criterion: Criterion) -> str:
    if criterion.found:
        more = f"\n[dim]also {_several(criterion.others)}[/dim]" if criterion.others else ""
        return f"{escape(criterion.metric)}  [cyan]{escape(criterion.now)}[/cyan]{more}"
    lines = [f"{escape(name)} does not count: {why}" for name, why in criterion.refused[:_SHOWN]]
    rest = len(criterion.refused) - _SHOWN
    if rest > 0:
        lines.append(f"[dim]nor do {rest} more[/dim]")
    return "\n".join(lines) or "nothing like it"


def _several(names: tuple[str, ...]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(map(escape, names[:_SHOWN])) + (f" and {rest} more" if rest > 0 else "")
