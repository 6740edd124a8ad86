"""The store as OpenTelemetry's data: the same names and numbers, and delta that loses nothing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.prometheus import _CustomCollector
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    MetricsData,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext
from prometheus_client.metrics_core import Metric

from asgi_ws_observe import MissingExtraError, __version__
from asgi_ws_observe.metrics import points as points_module
from asgi_ws_observe.metrics.catalogue import CATALOGUE, Instrument
from asgi_ws_observe.metrics.points import Readings
from asgi_ws_observe.metrics.prometheus import StoreCollector
from asgi_ws_observe.sockets import COUNTED_STATES
from asgi_ws_observe.store import Look, Store
from tests.metrics.socketio_numbers import fill

CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
DELTA: Final = AggregationTemporality.DELTA
#: What exporters say who want delta.
PREFER_DELTA: Final[dict[type, AggregationTemporality]] = {
    sdk.Counter: DELTA,
    sdk.Histogram: DELTA,
    sdk.UpDownCounter: CUMULATIVE,
}
NOBODY: Final = Resource({})

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def full_store() -> Store:
    """Return a store in which every metric has a number other than zero."""
    store = Store()
    store.limit = 70
    store.worker = 0
    store.tcp_connections = dict.fromkeys(COUNTED_STATES, 3)
    store.unexpected["open", "accept"] = 5
    store.scrape_seconds = 0.25
    store.lag.observe(0.002)
    store.lag_max = lambda: 0.5
    store.own_errors["hook"] = 2
    store.count_drop("route")
    for template in ("/rooms/{room}", "/chat"):
        numbers = store.route(template)
        numbers.active, numbers.connects, numbers.heartbeat_timeouts = 4, 9, 1
        numbers.wire_in, numbers.wire_out = 1000, 2000
        numbers.look = Look(7000, 5000, 2, 30, 20, 6, 4, 0.75)
        numbers.closes["1000", "client", "normal"] = 5
        numbers.failures["denied"] = 6
        store.count_error(numbers, ValueError())
        for name in ("handshake", "duration", "handler", "send", "rtt", "rtt_paused", "tcp_rtt"):
            getattr(numbers, name).observe(0.004)
        for name in ("buffer", "size_in", "size_out"):
            getattr(numbers, name).observe(100)
    channel = store.channel("rooms")
    channel.published["failed"] = channel.delivered = channel.lost = channel.reconnects = 3
    channel.outbox = channel.listener_up = channel.dropped["left"] = 1
    channel.probe_age = lambda: 0.25
    channel.recipients.observe(7)
    for buckets in (channel.publish, channel.delivery, *channel.lag.values()):
        buckets.observe(0.004)
    fill(store)
    return store


def sampled(families: Iterable[Metric], attributes: dict[str, dict[str, str]]) -> Samples:
    """Return the samples of what a collector yields, with labels named as attributes."""
    found: Samples = {}
    for family in families:
        names = attributes.get(family.name, {})
        for each in family.samples:
            labels = {names.get(key, key): value for key, value in each.labels.items()}
            if "le" in labels:
                labels["le"] = str(float(labels["le"]))
            # The label `worker` is added where the workers' pages are put together.
            ours = frozenset(
                item
                for item in labels.items()
                if not item[0].startswith(("otel_scope", "ws_worker"))
            )
            found[each.name, ours] = each.value
    return found


def translated(data: MetricsData) -> Samples:
    """Return what OpenTelemetry's own exporter for Prometheus makes of data."""
    collector = _CustomCollector(disable_target_info=True)
    collector.add_metrics_data(data)
    return sampled(collector.collect(), {})


def test_translation_for_prometheus_gives_back_our_exposition() -> None:
    """All samples of /metrics: names, labels as their attributes, and values."""
    store = full_store()
    attributes = {
        each.name: {
            label: attribute.replace(".", "_")
            for label, attribute in zip(each.labels, each.attributes, strict=True)
        }
        for each in CATALOGUE
    }
    expected = sampled(StoreCollector(store).collect(), attributes)
    assert len(expected) > 400
    assert all(any(name.startswith(each.name) for name, _ in expected) for each in CATALOGUE)
    assert expected == translated(Readings(store).read(NOBODY).data)


@pytest.mark.parametrize("instrument", CATALOGUE, ids=lambda each: each.name)
def test_data_has_the_type_of_its_instrument(instrument: Instrument) -> None:
    """Counters rise, what adds up over processes is a sum that can fall, and the rest a gauge."""
    (found,) = (each for each in metrics(full_store()) if each.name == instrument.otel_name)
    assert (instrument.text, instrument.unit) == (found.description, found.unit)
    if instrument.kind == "histogram":
        assert isinstance(found.data, Histogram)
        assert CUMULATIVE == found.data.aggregation_temporality
        assert {instrument.bounds} == {each.explicit_bounds for each in found.data.data_points}
    elif instrument.kind == "counter" or instrument.additive:
        assert isinstance(found.data, Sum)
        assert CUMULATIVE == found.data.aggregation_temporality
        assert (instrument.kind == "counter") == found.data.is_monotonic
    else:
        assert isinstance(found.data, Gauge)


def metrics(store: Store, **more: Any) -> list[Any]:
    """Return the metrics of a reading."""
    (of_resource,) = Readings(store, **more).read(NOBODY).data.resource_metrics
    (of_scope,) = of_resource.scope_metrics
    return list(of_scope.metrics)


def points(data: MetricsData, name: str) -> list[Any]:
    """Return the points of a metric."""
    return [
        point
        for each in data.resource_metrics[0].scope_metrics[0].metrics
        if each.name == name
        for point in each.data.data_points
    ]


def test_data_says_whose_and_by_whom() -> None:
    """The resource is the one that was given; the scope is this library."""
    resource = Resource({"service.name": "chat"})
    (found,) = Readings(Store()).read(resource).data.resource_metrics
    assert resource is found.resource
    (scope,) = found.scope_metrics
    assert ("asgi_ws_observe", __version__) == (scope.scope.name, scope.scope.version)


def test_metric_without_numbers_is_absent() -> None:
    """A limit that nobody set is not sent as an empty metric."""
    assert "ws.connections.limit" not in {each.name for each in metrics(Store())}
    assert "ws.connections.limit" in {each.name for each in metrics(full_store())}


def test_optional_metric_without_numbers_is_absent(
    rare: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other metric without numbers."""
    monkeypatch.setattr(points_module, "CATALOGUE", (rare,))
    store = Store()

    assert [] == metrics(store)
    store.limit = 0
    assert ["ws.rare"] == [each.name for each in metrics(store)]


def test_node_and_worker_are_attributes_where_they_are_set() -> None:
    """Workers of one server have one resource: their series are told apart."""
    store = full_store()
    store.node = "b"
    store.worker = 3
    for metric in metrics(store):
        for point in metric.data.data_points:
            assert {"node": "b", "ws.worker": 3}.items() <= point.attributes.items()


def test_times_span_what_was_counted() -> None:
    """Cumulative: from when the store began until now."""
    store, before = full_store(), time.time_ns()
    reading = Readings(store).read(NOBODY)
    assert before <= reading.now <= time.time_ns()
    times = {
        (point.start_time_unix_nano, point.time_unix_nano)
        for each in CATALOGUE
        for point in points(reading.data, each.otel_name)
    }
    assert {(store.started, reading.now)} == times


def test_clock_that_is_set_back_makes_no_point_that_ends_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time of such a point is that of the one before."""
    readings = Readings(full_store(), PREFER_DELTA)
    first = readings.read(NOBODY)
    readings.arrived(first)
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    (point, *_) = points(readings.read(NOBODY).data, "ws.connects")
    assert (first.now, first.now) == (point.start_time_unix_nano, point.time_unix_nano)


def test_delta_begins_where_the_last_arrived() -> None:
    """Without anything new, the second reading is zeros from the first one's end."""
    store = full_store()
    readings = Readings(store, PREFER_DELTA)
    first = readings.read(NOBODY)
    readings.arrived(first)
    second = readings.read(NOBODY)
    for name in ("ws.connects", "ws.handler.duration"):
        (before, *_), (after, *_) = points(first.data, name), points(second.data, name)
        assert (store.started, first.now) == (before.start_time_unix_nano, before.time_unix_nano)
        assert (first.now, second.now) == (after.start_time_unix_nano, after.time_unix_nano)
    assert [9, 9] == [each.value for each in points(first.data, "ws.connects")]
    assert [0, 0] == [each.value for each in points(second.data, "ws.connects")]
    assert [1, 1] == [each.count for each in points(first.data, "ws.handler.duration")]
    assert [0, 0] == [each.count for each in points(second.data, "ws.handler.duration")]
    # What can fall is never a delta.
    assert [4, 4] == [each.value for each in points(second.data, "ws.connections.active")]


#: A round: which routes count, how much, and whether the export arrives.
ROUNDS: Final = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(["/a", "/b"]), st.integers(0, 2**20)), max_size=5),
        st.booleans(),
    ),
    max_size=12,
)


@given(ROUNDS)
def test_deltas_that_arrive_add_up_to_the_totals(rounds: list[Any]) -> None:
    """Whatever fails on the way, and no time is in two points or in none."""
    store = Store()
    readings = Readings(store, PREFER_DELTA)
    got: Counter[Any] = Counter()
    ends: dict[str, int] = {}
    for events, arrives in [*rounds, ([], True)]:
        for route, size in events:
            numbers = store.route(route)
            numbers.connects += 1
            numbers.size_in.observe(size)
        reading = readings.read(NOBODY)
        if not arrives:
            continue
        readings.arrived(reading)
        for name in ("ws.connects", "ws.message.bytes", "ws.message.size"):
            for point in points(reading.data, name):
                route = point.attributes["http.route"]
                if point.attributes.get("ws.direction", "in") == "out":
                    continue
                assert ends.get("", store.started) == point.start_time_unix_nano
                if name == "ws.message.size":
                    got[name, route] += point.sum
                    assert sum(point.bucket_counts) == point.count
                    for place, count in enumerate(point.bucket_counts):
                        assert count >= 0
                        got[name, route, place] += count
                else:
                    got[name, route] += point.value
        ends[""] = reading.now
    for route, numbers in store.routes.items():
        assert numbers.connects == got["ws.connects", route]
        assert numbers.size_in.sum == got["ws.message.bytes", route]
        assert numbers.size_in.sum == got["ws.message.size", route]
        for place, count in enumerate(numbers.size_in.counts):
            assert count == got["ws.message.size", route, place]


@pytest.mark.parametrize("preferred", [None, PREFER_DELTA])
def test_exemplar_is_sent_until_it_arrives(preferred: Any) -> None:
    """With the trace and the span that it leads to, and once."""
    store = full_store()
    identity = SpanContext(0xABC, 0xDEF, is_remote=False)
    store.route("/chat").handler.exemplars[3] = (identity, 0.004, time.time() + 1)
    readings = Readings(store, preferred)
    readings.read(NOBODY)
    reading = readings.read(NOBODY)
    (exemplar,) = (
        exemplar
        for point in points(reading.data, "ws.handler.duration")
        for exemplar in point.exemplars
    )
    assert (0xABC, 0xDEF, 0.004) == (exemplar.trace_id, exemplar.span_id, exemplar.value)
    readings.arrived(reading._replace(now=time.time_ns() + 10**10))
    again = points(readings.read(NOBODY).data, "ws.handler.duration")
    assert [] == [each for point in again for each in point.exemplars]


def test_protobuf_has_what_we_know_and_nothing_that_we_do_not() -> None:
    """Smallest and largest are absent, which is not the same as zero."""
    encoded = encode_metrics(Readings(full_store()).read(NOBODY).data)
    found = encoded.resource_metrics[0].scope_metrics[0].metrics
    assert len(CATALOGUE) == len(found)
    (point, *_) = next(each for each in found if "ws.tcp.rtt" == each.name).histogram.data_points
    assert (1, 0.004) == (point.count, point.sum)
    assert not point.HasField("min")
    assert not point.HasField("max")


def test_missing_sdk_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK, the import says what to install."""
    monkeypatch.delitem(sys.modules, "asgi_ws_observe.metrics.points")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'asgi-ws-observe\[otlp\]'"):
        import_module("asgi_ws_observe.metrics.points")
