"""Names of metrics and labels, by the conventions of Prometheus and OpenMetrics.

``promtool check metrics`` is the reference; what it does not check is `info` here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .findings import Finding, Level
from .pages import Family, Page
from .words import name_of

__all__ = ["check_names"]

_BASES: Final = {
    **dict.fromkeys(("minutes", "hours", "days", "weeks"), "seconds"),
    **dict.fromkeys(("inches", "yards", "miles"), "meters"),
    **dict.fromkeys(("fahrenheit", "rankine"), "celsius"),
    **dict.fromkeys(("pounds", "ounces"), "grams"),
    "kelvins": "kelvin",
    "bits": "bytes",
    "calories": "joules",
}
_UNITS: Final = frozenset(
    {
        *("amperes", "bytes", "celsius", "grams", "joules", "kelvin"),
        *("meters", "metres", "seconds", "volts"),
    }
)
_PREFIX: Final = re.compile(
    "pico|nano|micro|milli|centi|deci|deca|hecto|kilo|kibi|mega|mibi|giga|gibi|tera|tebi|peta|pebi"
)
_ABBREVIATED: Final = re.compile(r"_(?:s|ms|us|ns|sec|b|kb|mb|gb|tb|pb|m|h|d)(?:_|$)")
_TYPED: Final = re.compile(r"_(counter|gauge|summary|histogram|gauge_histogram)(?=_|$)")
_HUMP: Final = re.compile("[a-z][A-Z]")
#: What may come after the unit.
_AFTER_UNIT: Final = frozenset({"total", "sum", "count", "bucket", "created", "info", "ratio"})


def check_names(page: Page) -> Iterator[Finding]:
    """Yield what is unusual about the names of a page, and what to call things instead."""
    created = 0
    for family in page.families.values():
        name = name_of(family)
        if family.type == "gauge" and name.endswith("_created"):
            created += 1
            continue
        created += any(each.name.endswith("_created") for each in family.samples)
        for rule, says, remedy in (*_of_name(name), *_of_type(family, name), *_of_labels(family)):
            yield _finding(name, rule, says, remedy)
        if not family.help:
            yield _finding(name, "no help", "has no help", "say in one line what it counts")
        yield from _unit_order(name)
    if created:
        says = f"{created} metrics have a series _created, for each of their label sets"
        remedy = "leave them out: prometheus_client.disable_created_metrics()"
        yield _finding("", "created series", says, remedy, "info")


def _finding(name: str, rule: str, says: str, remedy: str, level: Level = "warning") -> Finding:
    return Finding("naming", level, rule, name, says, remedy)


def _of_name(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield rule, what is so, and remedy."""
    for word in name.split("_"):
        base = _base(word)
        if base:
            if base != word:
                yield "base unit", f"is in {word}", f"use {base}: dashboards scale by themselves"
            break
    if _ABBREVIATED.search(name.lower()):
        yield "abbreviated unit", "abbreviates its unit", "write it out: seconds, bytes"
    for kind in _TYPED.findall(name.lower()):
        yield "type in name", f"has its type in its name: {kind}", f"leave out {kind}"
    if ":" in name:
        yield "colon", "has a colon", "keep colons for recording rules"
    if _HUMP.search(name):
        yield "camel case", "is in camelCase", "write snake_case"


def _base(word: str) -> str:
    """Return the base unit of a word that is a unit; empty for other words."""
    rest = _PREFIX.sub("", word, count=1) if _PREFIX.match(word) else word
    for each in (word, rest):
        if each in _UNITS or each in _BASES:
            return _BASES.get(each, each)
    return ""


def _of_type(family: Family, name: str) -> Iterator[tuple[str, str, str]]:
    kind = family.type
    if kind == "counter" and family.samples and not name.endswith("_total"):
        yield "counter without _total", "is a counter without _total", "let its name end in _total"
    if kind not in ("counter", "unknown") and name.endswith("_total"):
        yield "_total", f"is a {kind} that ends in _total", "leave _total to counters"
    if kind == "unknown":
        return
    distributed = kind in ("histogram", "gaugehistogram")
    if not distributed and name.endswith("_bucket"):
        yield "_bucket", f"is a {kind} that ends in _bucket", "leave _bucket to histograms"
    for suffix in ("_count", "_sum"):
        if not distributed and kind != "summary" and name.endswith(suffix):
            says = f"is a {kind} that ends in {suffix}"
            yield suffix, says, f"leave {suffix} to histograms and summaries"


def _of_labels(family: Family) -> Iterator[tuple[str, str, str]]:
    labels = {label for each in family.samples for label in each.labels}
    for label in sorted(labels):
        if _HUMP.search(label):
            yield "camel case label", f"has a label in camelCase: {label}", "write snake_case"
    if family.type == "unknown":
        return
    for label, kinds in (("le", ("histogram", "gaugehistogram")), ("quantile", ("summary",))):
        if label in labels and family.type not in kinds:
            says = f"is a {family.type} with the label {label}"
            yield f"label {label}", says, f"leave the label to a {kinds[0]}"


def _unit_order(name: str) -> Iterator[Finding]:
    words = name.split("_")
    at = [index for index, word in enumerate(words) if word in ("seconds", "bytes")]
    if at and not set(words[at[-1] + 1 :]) <= _AFTER_UNIT:
        says = f"has its unit {words[at[-1]]} before other words"
        yield _finding(name, "unit not last", says, "put the unit last", "info")
