"""Samples that were taken of pages, as series in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ..pages import Page
from .values import NAME, Labels, milliseconds, unnamed

__all__ = ["Samples", "Series"]

Test = tuple[str, Callable[[str], bool]]


class Series:
    """One series.

    Args:
        labels: Its labels with its name.

    Attributes:
        labels: The same.
        bare: The same without its name.
        times: Milliseconds since 1970, ascending.
        values: As many values; `None` where the series had ended, as Prometheus' stale marker.
        falls: Whether a value was ever smaller than the one before it.
        ends: Whether it ever ended.
    """

    __slots__ = ("bare", "ends", "falls", "labels", "times", "values")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.bare = unnamed(labels)
        self.times: list[int] = []
        self.values: list[float | None] = []
        self.falls = False
        self.ends = False

    def put(self, time: int, value: float | None) -> None:
        """Append a sample; one that is not newer than the last is ignored, as Prometheus does."""
        last = self.values[-1] if self.values else value
        if self.times and time <= self.times[-1]:
            return
        if value is None or last is None:
            # What comes after a gap may be smaller.
            self.ends = self.falls = True
        elif not value >= last:
            self.falls = True
        self.times.append(time)
        self.values.append(value)

    def forget(self, before: int) -> None:
        """Drop the samples before a time."""
        count = next((i for i, each in enumerate(self.times) if each >= before), len(self.times))
        del self.times[:count], self.values[:count]


class Samples:
    """The series of several nodes.

    Args:
        job: The label ``job`` of all series, as Prometheus would add it.
        keep: Seconds that a sample is kept.

    Attributes:
        newest: When the newest sample was taken, seconds since 1970; 0 before the first.
    """

    def __init__(self, job: str = "asgi", keep: float = 3600.0) -> None:
        self.newest = 0.0
        self._job = job
        self._keep: Final = milliseconds(keep)
        self._series: dict[frozenset[tuple[str, str]], Series] = {}
        self._names: dict[str, list[Series]] = {}
        # By node, then by a sample's name and labels as its page has them.
        self._targets: dict[str, dict[tuple[object, ...], Series]] = {}
        self._selected: dict[object, list[Series]] = {}

    def __len__(self) -> int:
        """Return how many series there are."""
        return len(self._series)

    def append(self, page: Page, time: float) -> None:
        """Take in a page that a node had at a time, seconds since 1970.

        A series that its last page had and this one has not ends here.
        """
        at = milliseconds(time)
        known = self._targets.setdefault(page.instance, {})
        count = 0
        for family in page.families.values():
            for name, labels, value in family.samples:
                count += 1
                key = (name, *labels.items())
                series = known.get(key)
                if series is None:
                    series = known[key] = self._of(page.instance, name, labels)
                series.put(at, value)
        own = {"up": 1.0, "scrape_samples_scraped": count, "scrape_duration_seconds": page.seconds}
        self._finish(page.instance, own, time)

    def missed(self, instance: str, time: float) -> None:
        """Note that a node had no page at a time: it is not up, and its series end."""
        self._targets.setdefault(instance, {})
        self._finish(instance, {"up": 0.0}, time)

    def put(self, labels: Labels, time: float, value: float | None) -> None:
        """Append one sample; `None` ends its series."""
        key = frozenset((name, each) for name, each in labels.items() if each)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(dict(sorted(key)))
            self._names.setdefault(labels.get(NAME, ""), []).append(series)
            self._selected.clear()
        series.put(milliseconds(time), value)
        self.newest = max(self.newest, time)

    def select(self, name: str | None, tests: Iterable[Test], key: object) -> list[Series]:
        """Return the series that pass all tests.

        Args:
            name: Their name; `None` for any.
            tests: Labels' names, each with what its value must be like.
            key: What the selection is kept under, until there are new series.
        """
        found = self._selected.get(key)
        if found is None:
            chosen = self._series.values() if name is None else self._names.get(name, ())
            found = self._selected[key] = [
                each
                for each in chosen
                if all(test(each.labels.get(label, "")) for label, test in tests)
            ]
        return found

    def _of(self, instance: str, name: str, labels: Labels) -> Series:
        """Return the series of a page's sample, labelled as Prometheus would."""
        target = {"instance": instance, "job": self._job}
        full = {NAME: name, **{label: each for label, each in labels.items() if each}, **target}
        for label in target:
            if labels.get(label):
                # What the page says itself gives way to what is known about the node.
                renamed = f"exported_{label}"
                while renamed in full:
                    renamed = f"exported_{renamed}"
                full[renamed] = labels[label]
        key = frozenset(full.items())
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(full)
            self._names.setdefault(name, []).append(series)
            self._selected.clear()
        return series

    def _finish(self, instance: str, own: dict[str, float], time: float) -> None:
        """Write down what is known of a look at a node, end what is gone, forget what is old."""
        at = milliseconds(time)
        known = self._targets[instance]
        for name, value in own.items():
            if (name,) not in known:
                known[name,] = self._of(instance, name, {})
            known[name,].put(at, value)
        for series in known.values():
            if series.times[-1] < at and series.values[-1] is not None:
                series.put(at, None)
        self.newest = max(self.newest, time)
        self._forget(instance, at - self._keep)

    def _forget(self, instance: str, before: int) -> None:
        known = self._targets[instance]
        gone = {}
        for key, series in known.items():
            if series.times[0] < before:
                series.forget(before)
                if not any(each is not None for each in series.values):
                    gone[key] = series
        for key, series in gone.items():
            del known[key]
            # A page that writes its labels in another order has two keys for one series.
            if self._series.pop(frozenset(series.labels.items()), None) is not None:
                self._names[series.labels[NAME]].remove(series)
        if gone:
            self._selected.clear()
