"""``python -m demo_app load``: real clients, and their counts against those of ``/metrics``."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections import Counter
from itertools import cycle
from typing import Final
from urllib.parse import quote, urlsplit

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from websockets.exceptions import WebSocketException

from .client import Client
from .plan import ENDINGS, Script, plan
from .protocol import PRIVATE_ROOM, CrashRequestedError
from .truth import ROUTE, Demos, Series, Truth, compare, series

__all__ = ["load"]

#: Seconds that the server's numbers may take to settle.
_PATIENCE: Final = 10.0

#: Ending -> the code that the client closes with, and the reason that it stands for.
_CLOSES: Final = {
    "close": (1000, "normal"),
    "twin": (1000, "normal"),
    "away": (1001, "going_away"),
    "empty": (None, "normal"),
    "bored": (4100, "application"),
    "undeclared": (4123, "application"),
}


def load(options: Namespace) -> int:
    """Drive a demo and compare.

    Args:
        options: As `demo_app.cli` parses them.

    Returns:
        The exit code: 0 where everything is equal, else 1; 130 after Ctrl-C.

    Raises:
        ValueError: There is no demo to drive; says so in one line.
    """
    # A proxy from the environment would be in the way on a loopback address.
    os.environ["no_proxy"] = "*"
    urls = [_plain(url) for url in options.url or ["ws://127.0.0.1:8000"]]
    demos = Demos([url.replace("ws", "http", 1) for url in urls])
    scripts = plan(options.clients, options.seconds, options.seed)
    if demos.processes > len(urls):
        # Two with one name meet in one worker only.
        scripts = [script for script in scripts if script.ending != "twin"]
    console = Console()
    try:
        return asyncio.run(_run(scripts, demos, urls, console))
    except OSError as error:
        raise ValueError(f"the demo at {' or '.join(urls)} went away: {error}") from None
    except KeyboardInterrupt:
        console.print("Stopped; nothing was compared.")
        return 130


def _plain(url: str) -> str:
    address = urlsplit(url)
    if address.scheme not in ("ws", "wss", "http", "https") or not address.netloc:
        raise ValueError(f"--url: got {url!r}, accepted is one like ws://127.0.0.1:8000")
    return f"ws{'s' if address.scheme in ('wss', 'https') else ''}://{address.netloc}"


async def _run(scripts: list[Script], demos: Demos, urls: list[str], console: Console) -> int:
    before = await asyncio.to_thread(demos.numbers)
    if others := round(before.get(series("ws_connections_active", route=ROUTE), 0)):
        console.print(
            f"Connections that are open already: {others}. What they send, and hear of the load's "
            "rooms, counts on /metrics and not here."
        )
    truth = Truth()
    await _play_all(scripts, urls, truth, console)
    rows = await _settled(demos, truth, before)
    _report(console, scripts, truth, rows)
    equal = all(counted == exposed for _, counted, exposed in rows)
    return 0 if equal and not truth.surprises else 1


async def _play_all(scripts: list[Script], urls: list[str], truth: Truth, console: Console) -> None:
    columns = SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("connecting", total=len(scripts))
        # Each to the next node, so that every room has people on all of them.
        pending = {
            asyncio.create_task(_play(script, url, truth))
            for script, url in zip(scripts, cycle(urls), strict=False)
        }
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=0.1, return_when=asyncio.FIRST_COMPLETED
                )
                for each in done:
                    each.result()
                progress.update(
                    bar,
                    advance=len(done),
                    description=f"{truth.open} open, {truth.messages('in')} sent, "
                    f"{truth.messages('out')} heard",
                )
        finally:
            await _cancel(pending)


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    # Before Python 3.12 `wait_for` loses a cancellation that comes together with its result, so
    # once is not enough.
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=0.2)


async def _play(script: Script, url: str, truth: Truth) -> None:
    await asyncio.sleep(script.start)
    try:
        if script.ending in ("refused", "lost"):
            await _knock(script, url, truth)
        else:
            await _visit(script, url, truth)
    except (OSError, asyncio.TimeoutError, WebSocketException) as error:
        truth.surprises.append(f"{script.name}, to be {script.ending}: {error!r}")


async def _knock(script: Script, url: str, truth: Truth) -> None:
    routed = script.ending == "refused"
    if await Client.open(url + (f"/rooms/{PRIVATE_ROOM}" if routed else "/nowhere"), truth):
        truth.surprises.append(f"{script.name} was let in where nobody is")
    else:
        truth.refused(routed=routed)


async def _visit(script: Script, url: str, truth: Truth) -> None:
    room = f"{url}/rooms/{quote(script.room)}"
    client = await Client.open(room, truth)
    if client is None:
        truth.surprises.append(f"{script.name} was refused in {script.room}")
        return
    if script.ending == "nameless":
        await client.send({"type": "chat", "text": "Do I have to say who I am?"})
        truth.closed(await client.closed_by_server(), "server", "application")
        return
    await client.join(script.name)
    for line in script.lines:
        await asyncio.sleep(line.pause)
        await client.send(line.message)
    await asyncio.sleep(script.pause)
    if script.ending == "twin":
        await _twin(script, room, truth)
    await _end(script, client, truth)


async def _twin(script: Script, room: str, truth: Truth) -> None:
    twin = await Client.open(room, truth)
    if twin is not None:
        await twin.send({"type": "join", "name": script.name})
        truth.closed(await twin.closed_by_server(), "server", "application")


async def _end(script: Script, client: Client, truth: Truth) -> None:
    if script.ending == "kicked":
        await client.send({"type": "kick-me"})
        truth.closed(await client.closed_by_server(), "server", "application")
    elif script.ending == "crash":
        await client.send({"type": "crash"})
        truth.closed(await client.closed_by_server(), "server", "handler_error")
        truth.error(CrashRequestedError)
    elif script.ending == "vanish":
        # It is alone, so it has heard everything once each line has its answer.
        await client.wait(lambda: client.answers == len(script.lines))
        await client.vanish()
        truth.closed(1006, "network")
    else:
        code, reason = _CLOSES[script.ending]
        await client.close(code)
        truth.closed(code or 1005, "client", reason)


async def _settled(
    demos: Demos, truth: Truth, before: dict[Series, float]
) -> list[tuple[str, int, int]]:
    """Return the comparison, as soon as two in a row are equal, or when the patience ends."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + _PATIENCE
    agreed = 0
    while True:
        after = await asyncio.to_thread(demos.numbers)
        rows = [*compare(truth, before, after), *demos.carried(before, after)]
        agreed = agreed + 1 if all(counted == exposed for _, counted, exposed in rows) else 0
        if agreed == 2 or loop.time() > ends:
            return rows
        await asyncio.sleep(0.1)


def _report(
    console: Console, scripts: list[Script], truth: Truth, rows: list[tuple[str, int, int]]
) -> None:
    kinds = Counter(script.ending for script in scripts)
    did = Table("clients", "what they did", title="The load", title_justify="left")
    for ending, (_, text) in ENDINGS.items():
        if kinds[ending]:
            did.add_row(str(kinds[ending]), text)
    table = Table("what", title="Compared", title_justify="left")
    table.add_column("the clients", justify="right")
    table.add_column("/metrics", justify="right")
    table.add_column("")
    for title, counted, exposed in rows:
        mark = "[green]✓[/]" if counted == exposed else "[bold red]✗[/]"
        table.add_row(escape(title), str(counted), str(exposed), mark)
    console.print(did, table)
    for surprise in truth.surprises[:5]:
        console.print(f"[red]Unexpected:[/] {escape(surprise)}")
    if more := len(truth.surprises[5:]):
        console.print(f"[red]Unexpected:[/] {more} more")
    wrong = sum(counted != exposed for _, counted, exposed in rows)
    if wrong or truth.surprises:
        console.print(
            f"[bold red]{wrong} of {len(rows)} rows differ.[/] "
            "Was somebody else connected? /metrics counts them too."
        )
    else:
        console.print(f"[bold green]All {len(rows)} rows are equal.[/]")
