"""The check of a metrics page: cardinality, drift and naming."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import httpx

from .cardinality import check_cardinality
from .drift import Metric, check_against, check_own
from .findings import SEVERITIES, Finding
from .naming import check_names
from .pages import Page, fetch
from .words import name_of

__all__ = ["Checked", "check", "check_metrics", "grouped"]

#: So many of the metrics with the most series are named.
_WIDEST: Final = 5


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        page: The page, at the last look.
        findings: What was found, the worst first.
        widest: The metrics with the most series, and how many.
    """

    page: Page
    findings: tuple[Finding, ...]
    widest: tuple[tuple[str, int], ...]

    @property
    def failed(self) -> bool:
        """Whether there is more than what is only worth knowing."""
        return any(each.level != "info" for each in self.findings)

    @property
    def series(self) -> int:
        """How many series the page has."""
        return sum(len(family.samples) for family in self.page.families.values())

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "url": self.page.url,
            "families": len(self.page.families),
            "series": self.series,
            "bytes": self.page.size,
            "seconds": self.page.seconds,
            "widest": dict(self.widest),
            "findings": [each.as_dict() for each in self.findings],
        }


async def check_metrics(
    client: httpx.AsyncClient,
    url: str,
    *,
    most: int = 2000,
    window: float = 10.0,
    before: dict[str, Metric] | None = None,
) -> Checked:
    """Fetch a page, twice to see what grows, and check it.

    Args:
        client: The client to ask with.
        url: A URL or ``host:port``; ``/metrics`` where it has no path.
        most: So many series are allowed for one metric, and ten times as many for the page.
        window: Seconds between the two looks; 0 for one look.
        before: The metrics of a baseline; `None` for none.

    Raises:
        AskError: There is no page.
    """
    page, later = await fetch(client, url), None
    if window > 0:
        await asyncio.sleep(window)
        later = await fetch(client, url)
    return check(page, later, most=most, window=window, before=before)


def check(
    page: Page,
    later: Page | None = None,
    *,
    most: int = 2000,
    window: float = 0.0,
    before: dict[str, Metric] | None = None,
) -> Checked:
    """Return what is to be said about a page; the arguments are those of `check_metrics`."""
    newest = later or page
    found = [
        *check_cardinality(page, later, most, window),
        *(check_against(before, newest) if before is not None else ()),
        *check_own(newest),
        *check_names(newest),
    ]
    found.sort(
        key=lambda each: (SEVERITIES.index(each.level), each.subject, each.rule, each.metric)
    )
    counts = sorted(((len(f.samples), name_of(f)) for f in newest.families.values()), reverse=True)
    return Checked(newest, tuple(found), tuple((name, count) for count, name in counts[:_WIDEST]))


def grouped(findings: tuple[Finding, ...]) -> Iterator[list[Finding]]:
    """Yield findings of the same kind about several metrics together, the worst first."""
    for _, group in groupby(findings, key=lambda each: (each.level, each.subject, each.rule)):
        yield list(group)
