"""``diagnose``: which side is it, with the numbers that say so."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ...exceptions import ObserveError
from ..diagnosis import Diagnosis, diagnose as find
from ..diagnosis_view import view
from ..expressions import seconds
from ..pages import AskError, http_client, page_url
from ..sources import PrometheusSource, SampledSource, recognise
from ..thresholds import parse_thresholds
from .files import Duration, job_option, scale_option, threshold_option

__all__ = ["diagnose"]

#: Seconds of the window that signals mostly ask for; a shorter look scales all of theirs.
_WINDOW = 300.0


@click.command(
    epilog="Examples: asgi-ws-observe diagnose http://prometheus:9090 --job chat; asgi-ws-observe "
    "diagnose http://node-1:8000/metrics http://node-2:8000/metrics --window 30s. Exit code 0: "
    "nothing found; 1: findings; 2: could not ask."
)
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option(
    "--window",
    type=Duration(),
    default="30s",
    show_default=True,
    help="For how long to watch /metrics pages. A Prometheus has watched already.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option("--token", envvar="ASGI_WS_OBSERVE_TOKEN", help="A bearer token to send.")
@job_option
@threshold_option
@scale_option
def diagnose(
    urls: tuple[str, ...],
    window: str,
    as_json: bool,
    token: str | None,
    job: str | None,
    thresholds: tuple[str, ...],
    scale: float,
) -> None:
    """Say which side it is: the clients, the network, a node, a deploy, capacity, or the bus.

    URL is a Prometheus, or the /metrics of each node, which are then watched for a while.
    """
    values = parse_thresholds(thresholds)
    console = Console(stderr=as_json)
    try:
        found, asked = asyncio.run(_ask(urls, window, token, job, values, scale, console))
    except ObserveError as error:
        click.echo(f"asgi-ws-observe diagnose: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        console.print(view(found, asked))
    sys.exit(1 if found.findings else 0)
