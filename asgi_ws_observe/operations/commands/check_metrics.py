"""``asgi-ws-observe check-metrics``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from ..check_metrics import Checked, grouped
from ..check_metrics import check_metrics as ask
from ..drift import baseline, read_baseline
from ..expressions import seconds
from ..findings import Finding
from ..pages import AskError, fetch, http_client
from ..quantities import quantity
from .options import checked_duration, failed, json_option, token_option

__all__ = ["check_metrics"]

_COLOURS: Final = {"error": "bold red", "warning": "yellow", "info": "cyan"}
#: So many metrics of one finding are shown.
_SHOWN: Final = 3
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog="Exit code: 0 nothing, or only what is worth knowing; 1 findings; 2 could not ask. "
    "Examples: asgi-ws-observe check-metrics http://127.0.0.1:8000/metrics; with "
    "--write-baseline metrics.json before a release and --baseline metrics.json after it."
)
@click.argument("url")
@json_option
@click.option(
    "--max-series",
    type=click.IntRange(1),
    default=2000,
    show_default=True,
    help="Series allowed for one metric, and ten times as many for the page.",
)
@click.option(
    "--window",
    callback=checked_duration,
    metavar="DURATION",
    default="10s",
    show_default=True,
    help="Look again after this time, for labels that grow; 0s to look once.",
)
@click.option("--baseline", "before", type=_FILE, help="Compare with this file.")
@click.option("--write-baseline", "out", type=_FILE, help="Write such a file, and check nothing.")
@token_option
def check_metrics(
    url: str,
    as_json: bool,
    max_series: int,
    window: str,
    before: Path | None,
    out: Path | None,
    token: str | None,
) -> None:
    """Check a metrics page: cardinality, drift and naming.

    Cardinality: metrics with many series, labels whose values are many, grow, or look like ids.
    Drift: against a baseline, and against the catalogue of this library where the page is its own.
    Naming: what promtool check metrics says, and a little more.
    """
    if before is not None and out is not None:
        raise click.UsageError("give --baseline or --write-baseline, not both")
    if out is not None:
        sys.exit(asyncio.run(_write(url, out, token)))
    sys.exit(asyncio.run(_check(url, as_json, max_series, seconds(window), before, token)))


async def _write(url: str, out: Path, token: str | None) -> int:
    try:
        async with http_client(token) as client:
            found = baseline(await fetch(client, url))
        _save(out, found)
    except AskError as error:
        return failed("check-metrics", error)
    except OSError as error:
        return failed("check-metrics", f"cannot write {out}: {error.strerror}")
    click.echo(f"{out} is written: {len(found['metrics'])} metrics.", err=True)
    return 0


def _save(out: Path, found: dict[str, Any]) -> None:
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


async def _check(
    url: str, as_json: bool, most: int, window: float, before: Path | None, token: str | None
) -> int:
    """Print the findings and return the exit code."""
    try:
        known = None if before is None else read_baseline(before)
        async with http_client(token) as client:
            with Console(stderr=True).status(f"looking at {url} twice, {window:g} s apart"):
                found = await ask(client, url, most=most, window=window, before=known)
    except AskError as error:
        return failed("check-metrics", error)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        Console(highlight=False).print(_view(found))
    return int(found.failed)


def _view(found: Checked) -> Group:
    page = found.page
    most = ", ".join(f"{name} {count:,}" for name, count in found.widest[:_SHOWN])
    size = quantity(page.size, "bytes")
    numbers = f"{len(page.families):,} metrics, {found.series:,} series, {size}; most: {most}"
    parts: list[Text | Padding] = [Text(page.url, "bold"), Text(numbers)]
    if not found.findings:
        parts.append(Text("Nothing to say: few series, good names.", "green"))
    for group in grouped(found.findings):
        first = group[0]
        level = (first.level, _COLOURS[first.level])
        parts.append(Text.assemble("\n", level, f"  {first.subject}: {first.rule}"))
        parts.append(Padding(_says(group), (0, 0, 0, 4)))
    return Group(*parts)


def _says(group: list[Finding]) -> Text:
    text = Text(overflow="fold")
    for each in group[:_SHOWN]:
        text.append(each.metric or "the page", "bold").append(f" {each.says}\n")
    if len(group) > _SHOWN:
        text.append(f"and {len(group) - _SHOWN:,} more\n", "dim")
    return text.append(f"to do: {group[0].remedy}", "cyan")
