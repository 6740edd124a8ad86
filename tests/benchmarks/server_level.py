"""What observation costs a real server: CPU an echo, echoes a second, latency."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final

from tests.benchmarks.machines import Machine, running
from tests.benchmarks.results import Effort, Json, rounded
from tests.benchmarks.served import MODES
from tests.benchmarks.workers import Worker
from tests.servers.harness import IMPLEMENTATIONS

__all__ = ["LOADS", "columns", "server", "turn"]

#: Connections that echo at the same time: waiting for each other, and as much as the server can.
LOADS: Final = (1, 50)


def server(effort: Effort, progress: Callable[[str], None]) -> Json:
    """Return what an echo takes on each of uvicorn's implementations, with uvloop."""
    return {each: _implementation(each, effort, progress) for each in IMPLEMENTATIONS}


def _implementation(name: str, effort: Effort, progress: Callable[[str], None]) -> Json:
    found: dict[str, dict[str, list[Json]]] = {}
    with ExitStack() as stack:
        clients = stack.enter_context(closing(Worker("tests.benchmarks.clients")))
        machines = {mode: stack.enter_context(running(mode, name)) for mode in MODES}
        for connections in LOADS:
            for machine in machines.values():
                turn(clients, machine, connections, effort.turn / 2)
            for number in range(effort.rounds):
                for mode in list(machines) if number % 2 == 0 else reversed(machines):
                    taken = turn(clients, machines[mode], connections, effort.turn)
                    of_mode = found.setdefault(str(connections), {})
                    of_mode.setdefault(mode, []).append(taken)
                progress(f"{name}, {connections}: round {number + 1} of {effort.rounds}")
    return {
        connections: {mode: columns(modes[mode]) for mode in MODES}
        for connections, modes in found.items()
    }


def turn(clients: Worker, machine: Machine, connections: int, seconds: float) -> Json:
    """Return what an echo took the server, and what the client saw."""
    before = machine.cpu()
    command: Json = {"address": machine.address, "connections": connections, "seconds": seconds}
    answer = clients.ask(do="echo", size=64, **command)
    number = answer["echoes"]
    return {
        "cpu": (machine.cpu() - before) / number * 1e6,
        "rate": number / answer["seconds"],
        "p50": answer["p50"] * 1e6,
        "p99": answer["p99"] * 1e6,
    }


def columns(rounds: list[Json]) -> Json:
    """Return the rounds by figure: microseconds, and echoes a second."""
    digits = {"cpu": 2, "rate": 0, "p50": 1, "p99": 1}
    return {key: rounded((each[key] for each in rounds), digits[key]) for key in digits}
