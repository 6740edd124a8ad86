"""The exposition: what a registry has to say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Metric

from ..store import Store
from .formats import Family, Format
from .pace import Pace
from .prepared import WORKER, OwnFamilies
from .prometheus import RegistryNumbers, StoreCollector

__all__ = ["Exposition"]

_MISSING: Final = "its metrics are missing from /metrics"


class Exposition:
    """Writes what a registry has to say.

    Args:
        numbers: What we have in it.
    """

    def __init__(self, numbers: RegistryNumbers) -> None:
        self._numbers = numbers
        self._own = OwnFamilies(numbers.store)

    @classmethod
    def of(cls, numbers: RegistryNumbers) -> Exposition:
        """Return the one of a registry: what is prepared is prepared once."""
        if numbers.exposition is None:
            numbers.exposition = cls(numbers)
        exposition: Exposition = numbers.exposition
        return exposition

    def families(
        self,
        registry: CollectorRegistry,
        form: Format,
        names: frozenset[str] | None = None,
        *,
        shared: bool = True,
    ) -> list[Family]:
        """Return all families; one that fails, and only that, is reported and left out.

        Args:
            registry: The registry.
            form: The format.
            names: Only samples of these names; `None` for all.
            shared: Whether to include what every sibling process would answer alike.
        """
        found: list[Family] = []
        started, pace = perf_counter(), Pace()
        for family in self._each(registry, form, names, shared):
            found.append(family)
            pace.rest()
        self._numbers.store.scrape_seconds = perf_counter() - started
        return found

    def silent(
        self, form: Format, names: frozenset[str] | None, workers: Iterable[int]
    ) -> list[Family]:
        """Return what says that these workers live and do not answer."""
        chosen = frozenset({"ws_observe_worker_up"}) & (names or {"ws_observe_worker_up"})
        found: list[Family] = []
        for worker in workers:
            store = Store()
            store.node, store.worker = self._numbers.store.node, worker
            store.answers = False
            found += OwnFamilies(store).families(form, chosen)
        return found

    def _each(
        self,
        registry: CollectorRegistry,
        form: Format,
        names: frozenset[str] | None,
        shared: bool,
    ) -> Iterator[Family]:
        store = self._numbers.store
        worker = {} if store.worker is None else {WORKER: str(store.worker)}
        if target := registry.get_target_info():
            yield from self._written(_target_info(target), form, names, worker)
        # prometheus_client has no public way to ask its collectors one by one.
        collectors = getattr(registry, "_collector_to_names", (registry,))
        for collector in list(collectors):
            if isinstance(collector, StoreCollector):
                yield from self._own.families(form, names)
                continue
            # Its files are those of all processes already.
            common = type(collector).__name__ == "MultiProcessCollector"
            if common and not shared:
                continue
            try:
                for metric in collector.collect():
                    yield from self._written(metric, form, names, {} if common else worker)
            except Exception as error:  # noqa: BLE001
                self._numbers.errors.report("collector", error, collector, _MISSING)

    def _written(
        self,
        metric: Metric,
        form: Format,
        names: frozenset[str] | None,
        worker: dict[str, str],
    ) -> Iterator[Family]:
        chosen = metric
        if names is not None or worker:
            chosen = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            chosen.samples = [
                each._replace(labels=_with(worker, each.labels)) if worker else each
                for each in metric.samples
                if names is None or each.name in names
            ]
            if names is not None and not chosen.samples:
                return
        try:
            yield from list(form.families(chosen))
        except Exception as error:  # noqa: BLE001
            self._numbers.errors.report("collector", error, metric.name, _MISSING)


def _with(worker: dict[str, str], labels: dict[str, str]) -> dict[str, str]:
    """Return a sample's labels with ours; one of the same name is renamed as Prometheus does."""
    renamed = {f"exported_{WORKER}": labels[WORKER]} if WORKER in labels else {}
    return labels | renamed | worker


def _target_info(labels: dict[str, str]) -> Metric:
    family = Metric("target", "Target metadata", "info")
    family.add_sample("target_info", labels, 1)
    return family
