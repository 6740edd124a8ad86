"""What changed on a page: against a baseline, and against this library's own catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..metrics.catalogue import CATALOGUE, Instrument
from .cardinality import label_values
from .findings import Finding, Level
from .pages import AskError, Family, Page
from .words import name_of

__all__ = ["baseline", "check_against", "check_own", "read_baseline"]

#: Labels that `Settings.node` and worker processes add to every metric.
_EVERYWHERE: Final = frozenset({"node", "worker", "le"})
_PREFIXES: Final = ("ws_", "socketio_", "engineio_", "event_loop_")
#: So many times as many values as in the baseline are a change.
_GROWN: Final = 2
_AT_LEAST: Final = 20

Metric = dict[str, Any]


def baseline(page: Page) -> dict[str, Any]:
    """Return what to remember of a page: types, labels, and how many values those had."""
    values = label_values(page)
    metrics: dict[str, Metric] = {
        name_of(family): {"type": family.type, "labels": {}}
        for family in page.families.values()
        if not name_of(family).endswith("_created")
    }
    for (name, label), found in sorted(values.items()):
        if name in metrics:
            metrics[name]["labels"][label] = len(found)
    return {"url": page.url, "metrics": dict(sorted(metrics.items()))}


def read_baseline(path: Path) -> dict[str, Metric]:
    """Return the metrics of a baseline file.

    Raises:
        AskError: It cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_text())["metrics"]
        return {
            str(name): {
                "type": str(each["type"]),
                "labels": {str(label): int(count) for label, count in each["labels"].items()},
            }
            for name, each in found.items()
        }
    except OSError as error:
        raise AskError(f"{path}: {error.strerror}; write one with --write-baseline") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AskError(f"{path} is no baseline; write one with --write-baseline") from None


def check_against(before: dict[str, Metric], page: Page) -> Iterator[Finding]:
    """Yield how a page differs from a baseline."""
    now = baseline(page)["metrics"]
    for name in sorted(before.keys() - now.keys()):
        says = "was there and is gone: queries and alerts on it see nothing"
        yield _finding("gone", name, says, "bring it back, or change what asks for it")
    for name in sorted(now.keys() - before.keys()):
        remedy = "write the baseline again if it is meant to be there"
        yield _finding("new", name, "is new", remedy, "info")
    for name in sorted(before.keys() & now.keys()):
        yield from _differences(name, before[name], now[name])


def _differences(name: str, before: Metric, now: Metric) -> Iterator[Finding]:
    if before["type"] != now["type"]:
        says = f"was a {before['type']} and is a {now['type']}"
        yield _finding("other type", name, says, "give it a new name, or its type back")
    # A metric without series shows no labels.
    if not (before["labels"] and now["labels"]):
        return
    gone = ", ".join(sorted(before["labels"].keys() - now["labels"].keys()))
    new = ", ".join(sorted(now["labels"].keys() - before["labels"].keys()))
    if gone:
        yield _finding("label gone", name, f"lost the label {gone}", "change what groups by it")
    if new:
        remedy = "check the queries that match series one to one"
        yield _finding("new label", name, f"has a new label {new}", remedy)
    for label, count in before["labels"].items():
        many = now["labels"].get(label, 0)
        if many > count * _GROWN and many - count >= _AT_LEAST:
            says = f"label {label} had {count:,} values and has {many:,}"
            yield _finding("more values", name, says, "see what adds them; bound the label")


def check_own(page: Page) -> Iterator[Finding]:
    """Yield how this library's metrics differ from its catalogue; nothing on other pages."""
    if not page.families.keys() & {"ws_observe_info", "ws_observe"}:
        return
    values = label_values(page)
    for each in CATALOGUE:
        family = page.families.get(each.name) or page.families.get(each.exposed_name)
        if family is not None:
            yield from _against_catalogue(each, family, values)
        elif not each.optional:
            says = "is in this version's catalogue and not on the page"
            remedy = "run the same version here and there, or leave the metric in"
            yield _finding("missing", each.exposed_name, says, remedy)
    known = {name for each in CATALOGUE for name in (each.name, each.exposed_name)}
    for family in page.families.values():
        name = name_of(family)
        if name.startswith(_PREFIXES) and not {family.name, name} & known:
            says = "is not of this version's catalogue and has one of its prefixes"
            remedy = "run the same version here and there, or give your own metric another prefix"
            yield _finding("unknown", name, says, remedy, "info")


def _against_catalogue(
    each: Instrument, family: Family, values: dict[tuple[str, str], set[str]]
) -> Iterator[Finding]:
    name = name_of(family)
    if family.type not in (each.kind, "gauge" if each.kind == "info" else each.kind):
        says = f"is a {family.type}, and a {each.kind} in the catalogue"
        yield _finding("other type", name, says, "look for another collector of this name")
    given = {label for sample in family.samples for label in sample.labels} - _EVERYWHERE
    unknown = ", ".join(sorted(given - set(each.labels)))
    if unknown:
        says = f"has a label that is not of the catalogue: {unknown}"
        yield _finding("unknown label", name, says, "add such labels in Prometheus, by relabelling")
    for label in each.labels:
        many, most = len(values.get((name, label), ())), each.bound(label).most
        if many > most:
            says = f"label {label} has {many:,} values, its bound is {most:,}"
            yield _finding("bound exceeded", name, says, "see what adds them", "error")


def _finding(rule: str, name: str, says: str, remedy: str, level: Level = "warning") -> Finding:
    return Finding("drift", level, rule, name, says, remedy)
