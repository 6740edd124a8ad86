"""The collector: reads the store out when a scrape asks, through prometheus_client."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, count
from typing import Any, Final
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from ..buckets import Buckets
from ..buckets import Exemplar as KeptExemplar
from ..close_codes import CloseCodes
from ..exceptions import SettingsError
from ..hooks import OwnErrors
from ..locks import fork_safe_lock
from ..settings import MetricsAuth, Settings
from ..store import Store
from .catalogue import CATALOGUE, Instrument

__all__ = [
    "RegistryNumbers",
    "StoreCollector",
    "all_numbers",
    "exemplar_of",
    "numbers_of",
    "registry_of",
    "sample_names",
]

_FAMILIES: Final = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "info": InfoMetricFamily,
}


class StoreCollector:
    """A prometheus_client collector over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterator[Metric]:
        """Yield the families without samples: a registry finds names and clashes by them."""
        for instrument in CATALOGUE:
            yield self._family(instrument)

    def collect(self) -> Iterator[Metric]:
        """Yield the families with the numbers of now."""
        self._store.look()
        constant = () if self._store.node is None else (self._store.node,)
        for instrument in CATALOGUE:
            family = self._family(instrument)
            for labels, value in instrument.read(self._store):
                values = (*constant, *labels)
                if isinstance(value, Buckets):
                    counts, total = value.read()
                    family.add_metric(values, _cumulative(value, counts), total)
                elif instrument.kind == "info":
                    family.add_metric((), dict(zip(self._names(instrument), values, strict=True)))
                else:
                    family.add_metric(values, value)
            if family.samples or not instrument.optional:
                yield family

    def _names(self, instrument: Instrument) -> tuple[str, ...]:
        return instrument.labels if self._store.node is None else ("node", *instrument.labels)

    def _family(self, instrument: Instrument) -> Any:
        names = () if instrument.kind == "info" else self._names(instrument)
        return _FAMILIES[instrument.kind](instrument.name, instrument.text, labels=names)


def _cumulative(buckets: Buckets, counts: list[int]) -> list[tuple[str, float, Exemplar | None]]:
    bounds = [*map(floatToGoString, buckets.bounds), "+Inf"]
    return [
        (bound, total, exemplar_of(kept) if (kept := buckets.exemplars.get(place)) else None)
        for place, (bound, total) in enumerate(zip(bounds, accumulate(counts), strict=True))
    ]


def exemplar_of(kept: KeptExemplar) -> Exemplar:
    """Return an exemplar as prometheus_client has it."""
    identity, value, when = kept
    # W3C's notation; OpenMetrics allows 128 characters for all labels, and this is 64.
    labels = {"trace_id": f"{identity.trace_id:032x}", "span_id": f"{identity.span_id:016x}"}
    return Exemplar(labels, value, when)


def sample_names(instrument: Instrument) -> frozenset[str]:
    """Return the names of an instrument's samples."""
    if instrument.kind == "histogram":
        return frozenset(f"{instrument.name}_{part}" for part in ("bucket", "count", "sum"))
    return frozenset({instrument.exposed_name})


class RegistryNumbers:
    """What all middlewares of one registry share.

    Attributes:
        store: The numbers.
        errors: Where failures of the library's own parts go.
        metrics_auth: Who may read ``/metrics``, as the middlewares were told.
        workers: `Settings.workers` of the first middleware, `None` before.
        ordinal: The how manieth registry of this process it is; siblings have the same ones.
        exposition: How it is written, of `asgi_ws_observe.metrics.exposition`.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self.ordinal = ordinal
        self.workers: str | None = None
        self.store = Store()
        self.errors = OwnErrors(self.store)
        self.metrics_auth: MetricsAuth | None = None
        self.exposition: Any = None
        self._close_codes: set[int] = set()

    def take(self, settings: Settings) -> None:
        """Take over what a middleware's settings say about the whole registry.

        Raises:
            SettingsError: The middlewares together declare too many close codes.
        """
        declared = self._close_codes | set(settings.close_codes)
        try:
            CloseCodes(declared)
        except ValueError as error:
            raise SettingsError(
                f"Settings.close_codes: got {sorted(declared)} over all middlewares of one "
                f"registry; accepted: {error}"
            ) from None
        self._close_codes = declared
        self.store.limit = settings.max_connections or self.store.limit
        self.store.node = settings.node or self.store.node
        self.metrics_auth = settings.metrics_auth or self.metrics_auth
        self.workers = self.workers or settings.workers


_lock = fork_safe_lock()
_ordinals = count(1)
_numbers: WeakKeyDictionary[CollectorRegistry, RegistryNumbers] = WeakKeyDictionary()


def numbers_of(registry: CollectorRegistry | None = None) -> RegistryNumbers:
    """Return the numbers behind a registry; the first call registers the collector.

    A registry of your own also gets prometheus_client's process and garbage collection metrics,
    unless it has them already.

    Args:
        registry: Default: prometheus_client's own.

    Raises:
        SettingsError: Something else in the registry has one of our names.
    """
    registry = REGISTRY if registry is None else registry
    with _lock:
        numbers = _numbers.get(registry)
        if numbers is None:
            # The default one is the same in all siblings, whichever a process comes to first.
            numbers = RegistryNumbers(0 if registry is REGISTRY else next(_ordinals))
            try:
                registry.register(StoreCollector(numbers.store))
            except ValueError as error:
                raise SettingsError(
                    f"registry: got one with metrics of our names; accepted: one without: {error}"
                ) from error
            if registry is not REGISTRY:
                _add_process_metrics(registry)
            _numbers[registry] = numbers
        return numbers


def all_numbers() -> list[RegistryNumbers]:
    """Return what all registries of this process have of ours."""
    with _lock:
        return list(_numbers.values())


def registry_of(ordinal: int) -> tuple[CollectorRegistry, RegistryNumbers] | None:
    """Return the registry of this ordinal, if there is one."""
    with _lock:
        return next((each for each in _numbers.items() if each[1].ordinal == ordinal), None)


def _add_process_metrics(registry: CollectorRegistry) -> None:
    # Not by collecting: somebody else's collector may be slow, or raise.
    present = {type(each) for each in getattr(registry, "_collector_to_names", ())}
    for kind in (ProcessCollector, GCCollector):
        if kind not in present:
            kind(registry=registry)
