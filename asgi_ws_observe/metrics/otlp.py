"""OTLP: the numbers of ``/metrics``, pushed to any exporter of OpenTelemetry's SDK."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import importlib
import logging
import os
import queue
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final
from weakref import WeakSet

from opentelemetry.instrumentation.utils import suppress_instrumentation
from prometheus_client import CollectorRegistry

from ..exceptions import MissingExtraError, SettingsError
from ..labels import safe_text
from .points import Readings
from .prometheus import numbers_of

# After `points`, which says what to install where the SDK is missing.
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult  # isort: skip
from opentelemetry.sdk.resources import Resource  # isort: skip

__all__ = ["SHUTDOWN_TIMEOUT", "MetricsPush"]

_logger = logging.getLogger("asgi_ws_observe")

#: How long the last export may hold up the end of an application, seconds.
SHUTDOWN_TIMEOUT: Final = 3.0

#: Value of OTEL_EXPORTER_OTLP_PROTOCOL -> the exporter's module, its package, the extra if any.
_EXPORTERS: Final = {
    "http/protobuf": (
        "opentelemetry.exporter.otlp.proto.http.metric_exporter",
        "opentelemetry-exporter-otlp-proto-http",
        "otlp",
    ),
    "grpc": (
        "opentelemetry.exporter.otlp.proto.grpc.metric_exporter",
        "opentelemetry-exporter-otlp-proto-grpc",
        None,
    ),
}
_PROTOCOL_VARIABLES: Final = (
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
)


class MetricsPush:
    """Exports all metrics of a registry's middlewares again and again, on a thread of its own.

    ``Settings(otlp=True)`` makes and starts one; use it directly for an exporter of your own. What
    fails is logged once, counted in ``ws_observe_errors_total{part="otlp"}`` and contained in the
    next export. Nothing is exported where ``OTEL_SDK_DISABLED`` is true.

    Args:
        exporter: Default: OpenTelemetry's for OTLP, over HTTP, or gRPC if
            ``OTEL_EXPORTER_OTLP_METRICS_PROTOCOL`` or ``OTEL_EXPORTER_OTLP_PROTOCOL`` says so. It
            reads where to, headers, certificates, compression and temporality from OpenTelemetry's
            other variables.
        registry: Whose middlewares. Default: prometheus_client's own.
        resource: What the numbers are about; a random ``service.instance.id`` is added to one that
            has none. Default: ``Resource.create()``, which reads ``OTEL_SERVICE_NAME`` and
            ``OTEL_RESOURCE_ATTRIBUTES``.
        interval: Seconds between two exports. Default: ``OTEL_METRIC_EXPORT_INTERVAL``, else 60.
        timeout: What the exporter is told that an export may take, seconds. Default:
            ``OTEL_METRIC_EXPORT_TIMEOUT``, else 30.

    Raises:
        MissingExtraError: The exporter for the protocol is not installed.
        SettingsError: The environment asks for another protocol, or a number is not above 0.
    """

    def __init__(
        self,
        exporter: MetricExporter | None = None,
        *,
        registry: CollectorRegistry | None = None,
        resource: Resource | None = None,
        interval: float | None = None,
        timeout: float | None = None,
    ) -> None:
        numbers = numbers_of(registry)
        self._store, self._errors = numbers.store, numbers.errors
        # Called on the thread: a gRPC channel does not survive a fork.
        self._make_exporter = _otlp_exporter() if exporter is None else lambda: exporter
        self._resource = resource
        self._interval = _seconds("interval", interval, "OTEL_METRIC_EXPORT_INTERVAL", 60.0)
        self._timeout = _seconds("timeout", timeout, "OTEL_METRIC_EXPORT_TIMEOUT", 30.0)
        self._readings: Readings | None = None
        self._described: Resource | None = None
        self._thread: threading.Thread | None = None
        # What was asked of the thread: to export, and whether to end.
        self._asked: queue.SimpleQueue[tuple[Future[bool], bool]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        _pushes.add(self)

    @classmethod
    def of(cls, registry: CollectorRegistry | None) -> MetricsPush:
        """Return the one of a registry: two applications in one process export once."""
        store = numbers_of(registry).store
        if store.push is None:
            store.push = cls(registry=registry)
        push: MetricsPush = store.push
        return push

    def start(self) -> None:
        """Export from now on, unless it does already; `shutdown` ends it.

        It also ends when the interpreter exits. A forked child has to start it again, which
        ``Settings(otlp=True)`` does with its lifespan or first WebSocket: one that has neither must
        not repeat the numbers of its parent.
        """
        if self._thread is not None or _disabled():
            return
        with self._lock:
            if self._thread is None:
                self._begin()

    def force_flush(self, timeout: float = SHUTDOWN_TIMEOUT) -> bool:
        """Export now.

        Args:
            timeout: How long to wait for it, seconds.

        Returns:
            Whether the exporter took everything in this time; `False` where nothing was started.
        """
        return _result(self._ask(last=False), timeout)

    def shutdown(self, timeout: float = SHUTDOWN_TIMEOUT) -> bool:
        """Export a last time and shut the exporter down; `start` starts again.

        Args:
            timeout: How long to wait for it, seconds. What takes longer goes on without anybody
                waiting, and ends with the process.

        Returns:
            Whether the exporter took everything in this time; `False` where nothing was started.
        """
        return _result(self._ask(last=True), timeout)

    async def aclose(self, timeout: float = SHUTDOWN_TIMEOUT) -> bool:
        """Do what `shutdown` does without holding up asyncio's event loop; another one it does."""
        future = self._ask(last=True)
        try:
            waiting = asyncio.wrap_future(future, loop=asyncio.get_running_loop())
        except RuntimeError:
            return _result(future, timeout)
        try:
            return await asyncio.wait_for(waiting, timeout)
        except asyncio.TimeoutError:
            return False

    def _begin(self) -> None:
        self._asked = queue.SimpleQueue()
        thread = threading.Thread(
            target=self._run, args=(self._asked,), name="asgi-ws-observe-otlp", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            self._errors.report("otlp", error, "a new thread", "the next start tries again")
            return
        self._thread = thread
        atexit.register(self.shutdown)

    def _ask(self, *, last: bool) -> Future[bool]:
        future: Future[bool] = Future()
        with self._lock:
            if self._thread is None:
                future.set_result(False)
                return future
            # Nobody can cancel it: its thread will answer.
            future.set_running_or_notify_cancel()
            self._asked.put((future, last))
            if last:
                self._thread = None
                atexit.unregister(self.shutdown)
        return future

    def _run(self, asked: queue.SimpleQueue[tuple[Future[bool], bool]]) -> None:
        exporter: MetricExporter | None = None
        last = False
        # Or the exporter's own requests would become spans.
        with suppress_instrumentation():
            # Now: detectors of resources need threads, which an interpreter that exits has no more.
            exporter = self._prepare(exporter)
            while not last:
                future: Future[bool] = Future()
                with contextlib.suppress(queue.Empty):
                    future, last = asked.get(timeout=self._interval)
                exporter = self._prepare(exporter)
                done = exporter is not None and self._export(exporter)
                if last and exporter is not None:
                    self._close(exporter)
                future.set_result(done)

    def _prepare(self, exporter: MetricExporter | None) -> MetricExporter | None:
        """Make what is missing, and return the exporter, `None` where that failed."""
        try:
            if self._described is None:
                self._described = _with_instance(self._resource or Resource.create())
            return self._make_exporter() if exporter is None else exporter
        except Exception as error:  # noqa: BLE001
            self._failed(error, "the preparation")
            return exporter

    def _export(self, exporter: MetricExporter) -> bool:
        assert self._described is not None  # noqa: S101 - it was prepared
        try:
            if self._readings is None:
                preferred = getattr(exporter, "_preferred_temporality", None)
                self._readings = Readings(self._store, preferred)
            reading = self._readings.read(self._described)
            result = exporter.export(reading.data, timeout_millis=self._timeout * 1000)
            if result is not MetricExportResult.SUCCESS:
                raise RuntimeError(f"the exporter returned {result}")
        except Exception as error:  # noqa: BLE001
            self._failed(error, exporter)
            return False
        self._readings.arrived(reading)
        return True

    def _close(self, exporter: MetricExporter) -> None:
        try:
            exporter.shutdown()
        except Exception as error:  # noqa: BLE001
            self._failed(error, exporter)

    def _failed(self, error: Exception, culprit: object) -> None:
        self._errors.report("otlp", error, culprit, "the next export tries again")

    def _forget(self) -> None:
        """Act in a forked child: neither thread nor lock are its own."""
        self._lock = threading.Lock()
        self._thread = self._described = None


_pushes: Final[WeakSet[MetricsPush]] = WeakSet()


def _forget() -> None:
    for push in list(_pushes):
        push._forget()


with contextlib.suppress(AttributeError):  # not on Windows
    os.register_at_fork(after_in_child=_forget)


def _result(future: Future[bool], timeout: float) -> bool:
    try:
        return future.result(timeout)
    except FutureTimeoutError:
        return False


def _disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _otlp_exporter() -> Callable[[], MetricExporter]:
    """Return the class of the exporter that the environment asks for."""
    variable, protocol = "", "http/protobuf"
    for name in reversed(_PROTOCOL_VARIABLES):
        if text := os.environ.get(name, "").strip():
            variable, protocol = name, text
    if protocol not in _EXPORTERS:
        raise SettingsError(
            f"{variable}: got {safe_text(repr(protocol))}; accepted: {', '.join(_EXPORTERS)}"
        )
    module, package, extra = _EXPORTERS[protocol]
    try:
        exporter: Callable[[], MetricExporter] = importlib.import_module(module).OTLPMetricExporter
    except ImportError as error:
        raise MissingExtraError(extra, package) from error
    return exporter


def _seconds(name: str, given: float | None, variable: str, default: float) -> float:
    """Return the argument, else what the variable says in milliseconds, else the default."""
    if given is not None:
        if not 0 < given <= threading.TIMEOUT_MAX:
            raise SettingsError(f"MetricsPush: got {name}={given!r}; accepted: seconds above 0")
        return given
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    try:
        seconds = float(text) / 1000
    except ValueError:
        seconds = 0.0
    if 0 < seconds <= threading.TIMEOUT_MAX:
        return seconds
    # OpenTelemetry's rule for its variables: warn, and go on with the default.
    _logger.warning(
        "%s: got %s; accepted: milliseconds above 0; %g seconds it is",
        *(variable, safe_text(repr(text)), default),
    )
    return default


def _with_instance(resource: Resource) -> Resource:
    """Add what keeps this process's series apart from those of others with the same resource."""
    own = Resource({"service.instance.id": _instance_id(os.getpid())})
    return own.merge(resource)


@functools.lru_cache(maxsize=1)
def _instance_id(process: int) -> str:
    """Return a random one for each process, so for a forked child another one."""
    return str(uuid.uuid4())
