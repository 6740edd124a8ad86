"""An exporter that keeps what it gets, and pushes that use it."""

from __future__ import annotations

import threading
from typing import Any, Final

from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from prometheus_client import CollectorRegistry

from asgi_ws_observe.metrics.otlp import MetricsPush
from tests.support import sample

__all__ = ["NEVER", "Kept", "failures", "push_of"]

#: Longer than any test.
NEVER: Final = 3600.0


class Kept(MetricExporter):
    """An exporter that keeps what it gets.

    Args:
        answers: What it answers in turn, or raises; then success.

    Attributes:
        got: What it was given.
        timeouts: How long it was told that an export may take, milliseconds.
        free: It waits for this before it answers.
        observed: Whether a request of the exporter's would become a span.
        closed: How often it was shut down.
    """

    def __init__(self, *answers: Any, delta: bool = False) -> None:
        super().__init__({Counter: AggregationTemporality.DELTA} if delta else None)
        self._answers = list(answers)
        self.got: list[MetricsData] = []
        self.timeouts: list[float] = []
        self.free = threading.Event()
        self.free.set()
        self.observed = False
        self.closed = 0

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        self.got.append(metrics_data)
        self.timeouts.append(timeout_millis)
        self.observed = self.observed or is_instrumentation_enabled()
        self.free.wait()
        answer = self._answers.pop(0) if self._answers else MetricExportResult.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        result: MetricExportResult = answer
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.closed += 1
        if self.closed > 1:
            raise RuntimeError("it is closed")

    def attributes(self) -> dict[str, Any]:
        """Return those of the last resource."""
        return dict(self.got[-1].resource_metrics[0].resource.attributes)


def push_of(exporter: MetricExporter, registry: CollectorRegistry, **more: Any) -> MetricsPush:
    """Return a started push, which exports when it is told to."""
    push = MetricsPush(exporter, registry=registry, interval=more.pop("interval", NEVER), **more)
    push.start()
    return push


def failures(registry: CollectorRegistry) -> float | None:
    """Return how many failures of the push were counted."""
    return sample(registry, "ws_observe_errors_total", part="otlp")
