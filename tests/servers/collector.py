"""Real receivers of metrics: oteltap, alone or behind rotel, a collector; and what they got."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.utils import floatToGoString

from asgi_ws_observe.metrics.catalogue import CATALOGUE
from tests.servers.otlp import receiving
from tests.servers.processes import absent, free_port, started
from tests.support import posts, until

try:
    import rotel  # type: ignore[import-untyped]
except ImportError:
    rotel = None

__all__ = ["Samples", "collected_metrics", "exposed", "received_metrics", "samples"]

#: The last metric that the receiver gets: all that were exported before have arrived as well.
LAST: Final = "the.last"

#: (Name, labels) as on /metrics -> value.
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def received_metrics(export: Callable[[str], Awaitable[None]]) -> list[Metric]:
    """Return the metrics that arrive at oteltap while something exports them.

    Args:
        export: Gets the receiver's endpoint; whatever it starts has flushed when it returns.
    """
    port = free_port()
    metrics: list[Metric] = []
    async with receiving(port) as receiver:

        async def collect() -> None:
            async for metric in receiver.stream_metrics():
                if metric.name == LAST:
                    return
                metrics.append(metric)

        collecting = asyncio.create_task(collect())
        await export(f"http://127.0.0.1:{port}")
        await asyncio.to_thread(_say_last, f"http://127.0.0.1:{port}")
        await asyncio.wait_for(collecting, 20)
    return metrics


async def collected_metrics(
    protocol: str, log: Path, export: Callable[[str], Awaitable[None]]
) -> list[Metric]:
    """Return the metrics that a collector passes on while something exports to it.

    Args:
        protocol: ``grpc`` or ``http/protobuf``.
        log: Where the collector's output goes.
        export: Gets the collector's endpoint; whatever it starts has flushed when it returns.
    """
    metrics: list[Metric] = []

    def take(_: str, __: dict[str, str], body: bytes) -> None:
        metrics.extend(_metrics_in(body))

    with posts(take) as port, _collector(port, log) as endpoints:
        await export(endpoints[protocol])
        await asyncio.to_thread(_say_last, endpoints["http/protobuf"])
        await until(lambda: LAST in {each.name for each in metrics}, 20)
    return [each for each in metrics if each.name != LAST]


def _metrics_in(body: bytes) -> Iterator[Metric]:
    """Yield the metrics of a request that rotel compressed, which oteltap cannot read."""
    request = ExportMetricsServiceRequest.FromString(gzip.decompress(body))
    for of_resource in request.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            yield from of_scope.metrics


def _say_last(endpoint: str) -> None:
    """Export one more metric."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter(LAST).add(1)
    provider.shutdown()


@contextmanager
def _collector(target: int, log: Path) -> Iterator[dict[str, str]]:
    """Run a collector until the end of the block, and yield its endpoint by protocol.

    Args:
        target: The port to which it passes on what it gets, over HTTP.
        log: Where its output goes.
    """
    if rotel is None:
        absent("no rotel for this machine: pip install rotel")
    endpoints = {protocol: f"127.0.0.1:{free_port()}" for protocol in ("grpc", "http/protobuf")}
    arguments = [
        *(str(Path(rotel.__file__).parent / "rotel-agent"), "start"),
        *("--otlp-grpc-endpoint", endpoints["grpc"]),
        *("--otlp-http-endpoint", endpoints["http/protobuf"]),
        *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
        *("--otlp-exporter-endpoint", f"http://127.0.0.1:{target}"),
    ]
    port = int(endpoints["http/protobuf"].rpartition(":")[2])
    with started(arguments, port, log):
        yield {protocol: f"http://{address}" for protocol, address in endpoints.items()}


def exposed(text: str) -> Samples:
    """Return the samples of our metrics that an exposition has."""
    names = {each.name for each in CATALOGUE} | {"ws_observe_info"}
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        if family.name in names
        for sample in family.samples
    }


def samples(metrics: list[Metric]) -> Samples:
    """Return what came over OTLP as samples: the sum of all deltas, else that of the last export.

    Of several processes, deltas only.
    """
    instruments = {each.otel_name: each for each in CATALOGUE}
    last = max(
        point.time_unix_nano
        for metric in metrics
        for point in getattr(metric, str(metric.WhichOneof("data"))).data_points
    )
    found: Samples = {}
    for metric in metrics:
        instrument = instruments[metric.name]
        assert (instrument.text, instrument.unit) == (metric.description, metric.unit)
        labels = dict(zip(instrument.attributes, instrument.labels, strict=True))
        labels["ws.worker"] = "worker"
        data = getattr(metric, str(metric.WhichOneof("data")))
        temporality = getattr(data, "aggregation_temporality", None)
        delta = temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        for point in data.data_points:
            # A gauge may be absent in the end.
            if not delta and point.time_unix_nano != last:
                continue
            given = {labels[each.key]: _text(each.value) for each in point.attributes}
            for name, more, value in _values(instrument.exposed_name, point):
                key = (name, frozenset((given | more).items()))
                found[key] = found.get(key, 0) + value if delta else value
    return found


def _text(value: AnyValue) -> str:
    """Return an attribute's value as a label has it."""
    return str(getattr(value, str(value.WhichOneof("value"))))


def _values(name: str, point: Any) -> Iterator[tuple[str, dict[str, str], float]]:
    if not hasattr(point, "bucket_counts"):
        yield name, {}, getattr(point, point.WhichOneof("value"))
        return
    bounds = [*map(floatToGoString, point.explicit_bounds), "+Inf"]
    for bound, total in zip(bounds, accumulate(point.bucket_counts), strict=True):
        yield f"{name}_bucket", {"le": bound}, total
    yield f"{name}_count", {}, point.count
    yield f"{name}_sum", {}, point.sum
