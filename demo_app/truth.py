"""The numbers as the clients counted them, against those of ``/metrics``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .protocol import CLOSE_CODES
from .remote import Remote, Series, series

__all__ = ["NOT_ROUTED", "ROUTE", "Demo", "Demos", "Series", "Truth", "compare", "series"]

#: The label ``route`` of a room, and of a path that is none.
ROUTE: Final = "/rooms/{room}"
NOT_ROUTED: Final = "unmatched"

_COMPARED: Final = {
    "ws_connects_total": "accepted",
    "ws_handshake_failures_total": "not accepted",
    "ws_closes_total": "closed",
    "ws_errors_total": "errors",
    "ws_messages_total": "messages",
    "ws_message_bytes_total": "bytes",
    "ws_connections_active": "still open",
}


#: What the nodes publish of the rooms, and deliver.
_BUS: Final = (
    series("ws_fanout_published_total", channel="room:{id}", outcome="ok"),
    series("ws_fanout_delivered_total", channel="room:{id}"),
)
_CARRIED: Final = frozenset(name for name, _ in _BUS)


class Truth:
    """What all clients together did and saw.

    Attributes:
        numbers: The same series as on ``/metrics``.
        open: Connections that are open now.
        surprises: What a client met that was not in its script.
    """

    def __init__(self) -> None:
        self.numbers: Counter[Series] = Counter()
        self.open = 0
        self.surprises: list[str] = []

    def connected(self) -> None:
        """Count an accepted handshake."""
        self.open += 1
        self.numbers[series("ws_connects_total", route=ROUTE)] += 1

    def refused(self, *, routed: bool) -> None:
        """Count a handshake that was refused."""
        route, reason = (ROUTE, "rejected") if routed else (NOT_ROUTED, "not_found")
        self.numbers[series("ws_handshake_failures_total", route=route, reason=reason)] += 1

    def message(self, direction: str, text: str) -> None:
        """Count a message, ``in`` or ``out`` as the server sees it."""
        labels = {"route": ROUTE, "direction": direction}
        self.numbers[series("ws_messages_total", **labels)] += 1
        self.numbers[series("ws_message_bytes_total", **labels)] += len(text.encode())

    def closed(self, code: int, closed_by: str, reason: str = "") -> None:
        """Count the end of a connection; the network gives no reason."""
        self.open -= 1
        label = f"{code // 1000}xxx" if code >= 3000 and code not in CLOSE_CODES else str(code)
        labels = {"code": label, "closed_by": closed_by} | ({"reason": reason} if reason else {})
        self.numbers[series("ws_closes_total", route=ROUTE, **labels)] += 1

    def error(self, kind: type[Exception]) -> None:
        """Count an exception of the handler."""
        self.numbers[series("ws_errors_total", route=ROUTE, type=kind.__name__)] += 1

    def messages(self, direction: str) -> int:
        """Return how many messages went that way."""
        return self.numbers[series("ws_messages_total", route=ROUTE, direction=direction)]


class Demo(Remote):
    """The server that the load drives."""

    def numbers(self) -> dict[Series, float]:
        """Return the samples that are compared."""
        numbers: dict[Series, float] = {}
        for name, labels, value in self.samples():
            if name in _COMPARED or name in _CARRIED:
                key = series(name, **_known_to_clients(labels))
                numbers[key] = numbers.get(key, 0.0) + value
        return numbers


class Demos:
    """One demo, or several whose numbers are added up.

    Args:
        urls: Their addresses.

    Attributes:
        processes: How many there are, worker processes counted.

    Raises:
        ValueError: One is not there, or is given twice; says so in one line.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        if len(set(urls)) < len(urls):
            raise ValueError("--url: the same one is given twice")
        self._demos = [Demo(url) for url in urls]
        about = [demo.about() for demo in self._demos]
        self.processes = sum(each["workers"] for each in about)
        self._shared = all(each["bus"]["system"] != "memory" for each in about)

    def numbers(self) -> dict[Series, float]:
        """Return the samples that are compared."""
        numbers: dict[Series, float] = {}
        for demo in self._demos:
            for key, value in demo.numbers().items():
                numbers[key] = numbers.get(key, 0.0) + value
        return numbers

    def carried(
        self, before: Mapping[Series, float], after: Mapping[Series, float]
    ) -> Iterator[tuple[str, int, int]]:
        """Yield what was published over the bus, and how often it was delivered.

        Every process that shares the rooms delivers what each of them published.
        """
        if self._shared:
            sent, came = (round(after.get(key, 0) - before.get(key, 0)) for key in _BUS)
            yield (
                f"on the bus: {sent} published, each delivered by {self.processes}",
                sent * self.processes,
                came,
            )


def compare(
    truth: Truth, before: Mapping[Series, float], after: Mapping[Series, float]
) -> Iterator[tuple[str, int, int]]:
    """Yield every row that is not zero on both sides: what, by the clients, by ``/metrics``."""
    order = list(_COMPARED)
    every = truth.numbers.keys() | after.keys() | before.keys()
    rows = [key for key in every if key[0] in _COMPARED]
    for key in sorted(rows, key=lambda row: (order.index(row[0]), sorted(row[1]))):
        counted = truth.numbers[key]
        exposed = round(after.get(key, 0) - before.get(key, 0))
        always = key == series("ws_connections_active", route=ROUTE)
        if counted or exposed or always:
            yield _title(key), counted, exposed


def _title(key: Series) -> str:
    name, labels = _COMPARED[key[0]], dict(key[1])
    route = labels.pop("route", ROUTE)
    if "closed_by" in labels:
        reason = labels.get("reason", "no close frame")
        name += f" by {labels['closed_by']}: {labels['code']} {reason}"
    elif labels:
        name += f": {' '.join(labels.values())}"
    return name if route == ROUTE or "reason" in labels else f"{name} ({route})"


def _known_to_clients(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels without the worker, and without why the network broke."""
    unknown = {"worker"} | ({"reason"} if labels.get("closed_by") == "network" else set())
    return {name: value for name, value in labels.items() if name not in unknown}
