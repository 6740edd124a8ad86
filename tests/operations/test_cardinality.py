"""Cardinality: many series, and labels whose values will not stay few."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from asgi_ws_observe.operations.cardinality import MANY_VALUES, check_cardinality
from asgi_ws_observe.operations.findings import Finding
from asgi_ws_observe.operations.pages import Page, parse
from tests.operations.served import PLAIN
from tests.operations.test_audit import PAGES, captured

UUIDS = [f"3f2504e0-4f89-41d3-9a0c-0305e82c33{n:02}" for n in range(3)]


def page(label: str, values: Iterable[str], name: str = "chat_messages_total") -> Page:
    """Return a page with one metric that has a label with these values."""
    lines = [f"# HELP {name} Messages.", f"# TYPE {name} counter"]
    lines += [f'{name}{{{label}="{value}"}} 1' for value in values]
    return parse("\n".join(lines) + "\n", PLAIN, "http://127.0.0.1:8000/metrics")


def only(found: Iterable[Finding]) -> tuple[str, str, str]:
    """Return rule, level and sentence of the only finding."""
    (finding,) = found
    return finding.rule, finding.level, finding.says


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (UUIDS, "UUIDs"),
        (["ann@example.org", "bob@example.org"], "e-mail addresses"),
        (["192.0.2.1", "192.0.2.2:51000"], "IP addresses"),
        (["2001:db8:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:2"], "IP addresses"),
        (["2026-01-02T03:04:05Z"], "times"),
        (["1767322980", "1767322981.5"], "times"),
        (["/rooms?token=x", "/rooms?token=y"], "URLs with a query"),
        (["100234", "100235"], "numbers of things"),
        (["Tuy8ZHw1yBYJNPKtN7jMAw", "iMdPXieaRKORGGgG_36klA"], "random ids"),
        (["deadbeef00112233", "deadbeef00112244"], "random ids"),
        (["/rooms/17", "/rooms/18/members"], "paths with ids"),
    ],
)
def test_values_that_look_like_ids_are_errors(values: list[str], expected: str) -> None:
    """Whatever the label is called, with an example of them."""
    rule, level, says = only(check_cardinality(page("x", values)))
    assert ("unbounded label", "error") == (rule, level)
    assert says.startswith(f"label x has {expected}, such as ")


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("route", ["/rooms/{room}", "/ws"]),
        ("code", ["1000", "1006", "4001"]),
        ("port", ["51000", "51001"]),
        ("device", ["eth0", "lo"]),
        ("mountpoint", ["/", "/run/user/0"]),
        ("x", ["deadline", *(f"word-{'a' * n}" for n in range(5)), *UUIDS[:1]]),
    ],
)
def test_words_and_templates_are_fine(label: str, values: list[str]) -> None:
    """What is bounded by nature raises nothing, nor does one odd value among words."""
    assert [] == list(check_cardinality(page(label, values)))


@pytest.mark.parametrize("label", ["user", "client_id", "room", "sid", "remote_addr"])
def test_labels_named_after_somebody_are_warned_of(label: str) -> None:
    """With one value today, too."""
    rule, level, says = only(check_cardinality(page(label, ["ann"])))
    assert ("unbounded label", "warning") == (rule, level)
    assert "of which there is no end (1 values)" in says


def test_many_values_are_warned_of() -> None:
    """Words, but too many."""
    words = [f"word-{'a' * n}" for n in range(MANY_VALUES + 1)]
    assert ("many values", "warning", f"label x has {MANY_VALUES + 1} values") == only(
        check_cardinality(page("x", words))
    )


def test_many_series_name_the_widest_label() -> None:
    """And the page as a whole has a bound as well."""
    words = [f"word-{'a' * n}" for n in range(31)]
    metric, whole = check_cardinality(page("x", words), most=3)
    assert "has 31 series, 3 are allowed; x has 31 values" == metric.says
    assert ("", "the page has 31 series, 30 are allowed") == (whole.metric, whole.says)
    bare = parse("up 1\nup 2\n", PLAIN, "http://127.0.0.1:8000/metrics")
    (found,) = check_cardinality(bare, most=1)
    assert found.says.endswith("without labels")


def test_growth_between_two_looks_is_warned_of() -> None:
    """A label that had many values and gets more; one that starts up is let be."""
    words = [f"word-{'a' * n}" for n in range(14)]
    rule, _, says = only(check_cardinality(page("x", words[:11]), page("x", words), window=10))
    assert "growing label" == rule
    assert "label x went from 11 to 14 values in 10 s" == says
    assert [] == list(check_cardinality(page("x", words[:3]), page("x", words[:6])))
    assert [] == list(check_cardinality(page("x", words[:11]), page("x", words[:12])))


def test_random_names_of_queues_are_found() -> None:
    """A broker's page for each queue, whose names are made for each subscription."""
    names = {f'x{{queue="stomp-subscription-{each}"}} 1' for each in ("Tuy8ZHw1yB", "iMdPXieaRK7")}
    found = check_cardinality(parse("\n".join(names) + "\n", PLAIN, "http://127.0.0.1"))
    assert ["unbounded label"] == [each.rule for each in found]


@pytest.mark.parametrize("name", sorted(path.stem for path in PAGES.glob("*.txt")))
def test_real_pages_have_no_such_labels(name: str) -> None:
    """No false alarm on the pages of other exporters."""
    rules = {each.rule for each in check_cardinality(captured(name))}
    assert rules <= {"unbounded label"} if name == "node_exporter" else not rules


def test_the_own_labels_are_bounded_by_the_catalogue() -> None:
    """Routes of this library are limited already, whatever they look like."""
    paths = ["/rooms/17", "/rooms/18"]
    assert [] == list(check_cardinality(page("route", paths, "ws_connects_total")))
    assert ["ws_connects_total"] == [
        each.metric for each in check_cardinality(page("path", paths, "ws_connects_total"))
    ]
