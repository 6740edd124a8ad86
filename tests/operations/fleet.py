"""Two hours of a fleet that has seen everything: resets, gaps, ends, late starts, odd numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from typing import Final

from asgi_ws_observe.operations.promql import Samples
from tests.operations.prometheus import Written

#: When it ends: no round number, neither of seconds nor of minutes.
END: Final = 1_790_000_013.5
BEGIN: Final = END - 7200
STEP: Final = 15.0
INSTANCES: Final = ("a:8000", "b:8000", "c:8000")
BOUNDS: Final = ("0.005", "0.05", "0.5", "5.0", "+Inf")

Points = list[tuple[float, "float | None"]]


def fleet() -> list[Written]:
    """Return the same series every time."""
    chance = random.Random(7)
    found: list[Written] = []
    for number, instance in enumerate(INSTANCES):
        target = {"job": "fleet", "instance": instance}
        found += _node(chance, target, number)
    found += list(_odd())
    return found


def taken(series: Iterable[Written]) -> Samples:
    """Return series as samples."""
    found = Samples()
    for labels, points in series:
        for time, value in points:
            found.put(labels, time, value)
    return found


def _node(chance: random.Random, target: dict[str, str], number: int) -> Iterator[Written]:
    times = _times(chance, number)
    yield {"__name__": "up", **target}, [(time, float(chance.random() > 0.1)) for time in times]
    yield {"__name__": "ws_connections_limit", **target}, [(time, 100.0) for time in times]
    yield {"__name__": "process_start_time_seconds", **target}, [(t, BEGIN + number) for t in times]
    for route in ("/ws", "/rooms/{room}"):
        labels = {**target, "route": route}
        gauge = [(time, float(chance.randrange(90))) for time in times]
        yield {"__name__": "ws_connections_active", **labels}, gauge
        yield {"__name__": "ws_connects_total", **labels}, _counter(chance, times, 4)
        for code, by in (("1000", "client"), ("1006", "network"), ("1011", "server")):
            closes = {"__name__": "ws_closes_total", **labels, "code": code, "closed_by": by}
            yield closes, _counter(chance, times, 1.2)
        yield from _histogram(chance, labels, times)
    if number == 1:
        node = {"__name__": "node_info", **target, "version": "1.2", "zone": "x"}
        yield node, [(time, 1.0) for time in times]


def _times(chance: random.Random, number: int) -> list[float]:
    """Return when a node was scraped: one starts late, one has a gap, all jitter."""
    times = [BEGIN + i * STEP + chance.random() * 0.01 for i in range(int(7200 / STEP))]
    if number == 1:
        return [time for time in times if time > END - 4000]
    if number == 2:
        return [time for time in times if not END - 2000 < time < END - 1200]
    return times


def _counter(chance: random.Random, times: list[float], rate: float) -> Points:
    """Return a counter that is reset now and then, and once ends."""
    value, points = float(chance.randrange(1000)), Points()
    for time in times:
        value = 0.0 if chance.random() < 0.01 else value + float(int(chance.expovariate(1 / rate)))
        points.append((time, value))
    cut = chance.randrange(20, len(points) - 20)
    ended = points[cut][0] + 0.001
    return [*points[:cut], (ended, None), *points[cut + chance.randrange(15) + 1 :]]


def _histogram(
    chance: random.Random, labels: dict[str, str], times: list[float]
) -> Iterator[Written]:
    counts = [0.0] * len(BOUNDS)
    rows: list[list[float]] = []
    for _ in times:
        for _ in range(chance.randrange(3)):
            seconds = chance.expovariate(5)
            for i, bound in enumerate(BOUNDS):
                counts[i] += seconds <= float(bound)
        rows.append(list(counts))
    for i, bound in enumerate(BOUNDS):
        points = [(time, row[i]) for time, row in zip(times, rows, strict=True)]
        yield {"__name__": "ws_handler_duration_seconds_bucket", **labels, "le": bound}, points
    points = [(time, row[-1]) for time, row in zip(times, rows, strict=True)]
    yield {"__name__": "ws_handler_duration_seconds_count", **labels}, points


def _odd() -> Iterator[Written]:
    """Yield series with numbers and names that functions may stumble on."""
    values = (0.0, -1.5, 2.5, math.nan, math.inf, -math.inf, 1e300, 1e-300, 7.0, -0.0)
    for i, value in enumerate(values):
        labels = {"__name__": "odd", "job": "odd", "n": str(i)}
        yield labels, [(END - 30, 1.0), (END - 15, value), (END, value)]
    for i, value in enumerate((3.0, 1.0, 2.0, 5.0)):
        yield (
            {"__name__": "two" if i % 2 else "one", "job": "odd", "half": str(i // 2)},
            [(END - 600 + j * 20, value * j % 7) for j in range(31)],
        )
    for i, value in enumerate((3.0, math.inf)):
        steady = {"__name__": "steady", "job": "odd", "n": str(i)}
        yield steady, [(END - 40 + j * 10, value) for j in range(5)]
    # Exactly at the ends of windows and of the lookback.
    edge = {"__name__": "edge", "job": "odd"}
    for i, ago in enumerate((300.0, 299.999, 300.001, 60.0)):
        yield {**edge, "n": str(i)}, [(END - 360 - ago, 1.0), (END - ago, 4.0)]
    yield {**edge, "n": "ended"}, [(END - 20, 1.0), (END - 10, None)]
    yield {**edge, "n": "back"}, [(END - 20, 5.0), (END - 10, None), (END - 5, 2.0)]
    # Buckets out of order, without an upper end, with bounds that are none, and of no counts.
    for name, buckets in (
        ("sunk", {"1": 3.0, "2": 2.0, "+Inf": 4.0}),
        ("open", {"1": 3.0, "2": 4.0}),
        ("lone", {"+Inf": 4.0}),
        ("none", {"1": 0.0, "+Inf": 0.0}),
        ("past", {"1": 0.0, "+Inf": 4.0}),
        ("text", {"x": 0.0, "1": 1.0, "1.0": 1.0, "+Inf": 4.0}),
        ("below", {"-1": 2.0, "1": 3.0, "+Inf": 4.0}),
    ):
        for bound, value in buckets.items():
            yield {"__name__": "h_bucket", "job": "odd", "h": name, "le": bound}, [(END, value)]
    yield {"__name__": "h_bucket", "job": "odd", "h": "no le"}, [(END, 1.0)]
