"""``diagnose``: which side is it, with the numbers that say so."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ...exceptions import ObserveError
from ..diagnosis import Diagnosis
from ..diagnosis import diagnose as find
from ..diagnosis_view import view
from ..expressions import seconds
from ..pages import AskError, http_client
from ..sources import PrometheusSource, SampledSource, only_prometheus
from .options import (
    checked_duration,
    failed,
    job_option,
    json_option,
    scale_option,
    threshold_option,
    token_option,
)

__all__ = ["diagnose"]

#: Seconds of the window that signals mostly ask for; a shorter look scales all of theirs.
_WINDOW: Final = 300.0


def _window(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if seconds(checked_duration(ctx, param, value)) < 1:
        raise click.BadParameter(f"got {value!r}, accepted is a duration of 1s or more")
    return value


@click.command(
    epilog="Examples: asgi-ws-observe diagnose http://prometheus:9090 --job chat; asgi-ws-observe "
    "diagnose http://node-1:8000/metrics http://node-2:8000/metrics --window 30s. Exit code 0: "
    "nothing found; 1: findings; 2: could not ask."
)
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option(
    "--window",
    callback=_window,
    metavar="DURATION",
    default="30s",
    show_default=True,
    help="For how long to watch /metrics pages. A Prometheus has watched already.",
)
@json_option
@token_option
@job_option
@threshold_option
@scale_option
def diagnose(
    urls: tuple[str, ...],
    window: str,
    as_json: bool,
    token: str | None,
    job: str | None,
    thresholds: dict[str, float],
    scale: float,
) -> None:
    """Say which side it is: the clients, the network, a node, a deploy, capacity, or the bus.

    URL is a Prometheus, or the /metrics of each node, which are then watched for a while.
    """
    sys.exit(asyncio.run(_diagnose(urls, window, token, job, thresholds, scale, as_json)))


async def _diagnose(
    urls: tuple[str, ...],
    window: str,
    token: str | None,
    job: str | None,
    thresholds: dict[str, float],
    scale: float,
    as_json: bool,
) -> int:
    """Print what was found and return the exit code."""
    try:
        found, asked = await _ask(urls, seconds(window), token, job, thresholds, scale)
    except ObserveError as error:
        return failed("diagnose", error)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        Console().print(view(found, asked))
    return 1 if found.findings else 0


async def _ask(
    urls: tuple[str, ...],
    window: float,
    token: str | None,
    job: str | None,
    values: dict[str, float],
    scale: float,
) -> tuple[Diagnosis, str]:
    """Return what was found, and who was asked, as a part of a sentence."""
    async with http_client(token) as client:
        prometheus = await only_prometheus(urls, client)
        with _progress() as progress:
            bar = progress.add_task("asking", total=None)

            def tell(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total, description="asking")

            if prometheus is not None:
                asked = PrometheusSource(prometheus, client)
                found = await find(
                    asked, values, job=job, scale=scale, url=prometheus, progress=tell
                )
                return _checked(found, prometheus), f"asked of {prometheus}"
            nodes = SampledSource(urls, client, window=window, interval=max(window / 30, 0.2))
            progress.update(bar, description=f"watching {_nodes(urls)}", total=1.0)
            await nodes.sample(lambda part: progress.update(bar, completed=part))
            found = await find(
                nodes,
                values,
                scale=window / _WINDOW,
                metrics={instance: page.url for instance, page in nodes.pages.items()},
                url=" ".join(urls),
                progress=tell,
            )
            return _checked(found, urls[0]), f"watched for {window:g} s"


def _checked(found: Diagnosis, url: str) -> Diagnosis:
    if not found.nodes:
        raise AskError(
            f"{url}: has no series of asgi_ws_observe (ws_observe_info); is the middleware "
            "installed, and does the Prometheus ask the nodes?"
        )
    return found


def _nodes(urls: tuple[str, ...]) -> str:
    return "1 node" if len(urls) == 1 else f"{len(urls)} nodes"


def _progress() -> Progress:
    # On stderr, so that what is piped on is the diagnosis alone.
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
