"""The store as OpenTelemetry's data: points, and for delta what has arrived before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from .. import __version__
from ..buckets import Buckets
from ..exceptions import MissingExtraError
from ..store import Store
from .catalogue import CATALOGUE, Instrument
from .pace import Pace

try:
    from opentelemetry.sdk.metrics import Counter, Exemplar, Histogram
    from opentelemetry.sdk.metrics import export as sdk
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as error:
    raise MissingExtraError("otlp", "opentelemetry-sdk 1.28 or later") from error

__all__ = ["Reading", "Readings"]

_CUMULATIVE: Final = sdk.AggregationTemporality.CUMULATIVE
_SCOPE: Final = InstrumentationScope("asgi_ws_observe", __version__)

# A series: its metric and its label values. What it has counted: a number, or a histogram's buckets
# and its sum.
_Series = tuple[str, tuple[str, ...]]
_Counted = tuple[list[int], float]


class Reading(NamedTuple):
    """The numbers of one moment.

    Attributes:
        data: What an exporter takes.
        now: When, nanoseconds since the epoch.
        counted: What the series of delta metrics had counted.
    """

    data: sdk.MetricsData
    now: int
    counted: dict[_Series, _Counted]


class Readings:
    """Reads a store for one exporter.

    What has arrived is remembered, so that delta counts from there: after exports that failed, the
    next one has what was in them as well.

    Args:
        store: What is read.
        preferred: The exporter's temporality for `Counter` and `Histogram` of OpenTelemetry's SDK.
            Default: cumulative. Sums that can fall are always cumulative.
    """

    def __init__(
        self, store: Store, preferred: Mapping[type, sdk.AggregationTemporality] | None = None
    ) -> None:
        self._store = store
        preferred = preferred or {}
        self._temporality = {
            "counter": preferred.get(Counter, _CUMULATIVE),
            "histogram": preferred.get(Histogram, _CUMULATIVE),
        }
        # Of the last reading that arrived, and of the one that is made.
        self._since, self._arrived = store.started, dict[_Series, _Counted]()
        self._now, self._counted = self._since, self._arrived

    def read(self, resource: Resource) -> Reading:
        """Return the numbers of now.

        Args:
            resource: What they are about.
        """
        # A clock that was set back must not make a point end before it starts.
        self._now, self._counted = max(time.time_ns(), self._since), {}
        self._store.look()
        metrics, pace = [], Pace()
        for each in CATALOGUE:
            points = self._data(each)
            if points.data_points:
                metrics.append(sdk.Metric(each.otel_name, each.text, each.unit, points))
            pace.rest()
        scope = sdk.ScopeMetrics(_SCOPE, metrics, "")
        data = sdk.MetricsData([sdk.ResourceMetrics(resource, [scope], "")])
        return Reading(data, self._now, self._counted)

    def arrived(self, reading: Reading) -> None:
        """Take note that a reading has arrived."""
        self._since, self._arrived = reading.now, reading.counted

    def _data(self, instrument: Instrument) -> sdk.Sum | sdk.Gauge | sdk.Histogram:
        temporality = self._temporality.get(instrument.kind, _CUMULATIVE)
        delta = temporality is not _CUMULATIVE
        if instrument.kind == "histogram":
            return sdk.Histogram(list(self._histograms(instrument, delta)), temporality)
        numbers = list(self._numbers(instrument, delta))
        if instrument.kind == "counter" or instrument.additive:
            return sdk.Sum(numbers, temporality, is_monotonic=instrument.kind == "counter")
        return sdk.Gauge(numbers)

    def _numbers(self, instrument: Instrument, delta: bool) -> Iterator[sdk.NumberDataPoint]:
        for labels, value in instrument.read(self._store):
            assert not isinstance(value, Buckets)  # noqa: S101 - the catalogue says so
            if delta:
                _, before = self._before(instrument, labels, [], value)
                value -= before
            yield sdk.NumberDataPoint(
                attributes=self._attributes(instrument, labels),
                start_time_unix_nano=self._start(delta),
                time_unix_nano=self._now,
                value=value,
            )

    def _histograms(self, instrument: Instrument, delta: bool) -> Iterator[sdk.HistogramDataPoint]:
        for labels, buckets in instrument.read(self._store):
            assert isinstance(buckets, Buckets)  # noqa: S101 - the catalogue says so
            counts, total = buckets.read()
            if delta:
                counts_before, total_before = self._before(instrument, labels, counts, total)
                total -= total_before
                # A series that is new has no buckets before.
                for place, count in enumerate(counts_before):
                    counts[place] -= count
            # Nobody knows the smallest and the largest; OTLP has them optional.
            unknown: Any = None
            yield sdk.HistogramDataPoint(
                attributes=self._attributes(instrument, labels),
                start_time_unix_nano=self._start(delta),
                time_unix_nano=self._now,
                count=sum(counts),
                sum=total,
                bucket_counts=counts,
                explicit_bounds=buckets.bounds,
                min=unknown,
                max=unknown,
                exemplars=self._exemplars(buckets),
            )

    def _before(
        self, instrument: Instrument, labels: tuple[str, ...], counts: list[int], total: float
    ) -> _Counted:
        """Return what a series had counted when it arrived last, and keep what it has now."""
        series = (instrument.name, labels)
        self._counted[series] = (counts.copy(), total)
        return self._arrived.get(series, ([], 0))

    def _start(self, delta: bool) -> int:
        return self._since if delta else self._store.started

    def _attributes(self, instrument: Instrument, labels: tuple[str, ...]) -> dict[str, str | int]:
        attributes: dict[str, str | int] = dict(zip(instrument.attributes, labels, strict=True))
        if self._store.node is not None:
            attributes["node"] = self._store.node
        # The workers of one server may have one resource: their series must not be the same.
        if self._store.worker is not None:
            attributes["ws.worker"] = self._store.worker
        return attributes

    def _exemplars(self, buckets: Buckets) -> list[Exemplar]:
        """Return those that have not arrived yet."""
        return [
            Exemplar({}, value, when, identity.span_id, identity.trace_id)
            for identity, value, seconds in list(buckets.exemplars.values())
            if (when := int(seconds * 1e9)) > self._since
        ]
