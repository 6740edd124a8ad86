"""``asgi-ws-observe top``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import click
import httpx
from rich.console import Console, RenderableType
from rich.live import Live

from ..pages import AskError, http_client
from ..sources import PrometheusSource, SampledSource, only_prometheus
from ..terminal import leaving
from ..top import Watch
from ..top_view import SORTS, view
from .options import failed, job_option, token_option

__all__ = ["top"]

#: Rates are over so many seconds of a Prometheus, which looks several times a minute.
_WINDOW = 60.0
#: And over so many looks of our own.
_LOOKS = 2.5


@click.command(
    epilog="Examples: asgi-ws-observe top http://node-1:8000/metrics http://node-2:8000/metrics; "
    "asgi-ws-observe top http://prometheus:9090 --sort closes. q or Ctrl-C leaves. Exit code 2: "
    "could not ask."
)
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print one table after one interval, and leave.")
@click.option("--sort", "by", type=click.Choice(SORTS), help="The most first; default: by name.")
@token_option
@job_option
def top(
    urls: tuple[str, ...],
    interval: float,
    once: bool,
    by: str | None,
    token: str | None,
    job: str | None,
) -> None:
    """Watch nodes: connections, rates, close codes, times, buffers, queues, loop lag.

    URL is a Prometheus, or the /metrics of each node. A node that does not answer is a red row.
    Where the output is no terminal, each look is a table of plain text.
    """
    sys.exit(asyncio.run(_top(urls, interval, once, by or "", token, job)))


async def _top(
    urls: tuple[str, ...], interval: float, once: bool, by: str, token: str | None, job: str | None
) -> int:
    """Show the nodes until somebody leaves, and return the exit code."""
    console = Console(highlight=False)
    try:
        async with http_client(token) as client:
            source, watch = await _watched(urls, interval, client, job)
            stop = asyncio.Event()
            keys = sys.stdin.fileno() if console.is_terminal and sys.stdin.isatty() else None
            with leaving(stop, keys):
                await _show(console, source, watch, interval, once, by, stop)
    except AskError as error:
        return failed("top", error)
    return 0


async def _watched(
    urls: tuple[str, ...], interval: float, client: httpx.AsyncClient, job: str | None
) -> tuple[SampledSource | None, Watch]:
    """Return what to look at the nodes with, if that is done here, and what asks."""
    if (prometheus := await only_prometheus(urls, client)) is not None:
        return None, Watch(PrometheusSource(prometheus, client), job=job, window=_WINDOW)
    timeout = max(interval, 2.0)
    nodes = SampledSource(urls, client, window=_WINDOW, interval=interval, timeout=timeout)
    return nodes, Watch(nodes, window=interval * _LOOKS)


async def _show(
    console: Console,
    source: SampledSource | None,
    watch: Watch,
    interval: float,
    once: bool,
    by: str,
    stop: asyncio.Event,
) -> None:
    live = Live(console=console, screen=True, auto_refresh=False)
    on_screen = console.is_terminal and not once
    with live if on_screen else contextlib.nullcontext():
        looks = 0
        while not stop.is_set():
            begun = time.monotonic()
            if source is not None:
                await source.look()
            await watch.look()
            looks += 1
            # Rates need two looks of our own.
            ready = looks > 1 or source is None
            if on_screen:
                live.update(_screen(console, watch, interval, by), refresh=True)
            elif ready:
                console.print(view(watch, width=console.width, height=10_000, by=by))
            if once and ready:
                return
            rest = max(interval - (time.monotonic() - begun), 0.0)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), rest)


def _screen(console: Console, watch: Watch, interval: float, by: str) -> RenderableType:
    order = f"by {by}, " if by else ""
    title = f"{time.strftime('%H:%M:%S')}  every {interval:g} s, {order}q leaves"
    return view(watch, width=console.width, height=console.height, by=by, title=title)
