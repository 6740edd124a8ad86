"""Samples of pages as series: labelled, ended and forgotten as Prometheus does."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe.operations.pages import Page, fetch, parse
from asgi_ws_observe.operations.promql import Samples, Value, evaluate
from tests.operations.answers import answer
from tests.operations.prometheus import prometheus
from tests.operations.served import OPENMETRICS, PLAIN, Served
from tests.support import wait_until

NODE = "127.0.0.1:8000"


def page(text: str, instance: str = NODE) -> Page:
    """Return a page of a node."""
    return parse(text, PLAIN, f"http://{instance}/metrics")


def ask(query: str, samples: Samples, at: float) -> dict[str, float]:
    """Return values by node."""
    return {labels.get("instance", ""): value for labels, value in evaluate(query, samples, at)}


def test_page_gets_the_labels_of_its_node() -> None:
    """Queries ask `by (job, instance)`."""
    samples = Samples(job="chat")
    samples.append(page('a{route="/ws"} 1\n'), 100)
    labels = {"__name__": "a", "route": "/ws", "instance": NODE, "job": "chat"}
    assert [Value(labels, 1.0)] == evaluate("a", samples, 100)
    assert {NODE: 1.0} == ask("up", samples, 100)
    assert {NODE: 1.0} == ask("scrape_samples_scraped", samples, 100)
    assert 100.0 == samples.newest


def test_answer_is_the_callers_own() -> None:
    """Changing it changes no series."""
    samples = Samples()
    samples.append(page("a 1\n"), 100)
    labels = evaluate("a", samples, 100)[0].labels
    assert isinstance(labels, dict)
    labels.clear()
    assert {NODE: 1.0} == ask("a", samples, 100)


def test_series_that_left_its_page_ends() -> None:
    """Its last value is not true any more."""
    samples = Samples()
    samples.append(page("a 1\nb 1\n"), 100)
    samples.append(page("a 2\n"), 101)
    samples.append(page("a 3\n"), 102)
    assert {NODE: 3.0} == ask("a", samples, 102)
    assert {} == ask("b", samples, 102)
    assert {NODE: 1.0} == ask("b", samples, 100.5)


def test_node_that_missed_is_down() -> None:
    """All that it said ends, and what it says later counts again."""
    samples = Samples()
    samples.append(page("a 1\n"), 100)
    samples.missed(NODE, 101)
    samples.missed("127.0.0.1:8001", 101)
    assert {NODE: 0.0, "127.0.0.1:8001": 0.0} == ask("up", samples, 101)
    assert {} == ask("a", samples, 101)
    samples.append(page("a 5\n"), 102)
    samples.append(page("a 6\n"), 103)
    assert {NODE: 6.0} == ask("a", samples, 103)
    assert {NODE: 3.0} == ask("count_over_time(a[1m])", samples, 103)


def test_first_of_two_samples_counts() -> None:
    """Of one series at one time, and of times that do not ascend."""
    samples = Samples()
    samples.append(page('a{x="1",y="2"} 1\na{y="2",x="1"} 2\n'), 100)
    samples.append(page("a 9\n"), 99)
    assert {NODE: 1.0} == ask('a{x="1"}', samples, 100)


def test_old_samples_are_forgotten() -> None:
    """`top` may run for days."""
    samples = Samples(keep=10)
    for second in range(100):
        samples.append(page(f"a {second}\n" + 'b{y="1",x="2"} 1\n' * (second < 50)), second)
        samples.append(page('b{x="2",y="1"} 1\n' * (second == 49)), second + 0.5)
    assert {NODE: 20.0} == ask("count_over_time(up[1h])", samples, 99)
    assert {} == ask("last_over_time(b[1h])", samples, 99)
    assert 4 == len(samples)


def test_young_server_extrapolates_as_prometheus_does() -> None:
    """A window of which only the end was sampled is not taken for a full one."""
    samples = Samples()
    for second in range(11):
        samples.append(page(f"a {100 + second}\n"), 1000 + second)
    assert {NODE: pytest.approx(10.5)} == ask("increase(a[5m])", samples, 1010)


@given(st.lists(st.tuples(st.integers(0, 40), st.none() | st.integers(0, 3)), max_size=40))
def test_window_holds_what_was_put(points: list[tuple[int, int | None]]) -> None:
    """Whatever the order, gaps and ends: those are counted that are newer than those before."""
    samples, newest, kept = Samples(), -1, []
    for time, value in points:
        samples.put({"__name__": "a"}, time, value)
        if time > newest:
            newest = time
            kept.append((time, value))
    inside = [value for time, value in kept if value is not None and 10 <= time <= 30]
    found = evaluate("count_over_time(a[20s])", samples, 30)
    assert float(len(inside)) == (found[0].value if found else 0.0)


@pytest.mark.parametrize("content_type", [PLAIN, OPENMETRICS])
async def test_labels_are_those_of_a_real_scrape(
    client: httpx.AsyncClient, served: Served, tmp_path: Path, content_type: str
) -> None:
    """The same page, scraped by Prometheus: the same series with the same labels and values."""
    served.page(
        "# HELP c_total A counter.\n# TYPE c_total counter\n"
        'c_total{job="own",instance="x",exported_job="y",empty=""} 5\n'
        '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
        "# TYPE plain counter\nplain 4\n# TYPE n gauge\nn NaN\n"
        if content_type == PLAIN
        else "# HELP c A counter.\n# TYPE c counter\n"
        'c_total{job="own",instance="x"} 5\nc_created{job="own",instance="x"} 7\n'
        "# TYPE w_seconds summary\n# UNIT w_seconds seconds\n"
        'w_seconds{quantile="0.5"} 1\nw_seconds_sum 3\nw_seconds_count 2\n'
        '# TYPE i info\ni_info{version="1"} 1\n# TYPE s stateset\ns{s="up"} 1\n# EOF\n',
        content_type,
    )
    samples = Samples(job="fleet")
    samples.append(await fetch(client, served.url()), 100)
    configuration = (
        "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\nscrape_configs:\n"
        f"- {{job_name: fleet, static_configs: [targets: ['{served.address}']]}}\n"
    )
    every = '{__name__!~"scrape_.*", job="fleet"}'
    with prometheus(tmp_path, configuration) as real:
        wait_until(lambda: real.query("up == 1"))
        expected = answer(real.query(every))
    actual = answer(evaluate(every, samples, 100))
    assert {key: str(value) for key, value in expected.items()} == {
        key: str(value) for key, value in actual.items()
    }
