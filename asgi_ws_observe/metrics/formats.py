"""The formats of an exposition, and its families as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

__all__ = ["Family", "Format", "merged"]

#: Of the text format and of OpenMetrics.
_VERSIONS: Final = ("0.0.1", "0.0.4", "1.0.0", "2.0.0")
_END: Final = "# EOF\n"
_FAMILIES: Final = re.compile(r"^(?=# HELP )", re.MULTILINE)
_HEAD: Final = re.compile(r"(?:#.*\n)*")
_NAME: Final = re.compile(r'^# TYPE ("(?:[^"\\]|\\.)*"|\S+)', re.MULTILINE)


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


class _Metrics(list[Metric]):
    """What an encoder takes for a registry."""

    def collect(self) -> Iterator[Metric]:
        return iter(self)
