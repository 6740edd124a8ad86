"""Our own families as text: lines that are prepared.

prometheus_client makes an object of every sample before it writes it. Of our own metrics everything
but the numbers stays as it is from scrape to scrape, so that is written once and filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import Metric
from prometheus_client.utils import floatToGoString

from ..buckets import Buckets
from ..store import Store
from .catalogue import CATALOGUE, Instrument
from .formats import Family, Format
from .prometheus import exemplar_of, sample_names

__all__ = ["WORKER", "OwnFamilies"]

#: The label that tells sibling processes apart.
WORKER: Final = "worker"

_SAMPLE: Final = re.compile(r"[^{ ]+")


class OwnFamilies:
    """Our own families."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Two threads may write at the same time, before and after there is a label.
        self._prepared = _Prepared("")
        self._heads: dict[tuple[str, str], tuple[str, str]] = {}

    def families(self, form: Format, names: frozenset[str] | None) -> Iterator[Family]:
        """Yield them; those of which nothing is asked for are left out."""
        store = self._store
        store.look()
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
                if lines or not instrument.optional:
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
