"""The exposition as text: the prepared lines say what prometheus_client would write."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as write_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from asgi_ws_observe.buckets import Buckets
from asgi_ws_observe.labels import safe_text
from asgi_ws_observe.metrics import pace, prepared
from asgi_ws_observe.metrics.catalogue import Instrument
from asgi_ws_observe.metrics.exposition import Exposition
from asgi_ws_observe.metrics.formats import Family, Format, merged
from asgi_ws_observe.metrics.prometheus import RegistryNumbers, StoreCollector, numbers_of
from asgi_ws_observe.store import RouteNumbers, Store

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FORMATS = pytest.mark.parametrize("accept", ["", OPENMETRICS])

texts = st.text(max_size=20).map(safe_text)
amounts = st.integers(0, 2**60) | st.floats(0, 1e12)


def parsed(page: bytes, accept: str) -> dict[Any, Any]:
    """Return every sample of a page: name and labels -> value, exemplar."""
    parse = parse_openmetrics if accept else parse_text
    return {
        (each.name, frozenset(each.labels.items())): (each.value, each.exemplar)
        for family in parse(page.decode())
        for each in family.samples
    }


def page(registry: CollectorRegistry, accept: str = "", names: Any = None) -> bytes:
    """Return the exposition of a registry."""
    form = Format(accept)
    chosen = None if names is None else frozenset(names)
    return form.document(Exposition.of(numbers_of(registry)).families(registry, form, chosen))


def fill(store: Store, data: st.DataObject) -> None:
    """Write something of everything into a store."""
    for template in data.draw(st.lists(texts, max_size=2)):
        numbers = store.route(template)
        numbers.connects = data.draw(st.integers(0, 2**60))
        numbers.errors[data.draw(texts)] = 1
        values = data.draw(st.lists(amounts, max_size=3))
        for name in RouteNumbers.__slots__:
            buckets = getattr(numbers, name)
            if isinstance(buckets, Buckets):
                for value in values:
                    buckets.observe(value)
        for value in values[:1]:
            place = bisect_left(numbers.handler.bounds, value)
            context = SpanContext(2**127 + 1, 5, is_remote=False, trace_flags=TraceFlags(1))
            numbers.handler.exemplars[place] = (context, value, 1700000000.25)
    store.limit = data.draw(st.none() | st.integers(0, 10**9))
    store.lag_max = lambda: 0.25


@FORMATS
@settings(max_examples=30)
@given(data=st.data(), node=st.none() | texts)
def test_prepared_lines_are_what_prometheus_client_writes(
    accept: str, data: st.DataObject, node: str | None
) -> None:
    """Names, labels, values and exemplars, whatever the numbers and the labels are."""
    numbers = RegistryNumbers()
    fill(numbers.store, data)
    numbers.store.node = node or None
    registry = CollectorRegistry()
    registry.register(StoreCollector(numbers.store))
    form = Format(accept)

    expected = form.document(
        family
        for metric in StoreCollector(numbers.store).collect()
        for family in form.families(metric)
    )
    for _ in range(2):
        found = form.document(Exposition.of(numbers).families(registry, form))
        ours, theirs = parsed(found, accept), parsed(expected, accept)
        for each in list(ours):
            if each[0] == "ws_observe_scrape_seconds":
                del ours[each], theirs[each]
        assert theirs == ours


@FORMATS
def test_heads_are_what_prometheus_client_writes(accept: str, registry: CollectorRegistry) -> None:
    """Help, type and order are the same."""
    numbers_of(registry)
    write = write_openmetrics if accept else Format("")._encode
    expected = [line for line in write(registry).decode().splitlines() if line.startswith("#")]

    assert expected == [
        line for line in page(registry, accept).decode().splitlines() if line.startswith("#")
    ]


@pytest.mark.parametrize("names", [None, ["ws_rare"]])
def test_optional_metric_without_series_is_left_out(
    names: Any,
    rare: Instrument,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither help nor type, whether all is asked for or only that; with a series, both."""
    monkeypatch.setattr(prepared, "CATALOGUE", (rare,))
    store = numbers_of(registry).store

    assert b"ws_rare" not in page(registry, names=names)
    store.limit = 0
    expected = b"# HELP ws_rare Rare things.\n# TYPE ws_rare gauge\nws_rare 0.0\n"
    assert expected in page(registry, names=names)


@FORMATS
def test_every_series_has_the_worker(accept: str, registry: CollectorRegistry) -> None:
    """Ours, those of prometheus_client, and the application's own; not those of a scrape before."""
    numbers = numbers_of(registry)
    Counter("orders", "Orders.", registry=registry).inc()
    Histogram("latency", "Latency.", registry=registry).observe(0.5)
    Info("build", "Build.", registry=registry).info({"version": "1"})
    numbers.store.route("/ws")
    before = parsed(page(registry, accept), accept)

    numbers.store.worker = 3
    after = parsed(page(registry, accept), accept)

    assert not any("worker" in dict(labels) for _, labels in before)
    assert all(dict(labels)["worker"] == "3" for _, labels in after)
    names = {name for name, _ in before}
    assert names | {"ws_observe_worker_up"} == {name for name, _ in after}
    assert (1.0, None) == after["orders_total", frozenset({("worker", "3")})]


def test_label_of_the_application_that_is_called_worker_is_renamed(
    registry: CollectorRegistry,
) -> None:
    """As Prometheus does it where a target's label has the name of one of its own."""
    Gauge("jobs", "Jobs.", ["worker", "kind"], registry=registry).labels("mail", "slow").set(2)
    numbers_of(registry).store.worker = 1

    assert b'jobs{exported_worker="mail",kind="slow",worker="1"} 2.0\n' in page(registry)


def test_worker_that_does_not_answer_is_zero(registry: CollectorRegistry) -> None:
    """With the node, and only where somebody asks for it."""
    numbers = numbers_of(registry)
    numbers.store.node, numbers.store.worker = "a", 0
    exposition, form = Exposition.of(numbers), Format("")

    (family, again) = exposition.silent(form, None, [2, 7])

    assert 'ws_observe_worker_up{node="a",worker="2"} 0.0\n' == family.lines
    assert 'ws_observe_worker_up{node="a",worker="7"} 0.0\n' == again.lines
    own = exposition.families(CollectorRegistry(), form)
    assert [] == own
    assert [] == exposition.silent(form, frozenset({"ws_connects_total"}), [2])
    asked = frozenset({"ws_observe_worker_up"})
    assert [family] == exposition.silent(form, asked, [2])


def test_families_of_several_processes_are_merged_by_name() -> None:
    """One head, then the samples of all, in the order of the first."""
    one = [Family("a", "# TYPE a gauge\n", "a 1\n"), Family("b", "# TYPE b gauge\n", "b 1\n")]
    two = [Family("c", "# TYPE c gauge\n", "c 2\n"), Family("b", "# TYPE b gauge\n", "b 2\n")]

    assert [
        Family("a", "# TYPE a gauge\n", "a 1\n"),
        Family("b", "# TYPE b gauge\n", "b 1\nb 2\n"),
        Family("c", "# TYPE c gauge\n", "c 2\n"),
    ] == merged([one, two])


def test_family_of_another_type_is_left_out() -> None:
    """During a deployment two versions may disagree; an exposition can state one type."""
    one = [Family("a", "# HELP a x\n# TYPE a gauge\n", "a 1\n")]
    two = [Family("a", "# HELP a y\n# TYPE a counter\n", "a 2\n")]
    three = [Family("a", "# HELP a z\n# TYPE a gauge\n", "a 3\n")]

    assert [Family("a", "# HELP a x\n# TYPE a gauge\n", "a 1\na 3\n")] == merged([one, two, three])


class Told:
    """A collector of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        """Yield it."""
        yield self._family


def test_text_of_a_family_may_look_like_a_comment(registry: CollectorRegistry) -> None:
    """Help and label values are escaped, so that no line begins where none should."""
    family = GaugeMetricFamily("odd", "x\n# HELP y z\n# TYPE y gauge", labels=["a"])
    family.add_metric(["v\n# HELP w w"], 1.0)
    registry.register(Told(family))

    assert ["odd"] == [
        each.name for each in parse_text(page(registry, names=["odd"]).decode()) if each.samples
    ]


def test_created_samples_become_families_of_the_text_format(registry: CollectorRegistry) -> None:
    """As prometheus_client writes them: gauges of their own."""
    Counter("orders", "Orders.", registry=registry).inc()

    families = Exposition.of(numbers_of(registry)).families(registry, Format(""))

    kinds = {each.name: each.head.splitlines()[1] for each in families}
    assert "# TYPE orders_total counter" == kinds["orders_total"]
    assert "# TYPE orders_created gauge" == kinds["orders_created"]


def test_registry_that_all_workers_share_is_asked_by_one(registry: CollectorRegistry) -> None:
    """prometheus_client's files hold the numbers of all workers: once, and nobody's."""

    class MultiProcessCollector(Told):
        pass

    registry.register(MultiProcessCollector(GaugeMetricFamily("shared", "Shared.", value=5.0)))
    numbers = numbers_of(registry)
    numbers.store.worker = 2
    exposition, form = Exposition.of(numbers), Format("")

    assert b"\nshared 5.0\n" in page(registry)
    alike = exposition.families(registry, form, shared=False)
    assert "shared" not in {each.name for each in alike}


def test_long_exposition_lets_others_go_on(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives way again and again, not once at the end."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    monkeypatch.setattr(pace, "SLICE", 0.0)
    numbers_of(registry).store.route("/ws")

    page(registry)

    assert len(pauses) > 20
    assert {pace.PAUSE} == set(pauses)


def test_two_threads_write_the_same_page(registry: CollectorRegistry) -> None:
    """A sibling may ask while this worker is scraped itself."""
    store = numbers_of(registry).store
    for number in range(20):
        store.route(f"/{number}").connects = number
    asked = ["ws_connects_total", "ws_handler_duration_seconds_bucket"]
    expected = page(registry, names=asked)
    numbers_of(registry).exposition = None
    pages: list[bytes] = []

    threads = [
        threading.Thread(target=lambda: pages.append(page(registry, names=asked))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [expected] * 4 == pages
