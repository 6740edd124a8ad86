"""The numbers of Socket.IO as the clients counted them, against those of ``/metrics``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..remote import Remote, Series, series
from ..report import Row
from .protocol import ADMIN

__all__ = ["Nodes", "Truth", "compare"]

_COMPARED: Final = {
    "socketio_connects_total": "connects",
    "engineio_upgrades_total": "upgrades",
    "socketio_events_total": "events",
    "socketio_emits_total": "emits",
    "socketio_emit_recipients_sum": "recipients",
    "socketio_acks_total": "acks",
    "socketio_room_joins_total": "joins",
    "socketio_room_leaves_total": "leaves",
    "socketio_disconnects_total": "ends",
    "socketio_bytes_total": "bytes",
    "socketio_connections_active": "still open",
}
_OPEN: Final = "socketio_connections_active"
_EMITS: Final = "socketio_emits_total"
_LOST: Final = series("socketio_bus_lost_messages_total")
#: Categories of emits that are not the load's: what tells pages who is there, and announcements.
_NOT_OURS: Final = frozenset({"watchers", "_all"})


class Truth:
    """What all clients together did and saw.

    Attributes:
        numbers: The same series as on ``/metrics``.
        open: Connections to ``/`` that are open now.
        surprises: What a client met that was not in its script.
    """

    def __init__(self) -> None:
        self.numbers: Counter[Series] = Counter()
        self.open = 0
        self.surprises: list[str] = []

    def count(self, name: str, by: int = 1, **labels: str) -> None:
        """Count something; the namespace is ``/`` where none is given."""
        if name not in ("engineio_upgrades_total",):
            labels = {"namespace": "/"} | labels
        self.numbers[series(name, **labels)] += by

    def connected(self, namespace: str, transport: str) -> None:
        """Count a client that was let in."""
        self.knocked(namespace, transport, "accepted")
        self.open += namespace == "/"

    def knocked(self, namespace: str, transport: str, outcome: str) -> None:
        """Count a client that asked for a namespace, and how it got there."""
        if transport == "auto":
            self.count("engineio_upgrades_total", outcome="ok")
            transport = "websocket"
        label = namespace if namespace in ("/", ADMIN) else "_other"
        self.count("socketio_connects_total", namespace=label, transport=transport, outcome=outcome)

    def ended(self, namespace: str, reason: str) -> None:
        """Count the end of a connection."""
        self.open -= namespace == "/"
        self.count("socketio_disconnects_total", namespace=namespace, reason=reason)

    def total(self, name: str) -> int:
        """Return the sum of a metric's series."""
        return sum(count for (each, _), count in self.numbers.items() if each == name)


class Nodes:
    """One node, or several whose numbers are added up.

    Args:
        urls: Their addresses.

    Raises:
        ValueError: One is not there, or is given twice; says so in one line.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        if len(set(urls)) < len(urls):
            raise ValueError("--url: the same one is given twice")
        self._nodes = [Remote(url, socketio=True) for url in urls]
        self._shared = all(node.about()["bus"]["system"] != "memory" for node in self._nodes)

    def numbers(self) -> dict[Series, float]:
        """Return the samples that are compared."""
        numbers: dict[Series, float] = {}
        for node in self._nodes:
            for name, labels, value in node.samples():
                if name not in _COMPARED and name != _LOST[0]:
                    continue
                if labels.get("category") not in _NOT_OURS:
                    key = series(name, **_known_to_clients(name, labels))
                    numbers[key] = numbers.get(key, 0.0) + value
        return numbers

    def carried(
        self, truth: Truth, before: Mapping[Series, float], after: Mapping[Series, float]
    ) -> Iterator[Row]:
        """Yield how many emits of the load went over the bus, and came to the other nodes."""
        others = len(self._nodes) - 1
        if self._shared and others:
            came = sum(
                round(value - before.get(key, 0))
                for key, value in after.items()
                if key[0] == _EMITS and ("origin", "other") in key[1]
            )
            yield f"emits over the bus, to {others} more", truth.total(_EMITS) * others, came
            yield "lost on the bus", 0, round(after.get(_LOST, 0) - before.get(_LOST, 0))


def _known_to_clients(name: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels whose values a client knows."""
    unknown = {"node", "target"}
    if labels.get("origin") == "own":
        unknown.add("origin")
    if name == _OPEN:
        unknown.add("transport")
    return {name: value for name, value in labels.items() if name not in unknown}


def compare(
    truth: Truth, before: Mapping[Series, float], after: Mapping[Series, float]
) -> Iterator[Row]:
    """Yield every row that is not zero on both sides: what, by the clients, by ``/metrics``."""
    order = list(_COMPARED)
    every = truth.numbers.keys() | after.keys() | before.keys()
    rows = [key for key in every if key[0] in _COMPARED and ("origin", "other") not in key[1]]
    for key in sorted(rows, key=lambda row: (order.index(row[0]), sorted(row[1]))):
        counted = truth.numbers[key]
        exposed = round(after.get(key, 0) - before.get(key, 0))
        if counted or exposed or key[0] == _OPEN:
            yield _title(key), counted, exposed


def _title(key: Series) -> str:
    labels = dict(key[1])
    namespace = labels.pop("namespace", "")
    words = [_COMPARED[key[0]], *(namespace if namespace != "/" else "").split()]
    order = ("event", "category", "transport", "direction", "outcome", "reason")
    return " ".join([*words, *(labels[name] for name in order if name in labels)])
