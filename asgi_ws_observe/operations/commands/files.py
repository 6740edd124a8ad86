"""``rules``, ``alertmanager``, ``dashboard``, ``scrape-config``, ``runbook``: files for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from ..dashboard import dashboard_text
from ..routing import alertmanager_text
from ..rules import rules_text
from ..runbook import runbook_text
from ..scrape import scrape_text
from ..thresholds import THRESHOLDS
from .options import checked_duration, job_option, scale_option, threshold_option

__all__ = ["alertmanager", "dashboard", "rules", "runbook", "scrape_config"]

_RUNBOOK: Final = "docs/operations/runbook.md"


def write(text: str, out: Path | None) -> None:
    """Print a text, or write it into a file.

    Raises:
        click.ClickException: The file cannot be written.
    """
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {out}: {error.strerror}") from None
    click.echo(f"{out} is written.", err=True)


_out: Final[Callable[..., Any]] = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; default: print it."
)


@click.command(
    epilog="Example: asgi-ws-observe rules --job chat --threshold capacity=0.8 --out r.yml"
)
@threshold_option
@job_option
@scale_option
@click.option("--runbook-url", default=_RUNBOOK, show_default=True, help="Where the runbook is.")
@click.option("--grafana-url", default="", help="Of Grafana, for links to the dashboard.")
@click.option(
    "--thresholds", "listed", is_flag=True, help="List the thresholds and their defaults."
)
@_out
def rules(
    thresholds: dict[str, float],
    job: str | None,
    scale: float,
    runbook_url: str,
    grafana_url: str,
    listed: bool,
    out: Path | None,
) -> None:
    """Print Prometheus' alert and recording rules."""
    if listed:
        write(_thresholds(), out)
        return
    write(
        rules_text(
            thresholds,
            job=job,
            scale=scale,
            runbook=runbook_url,
            grafana=grafana_url,
        ),
        out,
    )


@click.command(
    epilog="Example: asgi-ws-observe alertmanager --webhook http://pager/hook --out a.yml"
)
@click.option("--webhook", required=True, metavar="URL", help="Where alerts go.")
@scale_option
@_out
def alertmanager(webhook: str, scale: float, out: Path | None) -> None:
    """Print a configuration of Alertmanager that keeps back what follows from another alert."""
    write(alertmanager_text(webhook, scale=scale), out)


@click.command(epilog="Example: asgi-ws-observe dashboard --job chat --out dashboard.json")
@click.option("--job", help="The job to show first.")
@click.option("--title", help="Another title.")
@_out
def dashboard(job: str | None, title: str | None, out: Path | None) -> None:
    """Print the Grafana dashboard, to be imported."""
    write(dashboard_text(job=job, title=title), out)


@click.command(
    "scrape-config",
    epilog="Example: asgi-ws-observe scrape-config node-1:8000 node-2:8000 --job chat",
)
@click.argument("targets", nargs=-1, required=True, metavar="HOST:PORT...")
@click.option("--job", default="websockets", show_default=True, help="What they are called.")
@click.option("--path", default="/metrics", show_default=True, help="Where the metrics are.")
@click.option(
    "--interval", callback=checked_duration, default="15s", show_default=True, help="How often."
)
@click.option("--token-file", help="A file with the bearer token that /metrics demands.")
@click.option("--rules", "rules_file", help="The file with the alert rules.")
@click.option("--alertmanager", "alertmanager_address", help="host:port of Alertmanager.")
@_out
def scrape_config(
    targets: tuple[str, ...],
    job: str,
    path: str,
    interval: str,
    token_file: str | None,
    rules_file: str | None,
    alertmanager_address: str | None,
    out: Path | None,
) -> None:
    """Print a Prometheus configuration that asks these nodes."""
    if wrong := [target for target in targets if "/" in target or ":" not in target]:
        raise click.UsageError(f"got {wrong[0]!r}, accepted is host:port, such as 127.0.0.1:8000")
    write(
        scrape_text(
            targets,
            job=job,
            path=path,
            interval=interval,
            token_file=token_file,
            rules_file=rules_file,
            alertmanager=alertmanager_address,
        ),
        out,
    )


@click.command(epilog="Example: asgi-ws-observe runbook --threshold capacity=0.8 --out runbook.md")
@threshold_option
@job_option
@_out
def runbook(thresholds: dict[str, float], job: str | None, out: Path | None) -> None:
    """Print the runbook, with an anchor for each alert."""
    write(runbook_text(thresholds, job=job), out)


def _thresholds() -> str:
    wide = max(len(each.name) for each in THRESHOLDS)
    return "".join(
        f"{each.name:{wide}}  {f'{each.default:.10g} {each.unit}':>12}  {each.text}\n"
        for each in THRESHOLDS
    )
