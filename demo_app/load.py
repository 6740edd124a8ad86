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
from websockets.exceptions import WebSocketException

from .client import Client
from .plan import ENDINGS, Script, plan
from .protocol import PRIVATE_ROOM, CrashRequestedError
from .report import Row, play, report, settled
from .truth import ROUTE, Demos, Truth, compare, series

__all__ = ["load"]

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
    # Each to the next node, so that every room has people on all of them.
    parts = [
        asyncio.create_task(_play(script, url, truth))
        for script, url in zip(scripts, cycle(urls), strict=False)
    ]
    await play(
        parts,
        console,
        lambda: f"{truth.open} open, {truth.messages('in')} sent, {truth.messages('out')} heard",
    )

    def rows() -> list[Row]:
        after = demos.numbers()
        return [*compare(truth, before, after), *demos.carried(before, after)]

    kinds = Counter(script.ending for script in scripts)
    did = [(kinds[ending], text) for ending, (_, text) in ENDINGS.items()]
    return report(console, did, await settled(rows), truth.surprises)


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
