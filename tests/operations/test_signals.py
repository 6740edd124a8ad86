"""The table of signals holds together: names, labels, thresholds, causes and consequences."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import promql_parser
import pytest

from asgi_ws_observe.metrics.catalogue import CATALOGUE
from asgi_ws_observe.metrics.catalogue import LABELS as BOUNDED
from asgi_ws_observe.operations.expressions import seconds
from asgi_ws_observe.operations.signal import Signal
from asgi_ws_observe.operations.signals import RECORDINGS, SIGNALS, consequences, expression
from asgi_ws_observe.operations.thresholds import DEFAULTS

NAMES: Final = [signal.name for signal in SIGNALS]
#: What every series has by being scraped, and what workers and nodes add.
SCRAPED: Final = {"job", "instance", "node", "worker", "le"}
#: What is not ours: prometheus_client's, and Prometheus' own.
OTHERS: Final = {
    "up": set[str](),
    "process_start_time_seconds": set[str](),
    "process_open_fds": set[str](),
    "process_max_fds": set[str](),
    "process_cpu_seconds_total": set[str](),
    "process_resident_memory_bytes": set[str](),
    "python_gc_collections_total": {"generation"},
}
#: The labels of each name that a query may ask for.
LABELS: Final = {
    name: set(each.labels) | SCRAPED
    for each in CATALOGUE
    for name in (
        each.exposed_name,
        *(f"{each.exposed_name}_{part}" for part in ("bucket", "count", "sum")),
    )
} | {name: labels | SCRAPED for name, labels in OTHERS.items()}
LABELS["ws_observe_info"] = {"version", "transport"} | SCRAPED


def every(attribute: str) -> list[tuple[str, str]]:
    """Return the queries of all signals, by name: `expr`, or `look`."""
    if attribute == "expr":
        return [
            *((each.name, each.expr) for each in SIGNALS),
            *((each.name, each.expr) for each in RECORDINGS),
        ]
    return [(signal.name, asked) for signal in SIGNALS for _, asked in signal.look]


QUERIES: Final = [*every("expr"), *every("look")]


def filled(query: str) -> str:
    """Return a query with its places filled."""
    return expression(re.sub(r"<(\w+)>", r"\1-1", query), DEFAULTS, inline=True)


def parts(node: object) -> list[object]:
    """Return a parsed query's nodes."""
    inner = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector")]
    inner += getattr(node, "args", None) or []
    return [node, *(each for one in inner if one is not None for each in parts(one))]


def labels_of(node: object) -> set[str]:
    """Return the labels that the series of a query surely have."""
    if isinstance(node, promql_parser.AggregateExpr):
        return set(node.modifier.labels) if node.modifier is not None else set()
    if isinstance(node, promql_parser.BinaryExpr):
        return (
            labels_of(node.lhs)
            if "or" not in str(node.op).lower()
            else (labels_of(node.lhs) | labels_of(node.rhs))
        )
    if isinstance(node, promql_parser.Call):
        return set().union(*(labels_of(each) for each in node.args))
    inner = getattr(node, "expr", None)
    return labels_of(inner) if inner is not None else set()


def test_names_are_unique_words_in_camel_case() -> None:
    """Anchors of the runbook are made of them."""
    assert [] == [name for name, count in Counter(NAMES).items() if count > 1]
    assert [] == [name for name in NAMES if not re.fullmatch(r"(?:[A-Z]+[a-z]+)+", name)]
    assert len(set(NAMES)) == len({name.lower() for name in NAMES})


@pytest.mark.parametrize("signal", SIGNALS, ids=NAMES)
def test_sentences_are_sentences(signal: Signal) -> None:
    """What it means ends with a full stop; what it says has at most one value, and no stop."""
    assert re.fullmatch(r"[A-Z](?:[^.]|\.(?! ))*\.", signal.means)
    assert signal.says.count("{value}") <= 1
    assert not signal.says.endswith(".")
    assert all(step.endswith(".") for step in signal.do)
    assert all(question.endswith(("?", ":", ".")) for question, _ in signal.look)
    assert signal.look
    assert signal.command


@pytest.mark.parametrize("signal", SIGNALS, ids=NAMES)
def test_places_are_labels_of_the_expression(signal: Signal) -> None:
    """`<route>` can be filled only where the alert has a route."""
    has = labels_of(promql_parser.parse(expression(signal.expr, DEFAULTS, inline=True)))
    assert {"job"} | ({"instance"} if signal.scope == "instance" else set()) <= has
    told = [signal.says, *(asked for _, asked in signal.look), signal.command]
    asked = set(re.findall(r"<([a-z]+)>", " ".join(told)))
    assert set() == asked - has - {"metrics", "port", "prometheus"}


@pytest.mark.parametrize("signal", SIGNALS, ids=NAMES)
def test_hold_is_a_duration(signal: Signal) -> None:
    """Of PromQL; `0s` for at once."""
    assert signal.hold == "0s" or seconds(signal.hold) > 0


def test_consequences_are_signals_and_never_causes() -> None:
    """A chain of causes ends."""
    assert set() == {name for signal in SIGNALS for name in signal.explains} - set(NAMES)
    for name in NAMES:
        assert name not in consequences(name)
        for other in consequences(name):
            assert name not in consequences(other), (name, other)


def test_consequences_reach_far() -> None:
    """What follows from a consequence follows from the cause."""
    assert "WebSocketHandshakesSlow" in consequences("WebSocketAbnormalCloses")
    assert frozenset() == consequences("WebSocketMonitoringFailing")


def test_every_threshold_is_used_and_known() -> None:
    """None too many, none too few."""
    used = {name for _, query in QUERIES for name in re.findall(r"\$(\w+)", query)}
    assert set(DEFAULTS) == used


@pytest.mark.parametrize(("name", "query"), QUERIES)
def test_query_asks_for_what_nodes_expose(name: str, query: str) -> None:
    """Every name and every label of a selector is in the catalogue, or prometheus_client's."""
    selectors = [
        each
        for each in parts(promql_parser.parse(filled(query)))
        if isinstance(each, promql_parser.VectorSelector)
    ]
    assert selectors
    for selector in selectors:
        assert str(selector.name) in LABELS, selector.name
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= LABELS[str(selector.name)], (selector.name, asked)


@pytest.mark.parametrize(("name", "query"), QUERIES)
def test_aggregation_keeps_labels_that_exist(name: str, query: str) -> None:
    """`by (rout)` would merge everything without a word."""
    for node in parts(promql_parser.parse(filled(query))):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            below = [
                LABELS[str(each.name)]
                for each in parts(node)
                if isinstance(each, promql_parser.VectorSelector)
            ]
            assert set(node.modifier.labels) <= set().union(*below)


@pytest.mark.parametrize(("name", "query"), every("expr"))
def test_expression_chooses_values_that_labels_have(name: str, query: str) -> None:
    """A slip in `reason="tcp_rest"` would never fire."""
    for metric, matchers in re.findall(r"(\w+)\{([^}]+)\}", query):
        family = re.sub(r"_(total|bucket|count)$", "", metric)
        for label, values in re.findall(r'(\w+)[!=]~?"([^"]*)"', matchers):
            known = BOUNDED.get((label, family)) or BOUNDED.get((label, ""))
            if known is None or label in ("worker", "le"):
                continue
            for value in values.split("|"):
                assert f"`{value}`" in known.values or label == "code", (metric, label, value)
