"""What is refused of PromQL, with a line that says what; and how fast the rest is."""

from __future__ import annotations

import time

import pytest

from asgi_ws_observe.operations.pages import Family, Page, Sample
from asgi_ws_observe.operations.promql import QueryError, Samples, UnsupportedError, evaluate


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("up @ 5", "the modifier @"),
        ("rate(up[5m] @ end())", "the modifier @"),
        ("rate(up[5m:1m] @ start())", "the modifier @"),
        ('{a="1" or b="2"}', "`or` between matchers"),
        ('count_values("x", up)', "the aggregation count_values"),
        ("limitk(2, up)", "the aggregation limitk"),
        ("up atan2 up", "the operator atan2"),
        ("histogram_count(up)", "the function histogram_count"),
        ("mad_over_time(up[5m])", "the function mad_over_time"),
        ('"text"', "a StringLiteral as a result or argument"),
        ("up[5m]", "a MatrixSelector as a result or argument"),
        ("up + fill(0) up", "fill"),
        ("up + fill_left(0) up", "fill"),
    ],
)
def test_what_only_prometheus_evaluates_is_named(query: str, what: str) -> None:
    """Nothing is answered wrongly in silence."""
    with pytest.raises(UnsupportedError, match=r"^.* is not supported over sampled pages") as error:
        evaluate(query, Samples(), 0)
    assert str(error.value).startswith(f"{what} is not")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sum(", r"^'sum\(' is no PromQL: "),
        ("rate(up)", "is no PromQL: "),
        ('label_replace(up, "a", "b", "c", "(")', r"'\(' is no regular expression"),
        ('up{a=~"\\\\pL"}', "is no regular expression"),
    ],
)
def test_query_that_is_none_is_refused(query: str, said: str) -> None:
    """One line names the query, or the part that is wrong."""
    with pytest.raises(QueryError, match=said):
        evaluate(query, Samples(), 0)


def test_several_matches_are_named() -> None:
    """The line says which series cannot be told apart, and what to do."""
    samples = Samples()
    for node in ("a", "b"):
        samples.put({"__name__": "up", "instance": node, "job": "x"}, 10, 1)
    with pytest.raises(QueryError, match=r'"b".* and .*"a".* match on more labels'):
        evaluate("up * on (job) up", samples, 10)
    with pytest.raises(QueryError, match="say group_left or group_right"):
        evaluate("up * on (job) sum by (job) (up)", samples, 10)


def test_step_and_lookback_can_be_chosen() -> None:
    """A fleet that lives fast has a shorter lookback and finer subqueries."""
    samples = Samples()
    samples.put({"__name__": "up"}, 100, 1)
    assert [({}, 1.0)] == evaluate("count_over_time(sum(up)[30s:])", samples, 130)
    assert [({}, 4.0)] == evaluate("count_over_time(sum(up)[30s:])", samples, 130, step=10)
    assert [] == evaluate("up", samples, 130, lookback=29)
    assert [({"__name__": "up"}, 1.0)] == evaluate("up", samples, 130, lookback=30)


def page(instance: str, round_number: int, routes: int) -> Page:
    """Return a page with 20 series for each route."""
    found = []
    for route in range(routes):
        labels = {"route": f"/r/{route}"}
        for name in ("ws_connections_active", "ws_connects_total", "ws_closes_total"):
            found.append(Sample(name, {**labels, "code": "1006"}, float(round_number * route)))
        for bound in range(17):
            bucket = {**labels, "le": str(float(bound)) if bound < 16 else "+Inf"}
            found.append(Sample("ws_rtt_bucket", bucket, float(round_number * bound)))
    return Page(instance, instance, {"all": Family("all", "unknown", "", "", found)}, 0)


def test_sixty_queries_over_ten_thousand_series_are_fast() -> None:
    """Whoever runs `diagnose` waits for the samples, not for the evaluation."""
    samples = Samples()
    for number in range(30):
        for node in range(5):
            samples.append(page(f"node{node}:8000", number, 100), 1000 + number + node / 100)
    queries = [
        'sum by (job, instance) (rate(ws_closes_total{code="1006"}[25s])) > %d',
        "sum by (job, instance) (ws_connections_active) - %d",
        "histogram_quantile(0.%d9, sum by (job, instance, le) (rate(ws_rtt_bucket[25s])))",
        "topk(%d, sum by (route) (increase(ws_connects_total[25s])))",
        "max_over_time(sum by (job) (ws_connections_active)[20s:2s]) > %d",
        "sum by (job, instance) (rate(ws_closes_total[25s])) / on (job, instance) "
        "sum by (job, instance) (rate(ws_connects_total[25s])) * %d",
    ]
    begun = time.process_time()
    found = [
        evaluate(query % number, samples, 1030) for number in range(1, 11) for query in queries
    ]
    spent = time.process_time() - begun
    assert 60 == len(found)
    assert all(found)
    print(f"60 queries over 10,000 series of 30 samples: {spent:.2f} s")
    assert spent < 10
