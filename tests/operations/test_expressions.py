"""Templates of PromQL: durations, thresholds, jobs and another time scale."""

from __future__ import annotations

import re
from typing import Final

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_ws_observe.operations.expressions import duration, escaped, render, scaled, seconds
from asgi_ws_observe.operations.signals import RECORDINGS, SIGNALS, expression
from asgi_ws_observe.operations.thresholds import DEFAULTS

TEMPLATES: Final = [*(each.expr for each in SIGNALS), *(each.expr for each in RECORDINGS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("1h30m", 5400), ("250ms", 0.25), ("1d", 86400), ("2w", 1209600)],
)
def test_duration_is_so_many_seconds(text: str, expected: float) -> None:
    """Units may follow each other."""
    assert expected == seconds(text)


@pytest.mark.parametrize("text", ["", "5", "m5", "5 m", "5m ", "1.5h", "5y"])
def test_what_is_no_duration_is_told(text: str) -> None:
    """The error says what was given and what is accepted."""
    with pytest.raises(ValueError, match=re.escape(f"got {text!r}, accepted is a duration")):
        seconds(text)


@given(st.integers(1, 10**10))
def test_duration_and_seconds_are_inverse(milliseconds: int) -> None:
    """What `duration` writes is read as the same time."""
    assert milliseconds == round(seconds(duration(milliseconds / 1000)) * 1000)


@pytest.mark.parametrize(("amount", "expected"), [(0, "1ms"), (90, "1m30s"), (0.0004, "1ms")])
def test_duration_is_at_least_a_millisecond(amount: float, expected: str) -> None:
    """Prometheus takes no range of nothing."""
    assert expected == duration(amount)


def test_scale_of_one_leaves_a_duration_as_it_is_written() -> None:
    """`90s` does not become `1m30s`."""
    assert ["90s", "45s"] == [scaled("90s", 1), scaled("90s", 0.5)]


def test_scale_changes_ranges_steps_and_offsets_alone() -> None:
    """Not a number, and not what is in a label."""
    query = 'max_over_time(sum(x{a="5m"})[10m:30s] offset 1h) > 5 * rate(y[1m])'
    expected = 'max_over_time(sum(x{a="5m"})[1m:3s] offset 6m) > 5 * rate(y[6s])'
    assert expected == render(query, {}, scale=0.1)


def test_unknown_threshold_is_an_error() -> None:
    """A template with a slip is not rendered."""
    with pytest.raises(KeyError, match="nonsense"):
        render("x > $nonsense", DEFAULTS)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("up", 'up{job="a"}'),
        ("up offset 5m", 'up{job="a"} offset 5m'),
        ("rate(ws_closes_total[5m])", 'rate(ws_closes_total{job="a"}[5m])'),
        ('ws_closes_total{code="1006"}', 'ws_closes_total{code="1006",job="a"}'),
        ("ws_closes_total{}", 'ws_closes_total{job="a"}'),
        ("instance:event_loop_lag_seconds:p99", "instance:event_loop_lag_seconds:p99"),
        ("sum by (job) (startup)", "sum by (job) (startup)"),
    ],
)
def test_job_is_asked_of_every_selector(query: str, expected: str) -> None:
    """Of recorded series not: they are of that job."""
    assert expected == render(query, {}, job="a")


def test_job_with_quotes_is_escaped() -> None:
    """A name cannot end the string."""
    assert r'up{job="a\"b\\c"}' == render("up", {}, job='a"b\\c')


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=20)
@given(
    scale=st.floats(0.001, 10),
    job=st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
    values=st.fixed_dictionaries(
        {name: st.floats(0.0001, 1e7) | st.integers(1, 10**9) for name in DEFAULTS}
    ),
    inline=st.booleans(),
)
def test_every_query_parses_at_every_scale(
    template: str, scale: float, job: str | None, values: dict[str, float], inline: bool
) -> None:
    """Whatever the thresholds, the job and the scale, no `$` is left and PromQL is made."""
    text = expression(template, values, job=job, scale=scale, inline=inline)
    assert "$" not in (text if job is None else text.replace(escaped(job), ""))
    promql_parser.parse(text)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_selector_has_the_job(template: str) -> None:
    """As the parser finds selectors, not as our pattern does."""
    asked = promql_parser.parse(expression(template, DEFAULTS, job="chat", inline=True))
    found = selectors(asked)
    assert found
    assert [] == [each for each in found if 'job="chat"' not in each]


def selectors(node: object) -> list[str]:
    """Return all selectors of a parsed query, as text."""
    if isinstance(node, promql_parser.VectorSelector):
        return [str(node)]
    if isinstance(node, promql_parser.MatrixSelector):
        return [str(node.vector_selector)]
    inner = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "param")]
    inner += getattr(node, "args", None) or []
    return [each for one in inner if one is not None for each in selectors(one)]
