"""The observability audit of a real-time service: its metrics page, judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import httpx

from .audit import KINDS, LATENCY, Kind, Match, match
from .pages import Family, NoMetricsError, Page, fetch, page_url
from .quantities import quantity
from .words import name_of, quantile, total

__all__ = ["NEEDED", "Audit", "Criterion", "audit", "judge", "without_metrics"]

#: So many kinds of real-time metrics are needed, active connections among them.
NEEDED: Final = 3

_ZERO: Final = "with WebSockets open, 0 would mean that it does not count them"
_INSTALL: Final = (
    "on FastAPI or Starlette: pip install asgi-ws-observe, then observe(app), and give the URL of "
    "its /metrics; elsewhere let the service expose at /metrics at least "
)


@dataclass(frozen=True, slots=True)
class Criterion:
    """What the audit found of one kind of metrics.

    Attributes:
        kind: The kind.
        metric: The metric that fits best; empty where there is none.
        now: What it says now, for readers.
        values: The same as numbers, by name; without those that there are not yet.
        others: More metrics of the kind.
        refused: What looks alike, and why it does not count.
    """

    kind: Kind
    metric: str
    now: str
    values: dict[str, float]
    others: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def found(self) -> bool:
        """Whether the kind is there."""
        return bool(self.metric)


@dataclass(frozen=True, slots=True)
class Audit:
    """A verdict.

    Attributes:
        url: The page.
        passed: Whether the service passed.
        reason: Why, in one sentence.
        remedy: What to do; empty where it passed with everything.
        criteria: What was found, by kind; empty where there is no page.
        families: How many metrics the page has.
        series: How many samples.
    """

    url: str
    passed: bool
    reason: str
    remedy: str
    criteria: tuple[Criterion, ...] = ()
    families: int = 0
    series: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "url": self.url,
            "verdict": "pass" if self.passed else "fail",
            "reason": self.reason,
            "remedy": self.remedy,
            "families": self.families,
            "series": self.series,
            "criteria": [_as_dict(each) for each in self.criteria],
        }


async def audit(client: httpx.AsyncClient, url: str, timeout: float = 10.0) -> Audit:
    """Fetch a service's metrics page and judge it.

    Args:
        client: The client to ask with.
        url: A URL or ``host:port``; ``/metrics`` where it has no path.
        timeout: Seconds within which the page must have come.

    Raises:
        AskError: The service does not answer, or wants a token.
    """
    try:
        page = await fetch(client, url, timeout)
    except NoMetricsError as error:
        return without_metrics(page_url(url), str(error))
    return judge(page)


def judge(page: Page) -> Audit:
    """Return the verdict on a page."""
    if not page.families:
        return without_metrics(page.url, f"{page.url} is empty")
    matches = [found for family in page.families.values() for found in match(family)]
    criteria = tuple(_criterion(kind, matches) for kind in KINDS)
    missing = [each.kind for each in criteria if not each.found]
    count = len(criteria) - len(missing)
    blind = [kind for kind in missing if kind.required]
    series = sum(len(family.samples) for family in page.families.values())
    return Audit(
        page.url,
        passed=not blind and count >= NEEDED,
        reason=_reason(count, missing, blind),
        remedy=f"expose {'; '.join(kind.remedy for kind in missing)}" if missing else "",
        criteria=criteria,
        families=len(page.families),
        series=series,
    )


def without_metrics(url: str, why: str) -> Audit:
    """Return the verdict on a service without metrics.

    Args:
        url: Where they should be.
        why: What is there instead.
    """
    least = ", ".join(kind.remedy.split(":")[0] for kind in KINDS[:NEEDED])
    return Audit(url, False, f"exposes no metrics: {why}", _INSTALL + least)


def _reason(count: int, missing: list[Kind], blind: list[Kind]) -> str:
    several = f"{count} of {len(KINDS)} kinds of real-time metrics"
    names = ", ".join(kind.name for kind in missing)
    if blind:
        return f"exposes {several}, and active connections are not among them"
    if count < NEEDED:
        return f"exposes {several}, {NEEDED} are needed: no {names}"
    return f"exposes {several}, active connections among them" + (f"; no {names}" * bool(missing))


def _criterion(kind: Kind, matches: list[Match]) -> Criterion:
    of_kind = sorted((each for each in matches if each.kind is kind), key=lambda each: each.rank)
    counted = [each.family for each in of_kind if not each.refused]
    refused = tuple((name_of(each.family), each.refused) for each in of_kind if each.refused)
    if not counted:
        return Criterion(kind, "", "", {}, (), refused)
    # One that says something shows more than one that fits a little better.
    suffix = "_count" if kind.name == LATENCY else ""
    told = (each for each in counted if (total(each, suffix) if suffix else each.samples))
    best = next(told, counted[0])
    now, values = _percentiles(best) if kind.name == LATENCY else _count(kind, best)
    others = tuple(name_of(family) for family in counted if family is not best)
    return Criterion(kind, name_of(best), now, values, others, refused)


def _count(kind: Kind, family: Family) -> tuple[str, dict[str, float]]:
    """Return what a metric that counts says now."""
    if not family.samples:
        return "declared, no series yet", {}
    if family.type in ("histogram", "summary"):
        observed = total(family, "_count")
        return f"{observed:,.0f} observations so far", {"observations": observed}
    value = total(family)
    when = "so far" if family.type == "counter" else "now"
    doubt = f" ({_ZERO})" if kind.required and not value else ""
    return f"{value:,.10g} {when}{doubt}", {"value": value}


def _percentiles(family: Family) -> tuple[str, dict[str, float]]:
    """Return the percentiles that a metric gives now, in its own unit."""
    if family.type == "gauge":
        worst = max((each.value for each in family.samples), default=math.nan)
        if math.isnan(worst):
            return "no value yet", {}
        return f"{_shown(family, worst)} now", {"value": worst}
    found = {}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        value = _estimate(family, share)
        if value is not None:
            found[name] = value
    observed = total(family, "_count")
    if not found:
        return "not at p50 or p99" if observed else "no observation yet", {}
    text = ", ".join(f"{name} {_shown(family, value)}" for name, value in found.items())
    return f"{text} of {observed:,.0f} observations", {**found, "observations": observed}


def _shown(family: Family, value: float) -> str:
    return quantity(value, "seconds") if family.name.endswith("_seconds") else f"{value:.3g}"


def _estimate(family: Family, share: float) -> float | None:
    """Return a quantile of a histogram, or the worst of a summary's series."""
    if family.type != "summary":
        return quantile(family, share)
    given = [
        each.value
        for each in family.samples
        if each.labels.get("quantile") == str(share) and not math.isnan(each.value)
    ]
    return max(given, default=None)


def _as_dict(criterion: Criterion) -> dict[str, Any]:
    return {
        "name": criterion.kind.name,
        "required": criterion.kind.required,
        "found": criterion.found,
        "metric": criterion.metric or None,
        "now": criterion.now or None,
        "values": criterion.values,
        "others": list(criterion.others),
        "refused": [{"metric": name, "reason": why} for name, why in criterion.refused],
        "remedy": "" if criterion.found else criterion.kind.remedy,
    }
