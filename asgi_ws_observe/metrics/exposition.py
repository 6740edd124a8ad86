"""The exposition as text: what a registry has to say, our own part from lines that are prepared.

prometheus_client makes an object of every sample before it writes it. Of our own metrics everything
but the numbers stays as it is from scrape to scrape, so that is written once and filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from time import perf_counter
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from ..store import Buckets, Store
from .catalogue import CATALOGUE, Instrument
from .pace import Pace
from .prometheus import RegistryNumbers, StoreCollector, exemplar_of, sample_names

__all__ = ["WORKER", "Exposition", "Family", "Format", "merged"]

#: The label that tells sibling processes apart.
WORKER: Final = "worker"

_MISSING: Final = "its metrics are missing from /metrics"
#: Of the text format and of OpenMetrics.
_VERSIONS: Final = ("0.0.1", "0.0.4", "1.0.0", "2.0.0")
_END: Final = "# EOF\n"
_FAMILIES: Final = re.compile(r"^(?=# HELP )", re.MULTILINE)
_HEAD: Final = re.compile(r"(?:#.*\n)*")
_NAME: Final = re.compile(r'^# TYPE ("(?:[^"\\]|\\.)*"|\S+)', re.MULTILINE)
_SAMPLE: Final = re.compile(r"[^{ ]+")


class Family(NamedTuple):
    """One metric family as text.

    Attributes:
        name: Its name, as the format writes it.
        head: Its comments: help, type, unit.
        lines: Its samples.
    """

    name: str
    head: str
    lines: str


class Format:
    """What an ``Accept`` header asks for.

    Args:
        accept: The header.

    Attributes:
        content_type: What is answered.
        openmetrics: Whether that is OpenMetrics, which has exemplars and an end mark.
    """

    def __init__(self, accept: str) -> None:
        encode, self.content_type = choose_encoder(_known_versions(accept))
        self._encode: Callable[[Any], bytes] = encode
        self.openmetrics = self.content_type.startswith("application/openmetrics-text")

    def families(self, metric: Metric) -> Iterator[Family]:
        """Yield a family as prometheus_client writes it; some become several in the text format."""
        text = self._encode(_Metrics([metric])).decode().removesuffix(_END)
        for part in _FAMILIES.split(text):
            if name := _NAME.search(part):
                head = _HEAD.match(part)[0]  # type: ignore[index]
                yield Family(name[1], head, part[len(head) :])

    def document(self, families: Iterable[Family]) -> bytes:
        """Return the whole exposition."""
        parts = [part for family in families for part in (family.head, family.lines)]
        return "".join([*parts, _END] if self.openmetrics else parts).encode()


def merged(answers: Iterable[Iterable[Family]]) -> list[Family]:
    """Return the families of several processes, each with the samples of all.

    A process in which a family has another type, since it runs another version, has no samples in
    it: an exposition can state one type only.
    """
    heads: dict[str, str] = {}
    lines: dict[str, list[str]] = {}
    for answer in answers:
        for name, head, text in answer:
            if name not in heads:
                heads[name], lines[name] = head, []
            if _type_of(head) == _type_of(heads[name]):
                lines[name].append(text)
    return [Family(name, head, "".join(lines[name])) for name, head in heads.items()]


class Exposition:
    """Writes what a registry has to say.

    Args:
        numbers: What we have in it.
    """

    def __init__(self, numbers: RegistryNumbers) -> None:
        self._numbers = numbers
        self._own = _Own(numbers.store)

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
            found += _Own(store).families(form, chosen)
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


class _Own:
    """Our own families."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Two threads may write at the same time, before and after there is a label.
        self._prepared = _Prepared("")
        self._heads: dict[tuple[str, str], tuple[str, str]] = {}

    def families(self, form: Format, names: frozenset[str] | None) -> Iterator[Family]:
        """Yield them; those of which nothing is asked for are left out."""
        store = self._store
        given = {"node": store.node, WORKER: None if store.worker is None else str(store.worker)}
        constant = ",".join(_pair(name, value) for name, value in given.items() if value)
        prepared = self._prepared
        if constant != prepared.constant:
            prepared = self._prepared = _Prepared(constant)
        for instrument in CATALOGUE:
            wanted = names and names & sample_names(instrument)
            if wanted or names is None:
                lines = "".join(self._lines(instrument, form.openmetrics, prepared))
                if wanted and wanted != sample_names(instrument):
                    lines = _restricted(lines, wanted)
                yield Family(*self._head(instrument, form), lines)

    def _head(self, instrument: Instrument, form: Format) -> tuple[str, str]:
        key = (instrument.name, form.content_type)
        found = self._heads.get(key)
        if found is None:
            empty = Metric(instrument.name, instrument.text, instrument.kind)
            (family,) = form.families(empty)
            found = self._heads[key] = family.name, family.head
        return found

    def _lines(
        self, instrument: Instrument, openmetrics: bool, prepared: _Prepared
    ) -> Iterator[str]:
        for labels, value in instrument.read(self._store):
            series = prepared.series(instrument, labels)
            if isinstance(value, Buckets):
                counts, total = value.read()
                text = series % (*accumulate(counts), sum(counts), _number(total))
                if openmetrics and value.exemplars:
                    text = _with_exemplars(text, value)
                yield text
            else:
                yield series % _number(value)


class _Prepared:
    """Everything but the numbers of each series, with the same labels in front.

    Args:
        constant: These labels.

    Attributes:
        constant: As given.
    """

    def __init__(self, constant: str) -> None:
        self.constant = constant
        # (metric, label values) -> text with places.
        self._series: dict[tuple[str, tuple[str, ...]], str] = {}

    def series(self, instrument: Instrument, values: tuple[str, ...]) -> str:
        """Return the text of a series, with places for the numbers."""
        key = (instrument.name, values)
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = self._text(instrument, values)
        return found

    def _text(self, instrument: Instrument, values: tuple[str, ...]) -> str:
        pairs = [_pair(*each) for each in zip(instrument.labels, values, strict=True)]
        labels = ",".join([*([self.constant] if self.constant else []), *pairs])
        if instrument.kind != "histogram":
            return _escaped(_line(instrument.exposed_name, labels)) + "%s\n"
        bounds = [*map(floatToGoString, instrument.bounds), "+Inf"]
        bucket = instrument.name + "_bucket"
        comma = labels and labels + ","
        lines = [_escaped(_line(bucket, f'{comma}le="{bound}"')) + "%d.0\n" for bound in bounds]
        lines.append(_escaped(_line(instrument.name + "_count", labels)) + "%d.0\n")
        lines.append(_escaped(_line(instrument.name + "_sum", labels)) + "%s\n")
        return "".join(lines)


def _line(name: str, labels: str) -> str:
    return f"{name}{{{labels}}} " if labels else f"{name} "


def _pair(name: str, value: str) -> str:
    text = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'{name}="{text}"'


def _escaped(line: str) -> str:
    """Return a line's beginning for the operator ``%``."""
    return line.replace("%", "%%")


def _number(value: float) -> str:
    text: str = f"{value}.0" if type(value) is int else floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


def _with_exemplars(text: str, buckets: Buckets) -> str:
    lines = text.splitlines()
    for place, kept in list(buckets.exemplars.items()):
        exemplar = exemplar_of(kept)
        labels = ",".join(_pair(*each) for each in exemplar.labels.items())
        lines[place] += f" # {{{labels}}} {_number(exemplar.value)} {exemplar.timestamp}"
    return "\n".join([*lines, ""])


def _restricted(lines: str, wanted: frozenset[str]) -> str:
    return "".join(
        line
        for line in lines.splitlines(keepends=True)
        if _SAMPLE.match(line)[0] in wanted  # type: ignore[index]
    )


def _with(worker: dict[str, str], labels: dict[str, str]) -> dict[str, str]:
    """Return a sample's labels with ours; one of the same name is renamed as Prometheus does."""
    clash = WORKER in labels
    rest = {
        f"exported_{name}" if clash and name == WORKER else name: labels[name] for name in labels
    }
    return worker | rest


def _type_of(head: str) -> str:
    return next((line for line in head.splitlines() if line.startswith("# TYPE ")), "")


def _known_versions(accept: str) -> str:
    """Return an ``Accept`` header without what prometheus_client raises on or claims falsely."""
    ranges = accept.split(",")
    versions = [re.search(r"version\s*=\s*\"?([^;\"\s]*)", each) for each in ranges]
    return ",".join(
        each
        for each, version in zip(ranges, versions, strict=True)
        if version is None or version.group(1) in _VERSIONS
    )


def _target_info(labels: dict[str, str]) -> Metric:
    family = Metric("target", "Target metadata", "info")
    family.add_sample("target_info", labels, 1)
    return family


class _Metrics(list[Metric]):
    """What an encoder takes for a registry."""

    def collect(self) -> Iterator[Metric]:
        return iter(self)
