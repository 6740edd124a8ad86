"""How many series a page has, and labels whose values will not stay few."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ..metrics.catalogue import CATALOGUE
from .findings import Finding, Level
from .pages import Family, Page
from .words import name_of

__all__ = ["MANY_VALUES", "check_cardinality", "label_values"]

#: So many values of one label are many: each multiplies the series of the metric.
MANY_VALUES: Final = 150
#: A label with so many values that gets more is watched for growth; below, a process starts up.
_GROWING: Final = 10

#: Names of labels that stand for somebody or something of which there is no end.
_IDENTITIES: Final = re.compile(
    r"^(?:.*_)?(?:user|username|userid|uid|email|mail|login|account|customer|client|room|"
    r"addr|address|sid|session|token|uuid|guid|user_agent|query|timestamp|url|uri)$|.*_id$"
)
#: Names of labels whose numbers and addresses are few.
_FEW: Final = frozenset(
    {
        *("le", "quantile", "code", "status", "status_code", "close_code"),
        *("instance", "port", "version", "revision", "cpu", "worker"),
    }
)
#: What values look like, which values do, and how many of them it takes to be sure.
_SHAPES: Final = (
    ("UUIDs", re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE), 1),
    ("e-mail addresses", re.compile(r"[^@\s/]+@[^@\s/]+\.[a-z]{2,}", re.IGNORECASE), 1),
    (
        "IP addresses",
        re.compile(r"(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?|(?:[0-9a-f]{1,4}:){4,}[0-9a-f:]+"),
        2,
    ),
    ("times", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*|1[5-9]\d{8}(?:\.\d+|\d{3})?"), 1),
    ("URLs with a query", re.compile(r"(?:https?:/)?/\S*\?\S+"), 1),
    ("numbers of things", re.compile(r"\d{5,}"), 2),
    ("random ids", re.compile(r"(?=.*\d)(?:[0-9a-f]{16,}|(?=.*[a-z])(?=.*[A-Z])[\w-]{18,})"), 2),
    (
        "paths with ids",
        re.compile(r"(?:https?:/)?/\S*/?(?:\d+|[0-9a-f]{8,}[0-9a-f-]*)(?:/\S*)?"),
        2,
    ),
)
_OWN: Final = {each.exposed_name: each for each in CATALOGUE}
_BOUND: Final = "bound its values (a path template, a class, `other` for the rest), or leave it out"
_LOG: Final = "leave the label out; spans and log lines can have any value"


def label_values(page: Page) -> dict[tuple[str, str], set[str]]:
    """Return the values of each label of each metric; those of buckets and quantiles are none."""
    found: dict[tuple[str, str], set[str]] = {}
    for family in page.families.values():
        for each in family.samples:
            for label, value in each.labels.items():
                if label not in ("le", "quantile"):
                    found.setdefault((name_of(family), label), set()).add(value)
    return found


def check_cardinality(
    page: Page, later: Page | None = None, most: int = 2000, window: float = 0.0
) -> Iterator[Finding]:
    """Yield what is too much on a page, or will be.

    Args:
        page: The page.
        later: The same page a while later, to see what grows; `None` to look once.
        most: So many series are allowed for one metric, and ten times as many for a page.
        window: How much later, in seconds.
    """
    newest = later or page
    yield from _series(newest, most)
    before = label_values(page)
    for (name, label), values in sorted(label_values(newest).items()):
        finding = _values(newest, name, label, values)
        if finding is None and later is not None:
            finding = _growth(name, label, before.get((name, label), set()), values, window)
        if finding is not None:
            yield finding


def _series(page: Page, most: int) -> Iterator[Finding]:
    total = 0
    for family in page.families.values():
        count = len(family.samples)
        total += count
        if count > most:
            yield _finding(
                "many series",
                name_of(family),
                f"has {count:,} series, {most:,} are allowed; {_widest(family)}",
                "drop or bound the widest label",
            )
    if total > 10 * most:
        says = f"the page has {total:,} series, {10 * most:,} are allowed"
        yield _finding("many series", "", says, "drop what nobody asks for, and bound labels")


def _widest(family: Family) -> str:
    values: dict[str, set[str]] = {}
    for each in family.samples:
        for label, value in each.labels.items():
            values.setdefault(label, set()).add(value)
    shown = sorted(((len(found), label) for label, found in values.items()), reverse=True)[:3]
    return ", ".join(f"{label} has {count:,} values" for count, label in shown) or "without labels"


def _values(page: Page, name: str, label: str, values: set[str]) -> Finding | None:
    """Return what is wrong about the values of a label; `None` where nothing is."""
    own = _OWN.get(name)
    if name.endswith("_info") or (own is not None and label in own.labels):
        return None  # Bounded by the library, or one series.
    shape = "" if label in _FEW else _shape(values)
    if shape:
        some = ", ".join(sorted(values)[:2])
        says = f"label {label} has {shape}, such as {some} ({len(values):,} values)"
        return _finding("unbounded label", name, says, _LOG, "error")
    if len(values) > MANY_VALUES:
        return _finding("many values", name, f"label {label} has {len(values):,} values", _BOUND)
    if _IDENTITIES.match(label):
        says = f"label {label} stands for something of which there is no end"
        return _finding("unbounded label", name, f"{says} ({len(values):,} values)", _LOG)
    return None


def _shape(values: set[str]) -> str:
    """Return what values look like; empty where they look like a few words."""
    for says, pattern, least in _SHAPES:
        alike = sum(1 for each in values if pattern.fullmatch(each))
        if alike >= least and (alike * 2 >= len(values) or alike > _GROWING):
            return says
    return ""


def _growth(
    name: str, label: str, before: set[str], now: set[str], window: float
) -> Finding | None:
    new = len(now - before)
    if len(before) < _GROWING or new < 2:
        return None
    says = f"label {label} went from {len(before):,} to {len(now):,} values in {window:g} s"
    return _finding("growing label", name, says, _BOUND)


def _finding(rule: str, name: str, says: str, remedy: str, level: Level = "warning") -> Finding:
    return Finding("cardinality", level, rule, name, says, remedy)
