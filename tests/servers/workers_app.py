"""An application for several worker processes; the settings are the environment's.

Beside the WebSocket it has what other applications have: metrics of their own, also with a label
`worker`, a tracer, and a handler that blocks the event loop.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from asgi_ws_observe import observe
from tests.servers.application import echo

__all__ = ["app"]

jobs = Counter("jobs", "What the application did.")
shares = Counter("shares", "With a label that we have too.", ["worker"])


class Looks:
    """Says which process it is in, and how often it was asked."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("app_pid", "The process.", value=os.getpid())
        yield GaugeMetricFamily("app_looks", "How often.", value=next(self._count))


async def work(request: Any) -> Any:
    """Do something and say which process did it."""
    jobs.inc()
    shares.labels("printer").inc()
    return await pid(request)


async def pid(request: Any) -> Any:
    """Say which process answers."""
    return PlainTextResponse(str(os.getpid()))


async def block(request: Any) -> Any:
    """Keep the event loop from everything else for 2 seconds."""
    print(os.getpid(), "blocks", flush=True)
    time.sleep(2)  # noqa: ASYNC251
    return await pid(request)


def registry() -> CollectorRegistry:
    """Return the registry: as prometheus_client's guide has it where there are several workers."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    collected = CollectorRegistry()
    MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
    return collected


app = Starlette(
    routes=[
        WebSocketRoute("/rooms/{room}", echo),
        *(Route(f"/{each.__name__}", each) for each in (work, pid, block)),
    ]
)
used = registry()
used.register(Looks())
observe(app, registry=used, tracer_provider=TracerProvider())
