"""What is wrong now, what it follows from, and on which side to look: the signals, asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .expressions import LABEL, escaped
from .promql import Value
from .quantities import quantity
from .signal import Signal, Unit
from .signals import SIGNALS, consequences, expression
from .sources import Source
from .thresholds import DEFAULTS

__all__ = ["Diagnosis", "Finding", "diagnose"]

_SEVERITIES: Final = ("critical", "warning", "info")
#: What has lasted for as long as its rule demands, where a Prometheus has the rules.
_FIRING: Final = 'ALERTS{alertstate="firing"}'
#: How many nodes there are; one that is down has nothing but `up`.
_NODES: Final = """
count by (job) (
    group by (job, instance) (ws_observe_info)
  or
    group by (job, instance) (up == 0)
    and on (job) group by (job) (present_over_time(ws_observe_info[1d]))
)
"""
#: So many places of a finding, and answers to a question, are shown.
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a signal is on.

    Attributes:
        labels: The labels of its series.
        value: Its value.
    """

    labels: Mapping[str, str]
    value: float

    def covers(self, other: Place) -> bool:
        """Return whether what is so here may be the cause of what is so there."""
        return all(
            self.labels.get(name, value) == value
            for name in ("job", "instance")
            if (value := other.labels.get(name)) is not None
        )


@dataclass(slots=True)
class Finding:
    """A signal that is on.

    Attributes:
        signal: Which.
        places: Where, the largest value first.
        says: What it says of the first place.
        spread: On how many of the nodes; empty where it is about the whole fleet.
        numbers: What was looked at next, and the answers.
        command: What to type next.
        follows: Names of other signals that are on and follow from it.
    """

    signal: Signal
    places: list[Place]
    says: str = ""
    spread: str = ""
    numbers: list[tuple[str, str]] = field(default_factory=list)
    command: str = ""
    follows: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "signal": self.signal.name,
            "side": self.signal.side,
            "severity": self.signal.severity,
            "says": self.says,
            "means": self.signal.means,
            "spread": self.spread,
            "places": [{"labels": dict(p.labels), "value": p.value} for p in self.places],
            "numbers": [{"question": asked, "answer": answer} for asked, answer in self.numbers],
            "command": self.command,
            "do": list(self.signal.do),
            "follows": self.follows,
        }


@dataclass(slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        findings: The most likely cause first; what follows from another is not among them.
        checked: How many signals were asked for.
        unchecked: Names of those that only a Prometheus can answer.
        nodes: How many nodes there are, by job.
    """

    findings: list[Finding]
    checked: int
    unchecked: list[str]
    nodes: dict[str, int]

    @property
    def side(self) -> str:
        """Where to look first; empty where nothing was found."""
        return self.findings[0].signal.side if self.findings else ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "side": self.side,
            "findings": [finding.as_dict() for finding in self.findings],
            "checked": self.checked,
            "unchecked": self.unchecked,
            "nodes": self.nodes,
        }


async def diagnose(
    answers: Source,
    values: Mapping[str, float] = DEFAULTS,
    *,
    job: str | None = None,
    scale: float = 1.0,
    metrics: Mapping[str, str] | None = None,
    url: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Diagnosis:
    """Ask for every signal, and rank those that are on.

    Args:
        answers: A Prometheus, or samples of nodes.
        values: The thresholds.
        job: Of this job only.
        scale: What times are multiplied by.
        metrics: The URL of the metrics of each instance, for commands; default: made of its name.
        url: Whom was asked, for commands.
        progress: Is told how many of how many queries are answered.
    """
    asked = [signal for signal in SIGNALS if answers.history or not signal.history]
    templates = [_NODES, *(signal.expr for signal in asked)]
    queries = [expression(each, values, job=job, scale=scale, inline=True) for each in templates]
    everywhere, *places = await _places(answers, queries, progress)
    nodes = {place.labels.get("job", ""): int(place.value) for place in everywhere}
    on = [Finding(*each) for each in zip(asked, places, strict=True) if each[1]]
    firing = {
        place.labels.get("alertname", "")
        for place in (await answers.ask(_FIRING) if answers.history else ())
        if job in (None, place.labels.get("job"))
    }
    findings = _ranked(on, firing)
    for finding in findings:
        await _describe(finding, answers, nodes, metrics or {}, url, scale)
    unchecked = [signal.name for signal in SIGNALS if signal not in asked]
    return Diagnosis(findings, len(asked), unchecked, nodes)


async def _places(
    answers: Source, queries: Sequence[str], progress: Callable[[int, int], None]
) -> list[list[Place]]:
    """Return where each query has a series, the largest value first."""
    done = 0
    # With these in flight a Prometheus is not flooded.
    slots = asyncio.Semaphore(8)

    async def one(query: str) -> list[Place]:
        nonlocal done
        async with slots:
            found = [Place(each.labels, each.value) for each in await answers.ask(query)]
        done += 1
        progress(done, len(queries))
        return sorted(found, key=lambda place: -place.value)

    tasks = [asyncio.create_task(one(query)) for query in queries]
    try:
        return await asyncio.gather(*tasks)
    finally:
        # Where one fails, nothing is under way afterwards.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _ranked(on: Sequence[Finding], firing: Collection[str]) -> list[Finding]:
    """Return the causes, the worst and most telling first; what follows is named by its cause.

    Those whose alerts fire come before all others, which may be a moment's.
    """
    follows = {finding.signal.name: consequences(finding.signal.name) for finding in on}
    unexplained = []
    for finding in on:
        causes = [other for other in on if finding.signal.name in follows[other.signal.name]]
        unexplained.append(
            [
                place
                for place in finding.places
                if not any(cause.covers(place) for other in causes for cause in other.places)
            ]
        )
        for other in causes:
            if any(cause.covers(place) for cause in other.places for place in finding.places):
                other.follows.append(finding.signal.name)
    for finding, places in zip(on, unexplained, strict=True):
        finding.places = places
    return sorted(
        (finding for finding in on if finding.places),
        key=lambda finding: (
            finding.signal.name not in firing,
            _SEVERITIES.index(finding.signal.severity),
            -len(finding.follows),
            -len(finding.places),
        ),
    )


async def _describe(
    finding: Finding,
    answers: Source,
    nodes: Mapping[str, int],
    metrics: Mapping[str, str],
    url: str,
    scale: float,
) -> None:
    signal, first = finding.signal, finding.places[0]
    instance = first.labels.get("instance", "")
    known = {
        **first.labels,
        "port": instance.rpartition(":")[2] if ":" in instance else "<port>",
        "metrics": metrics.get(instance, f"http://{instance}/metrics"),
        "prometheus": url,
        "bus": "<url of the bus>",
    }

    def filled(text: str) -> str:
        return LABEL.sub(lambda found: known.get(found[1], found[0]), text)

    finding.says = filled(signal.says.replace("{value}", quantity(first.value, signal.unit)))
    finding.command = filled(signal.command)
    if signal.scope == "instance":
        here = sorted({place.labels.get("instance", "") for place in finding.places})
        total = max(nodes.get(first.labels.get("job", ""), 0), len(here))
        more = f" and {len(here) - _SHOWN} more" * (len(here) > _SHOWN)
        count = "the only node" if total == 1 else f"{len(here)} of {total} nodes"
        finding.spread = f"{count}: {', '.join(here[:_SHOWN])}{more}"
    for question, query in signal.look:
        asked = LABEL.sub(
            lambda found: escaped(known.get(found[1], found[0])), expression(query, {}, scale=scale)
        )
        unit: Unit = "seconds" if "_seconds_bucket" in query else "count"
        finding.numbers.append((question, _listed(await answers.ask(asked), unit)))


def _listed(values: Sequence[Value], unit: Unit) -> str:
    """Return the largest values with what tells them apart."""
    ranked = sorted((v for v in values if v.value == v.value), key=lambda each: -each.value)
    if not ranked:
        return "no data"
    # Zeros say something only where there is nothing else.
    ranked = [each for each in ranked if each.value] or ranked[:1]
    told = {
        name
        for name in {label for each in ranked for label in each.labels}
        if len(ranked) == 1 or len({each.labels.get(name) for each in ranked}) > 1
    } - {"__name__", "job"}
    parts = []
    for each in ranked[:_SHOWN]:
        names = sorted(told & each.labels.keys())
        labels = "".join(f" {name}={each.labels[name]}" for name in names)
        parts.append(quantity(each.value, unit) + labels)
    more = f", {len(ranked) - _SHOWN} more" * (len(ranked) > _SHOWN)
    return ", ".join(parts) + more
