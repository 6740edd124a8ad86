"""What connections cost a real server: memory, opening and closing, a broadcast, a storm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Final

from tests.benchmarks.limits import most_connections
from tests.benchmarks.machines import Machine, running
from tests.benchmarks.results import Effort, Json, rounded
from tests.benchmarks.served import BARE, DEFAULT, NO_SDK, PEER
from tests.benchmarks.workers import Worker

__all__ = ["broadcast", "churn", "memory", "storm"]

_MODES: Final = (BARE, NO_SDK, DEFAULT, PEER)
#: Connections that are being opened at the same time, where it is no storm.
_AT_ONCE: Final = 100

Progress = Callable[[str], None]


def memory(effort: Effort, progress: Progress) -> Json:
    """Return the server's own bytes for idle connections that have had one message, all of them."""
    levels = [most_connections(level) for level in effort.levels]
    rows = []
    for mode in _MODES:
        with _client() as clients, running(mode) as machine:
            # What the first connections bring for good is not theirs.
            clients.ask(do="churn", address=machine.address, connections=200, at_once=50)
            machine.wait_for(0)
            empty = machine.private_bytes()
            each = []
            for level in levels:
                opened = _hold(clients, machine, level, _AT_ONCE)
                assert opened["failed"] == 0, f"{opened['failed']} connections failed"
                each.append(machine.private_bytes() - empty)
                progress(f"{mode}: {level:,} connections")
            rows.append({"name": mode, "bytes": rounded(each)})
    return {"columns": levels, "rows": rows}


def broadcast(effort: Effort, progress: Progress) -> Json:
    """Return what one message to every connection takes: milliseconds, by the clock and of CPU."""
    found: dict[str, list[Json]] = {mode: [] for mode in _MODES}
    with _all_running() as machines, ExitStack() as stack:
        rooms = {mode: stack.enter_context(_client()) for mode in machines}
        for mode, machine in machines.items():
            _hold(rooms[mode], machine, effort.room, _AT_ONCE)
        for number in range(effort.rounds):
            for mode in list(machines) if number % 2 == 0 else reversed(machines):
                found[mode].append(machines[mode].ask("/broadcast"))
            progress(f"round {number + 1} of {effort.rounds}")
        # Each had its echo, and every broadcast.
        for room in rooms.values():
            received = room.ask(do="release")["received"]
            assert received == effort.room * (effort.rounds + 1), f"{received} messages arrived"
    rows = [
        {
            "name": mode,
            "seconds": rounded((each["seconds"] * 1e3 for each in rounds), 3),
            "cpu": rounded((each["cpu"] * 1e3 for each in rounds), 3),
        }
        for mode, rounds in found.items()
    ]
    return {"connections": effort.room, "rows": rows}


def churn(effort: Effort, progress: Progress) -> Json:
    """Return connections a second, and the CPU of one, opened and closed again."""
    found: dict[str, list[tuple[float, float]]] = {mode: [] for mode in _MODES}
    with _all_running() as machines, _client() as clients:
        for number in range(effort.rounds + 1):
            for mode in list(machines) if number % 2 == 0 else reversed(machines):
                taken = _churn(clients, machines[mode], effort.churn)
                # The first turn is for the caches.
                if number:
                    found[mode].append(taken)
            progress(f"round {number} of {effort.rounds}")
    rows = [
        {
            "name": mode,
            "rate": rounded(rate for rate, _ in rounds),
            "cpu": rounded(cpu for _, cpu in rounds),
        }
        for mode, rounds in found.items()
    ]
    return {"connections": effort.churn, "rows": rows}


def storm(effort: Effort, progress: Progress) -> Json:
    """Return how long it takes until clients that all connect at once have their echo."""
    rows = []
    for mode in _MODES:
        seconds, cpu, lost = [], [], 0
        counted: list[float] = []
        for number in range(_storms(effort)):
            with _client() as clients, running(mode) as machine:
                before = machine.cpu()
                opened = _hold(clients, machine, effort.storm, effort.storm)
                seconds.append(opened["seconds"])
                cpu.append(machine.cpu() - before)
                lost += effort.storm - opened["open"]
                if mode in (NO_SDK, DEFAULT):
                    counted += _counted(machine)
                clients.ask(do="release")
            progress(f"{mode}: storm {number + 1}")
        row: Json = {"name": mode, "seconds": rounded(seconds, 2), "cpu": rounded(cpu, 2)}
        rows.append(row | {"lost": lost, "counted": rounded(counted)})
    return {"connections": effort.storm, "rows": rows}


def _storms(effort: Effort) -> int:
    return max(1, effort.rounds // 5)


def _churn(clients: Worker, machine: Machine, connections: int) -> tuple[float, float]:
    """Return connections a second, and the CPU of one in microseconds."""
    before = machine.cpu()
    taken = clients.ask(
        do="churn", address=machine.address, connections=connections, at_once=_AT_ONCE // 2
    )
    machine.wait_for(0)
    return connections / taken["seconds"], (machine.cpu() - before) / connections * 1e6


def _counted(machine: Machine) -> list[float]:
    """Return what `/metrics` says of connections: opened, open, and messages received."""
    shown = machine.exposition()
    return [
        shown.total("ws_connects_total"),
        shown.total("ws_connections_active"),
        shown.total("ws_messages_total", direction="in"),
    ]


def _hold(clients: Worker, machine: Machine, connections: int, at_once: int) -> Json:
    command = {"address": machine.address, "connections": connections, "at_once": at_once}
    return clients.ask(do="hold", within=180, **command)


@contextmanager
def _client() -> Iterator[Worker]:
    with closing(Worker("tests.benchmarks.clients")) as worker:
        yield worker


@contextmanager
def _all_running() -> Iterator[dict[str, Machine]]:
    with ExitStack() as stack:
        yield {mode: stack.enter_context(running(mode)) for mode in _MODES}
