"""One echoed message (one in, one out) at ASGI level: no server, no network, no client."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from tests.benchmarks.cases import CASES, OURS, OURS_ALL, PEER_ALL, Case
from tests.benchmarks.results import Effort, Json, rounded
from tests.benchmarks.served import FLOOR
from tests.benchmarks.steps import STEPS
from tests.benchmarks.workers import Worker, WorkerError

__all__ = ["GROWING", "connections", "messages", "profile", "sizes"]

#: What is measured against the size of messages: the case, and what the messages are.
GROWING: Final = {
    "metrics and logs, ASCII text": (OURS, "text"),
    "metrics and logs, bytes": (OURS, "bytes"),
    "metrics and logs, other text": (OURS, "other text"),
    "all messages traced, JSON": (OURS_ALL, "json"),
    "opentelemetry-instrumentation-asgi, JSON": (PEER_ALL, "json"),
}

Progress = Callable[[str], None]


def messages(effort: Effort, progress: Progress) -> Json:
    """Return what an echo takes in every case."""
    return _compare(CASES, effort, progress)


def profile(effort: Effort, progress: Progress) -> Json:
    """Return what the steps of an echo take."""
    return _compare(STEPS, effort, progress)


def sizes(effort: Effort, progress: Progress) -> Json:
    """Return what an echo takes by the size of its message."""
    found: dict[str, list[list[float]]] = {name: [] for name in GROWING}
    with _workers({case: CASES[case] for case, _ in GROWING.values()}, Effort()) as (workers, _):
        for number in range(_few(effort)):
            for name, (case, kind) in GROWING.items():
                found[name].append(
                    [
                        _above(workers[case].ask(**_command(effort, kind, size)))["app"]
                        for size in effort.sizes
                    ]
                )
            progress(f"round {number + 1} of {_few(effort)}")
    rows = [{"name": name, "above": _by_column(rounds)} for name, rounds in found.items()]
    return {"columns": list(effort.sizes), "rows": rows}


def connections(effort: Effort, progress: Progress) -> Json:
    """Return what an echo takes by the number of connections that take turns."""
    found: dict[str, list[list[float]]] = {FLOOR: [], OURS: []}
    bare: list[list[float]] = []
    with _workers({OURS: CASES[OURS]}, Effort()) as (workers, _):
        for number in range(_few(effort)):
            taken = [
                workers[OURS].ask(**_command(effort, "text", 64, each)) for each in effort.counts
            ]
            bare.append([each["bare"] for each in taken])
            above = [_above(each) for each in taken]
            found[FLOOR].append([each["wrapped"] for each in above])
            found[OURS].append([each["app"] for each in above])
            progress(f"round {number + 1} of {_few(effort)}")
    rows = [{"name": name, "above": _by_column(rounds)} for name, rounds in found.items()]
    return {"columns": list(effort.counts), "rows": rows, "bare": _by_column(bare)}


def _compare(cases: Mapping[str, Case], effort: Effort, progress: Progress) -> Json:
    """Return what an echo takes above the bare application, round by round."""
    found: dict[str, list[Json]] = {}
    with _workers(cases, effort) as (workers, hello):
        for number in range(effort.rounds):
            # Forwards and backwards, so that none always follows the same other.
            for name in list(workers) if number % 2 == 0 else reversed(workers):
                taken = workers[name].ask(**_command(effort, "text", 64))
                found.setdefault(name, []).append(taken)
            progress(f"round {number + 1} of {effort.rounds}")
    above = {name: [_above(taken) for taken in found[name]] for name in workers}
    rows = [
        {
            "name": name,
            "spans": hello[name]["spans"],
            "above": rounded(each["app"] for each in above[name]),
        }
        for name in workers
    ]
    # Of all processes: how fast the same code is differs from one to the next.
    rounds = zip(*above.values(), strict=True)
    floor = rounded(statistics.median(each["wrapped"] for each in turn) for turn in rounds)
    absent = {name: said["absent"] for name, said in hello.items() if "absent" in said}
    return {"floor": floor, "rows": rows, "absent": absent}


@contextlib.contextmanager
def _workers(
    cases: Mapping[str, Case], effort: Effort
) -> Iterator[tuple[dict[str, Worker], dict[str, Json]]]:
    """Start a process for each case; yield those that run, and what all of them said at first."""
    started = {
        name: Worker("tests.benchmarks.echoing", name) for name in cases if effort.match in name
    }
    hello: dict[str, Json] = {}
    try:
        for name, worker in started.items():
            try:
                hello[name] = worker.answer()
            except WorkerError as error:
                hello[name] = {"absent": str(error)}
        yield {name: each for name, each in started.items() if "spans" in hello[name]}, hello
    finally:
        for worker in started.values():
            worker.close()


def _few(effort: Effort) -> int:
    """Return how many rounds are enough where each has many turns."""
    return max(1, effort.rounds // 3)


def _command(effort: Effort, kind: str, size: int, connections: int = 0) -> Json:
    return {"kind": kind, "size": size, "connections": connections, "seconds": effort.seconds}


def _above(taken: Json) -> dict[str, float]:
    """Return what is above the bare application."""
    return {name: taken[name] - taken["bare"] for name in ("wrapped", "app")}


def _by_column(rounds: Iterable[list[float]]) -> list[list[float]]:
    """Return the values of the rounds by column."""
    return [rounded(column) for column in zip(*rounds, strict=True)]
