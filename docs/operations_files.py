"""The files of `docs/operations` that the command line writes, and the page of signals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from asgi_ws_observe.operations.routing import alertmanager_text
from asgi_ws_observe.operations.rules import rules_text
from asgi_ws_observe.operations.runbook import runbook_text
from asgi_ws_observe.operations.scrape import scrape_text
from asgi_ws_observe.operations.signals import SIGNALS
from asgi_ws_observe.operations.thresholds import THRESHOLDS

__all__ = ["FILES", "OPERATIONS", "signals_page"]

OPERATIONS: Final = Path(__file__).parent / "operations"
#: Where alerts go, until somebody says where.
_WEBHOOK: Final = "http://127.0.0.1:9094/alerts-go-here"

#: What each file says.
FILES: Final[Mapping[str, Callable[[], str]]] = {
    "rules.yml": rules_text,
    "alertmanager.yml": lambda: alertmanager_text(_WEBHOOK),
    "runbook.md": runbook_text,
    "scrape.yml": lambda: scrape_text(["127.0.0.1:8000"]),
}


def signals_page(note: str, table: Callable[[Sequence[str], Iterable[Sequence[str]]], str]) -> str:
    """Return the page of signals and thresholds.

    Args:
        note: What every generated page begins with.
        table: Makes a Markdown table.
    """
    signals = [
        (
            f"[{signal.name}](../operations/runbook.md#{signal.name.lower()})",
            signal.side,
            signal.severity,
            signal.hold,
            signal.means,
        )
        for signal in SIGNALS
    ]
    thresholds = [
        (f"`{each.name}`", f"{each.default:.10g} {each.unit}".rstrip(), each.text)
        for each in THRESHOLDS
    ]
    return f"""{note}
# Signals

What can go wrong, as `asgi_ws_observe.operations` knows it. Alert rules, the runbook, links into
the dashboard and `asgi-ws-observe diagnose` are made of this one table. The side is where to look
first: at the clients, the network, a node, a deploy, capacity, or the bus between the nodes.
[The runbook](../operations/runbook.md) has the queries, what to look at next and what to do.

{table(("signal", "side", "severity", "for", "what it means"), signals)}
## Thresholds

`asgi-ws-observe rules --threshold name=value` changes one, and so do `runbook` and `diagnose`. A
share is between 0 and 1; one that is compared with a histogram must be one of its upper bounds.

{table(("threshold", "default", "what it decides"), thresholds)}"""
