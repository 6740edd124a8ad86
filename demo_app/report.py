"""What a load tells when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["Row", "play", "report", "settled"]

#: What, by the clients, by ``/metrics``.
Row = tuple[str, int, int]

#: Seconds that the server's numbers may take to settle.
_PATIENCE: Final = 10.0


async def play(
    parts: Iterable[asyncio.Task[None]], console: Console, describe: Callable[[], str]
) -> None:
    """Wait until all parts are played, and show how far they are; cancel them with this.

    Args:
        parts: One for each client.
        console: Where.
        describe: Says what is going on.
    """
    columns = SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    pending = set(parts)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("connecting", total=len(pending))
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=0.1, return_when=asyncio.FIRST_COMPLETED
                )
                for each in done:
                    each.result()
                progress.update(bar, advance=len(done), description=describe())
        finally:
            await _cancel(pending)


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    # Before Python 3.12 `wait_for` loses a cancellation that comes together with its result, so
    # once is not enough.
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=0.2)


async def settled(compare: Callable[[], list[Row]]) -> list[Row]:
    """Return the comparison, as soon as two in a row are equal, or when the patience ends."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + _PATIENCE
    agreed = 0
    while True:
        rows = await asyncio.to_thread(compare)
        agreed = agreed + 1 if all(counted == exposed for _, counted, exposed in rows) else 0
        if agreed == 2 or loop.time() > ends:
            return rows
        await asyncio.sleep(0.1)


def report(
    console: Console,
    did: Iterable[tuple[int, str]],
    rows: Sequence[Row],
    surprises: Sequence[str],
) -> int:
    """Print it, and return the exit code: 0 where everything is equal, else 1.

    Args:
        console: Where.
        did: How many clients did what.
        rows: The comparison.
        surprises: What a client met that was not in its script.
    """
    console.print(_done(did), _compared(rows))
    for surprise in surprises[:5]:
        console.print(f"[red]Unexpected:[/] {escape(surprise)}")
    if more := len(surprises[5:]):
        console.print(f"[red]Unexpected:[/] {more} more")
    wrong = sum(counted != exposed for _, counted, exposed in rows)
    if wrong or surprises:
        console.print(
            f"[bold red]{wrong} of {len(rows)} rows differ.[/] "
            "Was somebody else connected? /metrics counts them too."
        )
        return 1
    console.print(f"[bold green]All {len(rows)} rows are equal.[/]")
    return 0


def _done(did: Iterable[tuple[int, str]]) -> Any:
    table = Table("clients", "what they did", title="The load", title_justify="left")
    for number, text in did:
        if number:
            table.add_row(str(number), text)
    return table


def _compared(rows: Sequence[Row]) -> Any:
    table = Table("what", title="Compared", title_justify="left")
    table.add_column("the clients", justify="right")
    table.add_column("/metrics", justify="right")
    table.add_column("")
    for title, counted, exposed in rows:
        mark = "[green]✓[/]" if counted == exposed else "[bold red]✗[/]"
        table.add_row(escape(title), str(counted), str(exposed), mark)
    return table
