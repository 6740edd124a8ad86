"""Names: the same findings as `promtool check metrics`, and those that it does not have."""

from __future__ import annotations

import subprocess
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_ws_observe.operations.findings import Finding
from asgi_ws_observe.operations.naming import check_names
from asgi_ws_observe.operations.pages import Page, parse
from asgi_ws_observe.operations.words import name_of
from tests.operations.served import PLAIN
from tests.operations.test_audit import PAGES
from tests.servers.processes import program

#: A part of what promtool says, and the rule here.
RULES: Final = {
    "no help text": "no help",
    "use base unit": "base unit",
    'counter metrics should have "_total"': "counter without _total",
    'should not have "_total"': "_total",
    'should not have "_bucket"': "_bucket",
    'should not have "_count"': "_count",
    'should not have "_sum"': "_sum",
    'should not have "le"': "label le",
    'should not have "quantile"': "label quantile",
    "should not include type": "type in name",
    "should not contain ':'": "colon",
    "metric names should be written": "camel case",
    "label names should be written": "camel case label",
    "abbreviated units": "abbreviated unit",
}

#: Each rule broken, and what is close to it and right.
BAD: Final = """
# TYPE no_help gauge
no_help 1
# HELP job_milliseconds In milliseconds.
# TYPE job_milliseconds gauge
job_milliseconds 1
# HELP age_days In days.
# TYPE age_days gauge
age_days 1
# HELP sent_kilobytes_total In kilobytes.
# TYPE sent_kilobytes_total counter
sent_kilobytes_total 1
# HELP load_ms_now Abbreviated.
# TYPE load_ms_now gauge
load_ms_now 1
# HELP my_gauge_value Type.
# TYPE my_gauge_value gauge
my_gauge_value 1
# HELP a_counter Two.
# TYPE a_counter counter
a_counter 1
# HELP job:rate5m Colon.
# TYPE job:rate5m gauge
job:rate5m 1
# HELP camelCase Humps.
# TYPE camelCase gauge
camelCase{anyLabel="x"} 1
# HELP x_bucket Suffix.
# TYPE x_bucket gauge
x_bucket{le="1"} 1
# HELP x_count Suffix.
# TYPE x_count gauge
x_count{quantile="0.5"} 1
# HELP y_sum Suffix.
# TYPE y_sum counter
y_sum 1
# HELP things_total Not one.
# TYPE things_total gauge
things_total 1
# HELP right_total Right.
# TYPE right_total counter
right_total 1
# HELP right_seconds Right.
# TYPE right_seconds histogram
right_seconds_bucket{le="+Inf"} 1
right_seconds_sum 1
right_seconds_count 1
# HELP other_seconds Right.
# TYPE other_seconds summary
other_seconds{quantile="0.5"} 1
other_seconds_sum 1
other_seconds_count 1
# HELP anything_total Untyped.
# TYPE anything_total untyped
anything_total{le="1"} 1
"""


def of_page(text: str) -> Page:
    """Return a page of the text format."""
    return parse(text, PLAIN, "http://127.0.0.1:8000/metrics")


def of_promtool(text: str) -> set[tuple[str, str]]:
    """Return what promtool finds: the metric and the rule."""
    promtool = program("promtool", package="prometheus")
    run = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    found = set()
    for line in run.stderr.splitlines():
        name, _, says = line.partition(" ")
        (rule,) = {RULES[part] for part in RULES if part in says}
        found.add((name, rule))
    return found


def of_ours(page: Page) -> set[tuple[str, str]]:
    """Return what is found here of promtool's rules, in metrics that have series."""
    silent = {name_of(family) for family in page.families.values() if not family.samples}
    return {
        (each.metric, each.rule)
        for each in check_names(page)
        if each.rule in RULES.values() and each.metric not in silent
    }


def extra(text: str) -> list[Finding]:
    """Return what promtool has no rule for."""
    return [each for each in check_names(of_page(text)) if each.rule not in RULES.values()]


@pytest.mark.parametrize("name", sorted(path.stem for path in PAGES.glob("*.txt")))
def test_real_pages_have_what_promtool_finds(name: str) -> None:
    """Not one finding more, and not one less."""
    # One of these exporters ends its page without a line break, which promtool cannot read.
    text = (PAGES / f"{name}.txt").read_text() + "\n"
    assert of_promtool(text) == of_ours(of_page(text))


def test_every_rule_of_promtool_is_known() -> None:
    """A page that breaks all of them."""
    found = of_ours(of_page(BAD))
    assert of_promtool(BAD) == found
    assert set(RULES.values()) == {rule for _, rule in found}


WORDS: Final = (
    "ws",
    "total",
    "count",
    "sum",
    "bucket",
    "gauge",
    "ms",
    "millis",
    "Humps",
    "aB",
    "b",
)
UNITS: Final = ("seconds", "bits", "kibibytes", "microseconds", "days", "yards", "histogram")


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    # Of two units promtool finds either, by chance.
    st.sampled_from(UNITS),
    st.integers(0, 3),
    st.sampled_from(["gauge", "counter", "untyped"]),
)
def test_any_name_has_what_promtool_finds(words: list[str], unit: str, at: int, kind: str) -> None:
    """Words that the rules know, in any order."""
    name = "_".join([*words[:at], unit, *words[at:]])
    text = f"# HELP {name} A metric.\n# TYPE {name} {kind}\n{name} 1\n"
    assert of_promtool(text) == of_ours(of_page(text))


def test_series_of_creation_times_are_noise() -> None:
    """They are named once for a page."""
    text = (PAGES / "instrumentator.txt").read_text()
    (found,) = extra(text)
    assert ("created series", "info", "") == (found.rule, found.level, found.metric)
    assert "5 metrics" in found.says


def test_a_unit_before_other_words_is_worth_knowing() -> None:
    """Dashboards read the unit off the end of the name."""
    help_of = "# HELP {0} A metric.\n# TYPE {0} gauge\n{0} 1\n"
    (found,) = extra(help_of.format("ws_bytes_waiting"))
    assert ("unit not last", "info", "ws_bytes_waiting") == (found.rule, found.level, found.metric)
    assert [] == extra(help_of.format("ws_waiting_bytes"))
