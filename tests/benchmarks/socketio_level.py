"""What observing python-socketio costs: events, emits, memory, a scrape, the bus."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from tests.benchmarks.limits import most_connections
from tests.benchmarks.machines import Machine, running
from tests.benchmarks.results import Effort, Json
from tests.benchmarks.scraping import watch
from tests.benchmarks.server_level import columns, turn
from tests.benchmarks.socketio_modes import BARE, CAPPED, MODES, NO_SDK
from tests.benchmarks.socketio_turns import OPERATIONS
from tests.benchmarks.workers import Worker
from tests.fanout.redis_servers import single

__all__ = ["LOAD", "socketio"]

#: Clients that send events to a real server at the same time.
LOAD: Final = 50
_PROGRAM: Final = "tests.benchmarks.socketio_served"
_CLIENTS: Final = "tests.benchmarks.socketio_clients"
#: How fast the same code is differs from one process to the next, so each has so many rounds.
_PER_PROCESS: Final = 3

Progress = Callable[[str], None]


def socketio(effort: Effort, progress: Progress) -> Json:
    """Return everything by what it is."""
    if shutil.which("redis-server") is None:
        raise RuntimeError("no redis-server; get it: apt-get install redis-server")
    return {
        "clients": effort.room,
        "operations": _operations(effort, progress),
        "served": _served(effort, progress),
        "memory": _memory(effort, progress),
        "scrape": _scrape(effort, progress),
        "bus": _bus(effort, progress),
    }


def _operations(effort: Effort, progress: Progress) -> Json:
    """Return the CPU of an operation by mode and round, microseconds."""
    found: Json = {name: {mode: [] for mode in MODES} for name in OPERATIONS}
    commands = [
        {"operation": name, "number": max(1, round(effort.published * share))}
        for name, (_, share) in OPERATIONS.items()
    ]
    program = "tests.benchmarks.socketio_turns"
    for answers in _rounds(program, str(effort.room), commands, effort):
        for name, by_mode in zip(OPERATIONS, answers, strict=True):
            for mode, answer in by_mode.items():
                found[name][mode].append(round(answer["cpu"], 2))
        progress(f"events and emits: round {len(found['event'][BARE])} of {effort.rounds}")
    return found


def _rounds(
    program: str, argument: str, commands: Sequence[Json], effort: Effort
) -> Iterator[list[dict[str, Json]]]:
    """Yield what a process for each mode answers to the commands, by mode, round by round."""
    for first in range(0, effort.rounds, _PER_PROCESS):
        with ExitStack() as stack:
            workers = {
                mode: stack.enter_context(closing(Worker(program, mode, argument)))
                for mode in MODES
            }
            for worker in workers.values():
                worker.answer()
            # The first round warms the processes up.
            for number in range(1 + min(_PER_PROCESS, effort.rounds - first)):
                turns = list(workers) if number % 2 == 0 else list(reversed(workers))
                answers = [{mode: workers[mode].ask(**each) for mode in turns} for each in commands]
                if number:
                    yield answers


def _served(effort: Effort, progress: Progress) -> Json:
    """Return what an event takes a real server by mode."""
    found: dict[str, list[Json]] = {mode: [] for mode in MODES}
    with ExitStack() as stack:
        clients = stack.enter_context(closing(Worker(_CLIENTS)))
        machines = {mode: stack.enter_context(running(mode, program=_PROGRAM)) for mode in MODES}
        for machine in machines.values():
            turn(clients, machine, LOAD, effort.turn / 2)
        for number in range(effort.rounds):
            for mode in list(machines) if number % 2 == 0 else reversed(machines):
                found[mode].append(turn(clients, machines[mode], LOAD, effort.turn))
            progress(f"a real server: round {number + 1} of {effort.rounds}")
    return {mode: columns(rounds) for mode, rounds in found.items()}


def _memory(effort: Effort, progress: Progress) -> Json:
    """Return the server's own bytes for clients that have sent one event, by mode and process."""
    connections = most_connections(effort.scraped)
    found: dict[str, list[float]] = {mode: [] for mode in (BARE, NO_SDK, CAPPED)}
    for number in range(max(1, effort.rounds // 5)):
        for mode in list(found) if number % 2 == 0 else reversed(found):
            with closing(Worker(_CLIENTS)) as clients, running(mode, program=_PROGRAM) as machine:
                # What the first connections bring for good is not theirs.
                clients.ask(do="churn", address=machine.address, connections=200, at_once=50)
                machine.wait_for(0)
                empty = machine.private_bytes()
                _hold(clients, machine, connections)
                found[mode].append(machine.private_bytes() - empty)
        progress(f"memory: {number + 1} servers of each")
    return {"connections": connections, "bytes": found}


def _scrape(effort: Effort, progress: Progress) -> Json:
    """Return how long scrapes took, and the loop's lag with and without them, milliseconds."""
    connections, rooms = effort.scraped // 2, max(1, effort.scraped // 20)
    with closing(Worker(_CLIENTS)) as clients, running(NO_SDK, program=_PROGRAM) as machine:
        _hold(clients, machine, connections, routes=rooms)
        found = watch(machine, effort, progress)
        shown = machine.exposition()
        assert shown.total("socketio_connections_active") == connections
        assert shown.total("socketio_rooms") == rooms
    return {"connections": connections, "rooms": rooms} | found


def _hold(clients: Worker, machine: Machine, connections: int, **more: int) -> None:
    command = {"address": machine.address, "connections": connections, "at_once": 100}
    opened = clients.ask(do="hold", within=180, **command, **more)
    assert opened["failed"] == 0, f"{opened['failed']} connections failed"


def _bus(effort: Effort, progress: Progress) -> Json:
    """Return the CPU of publishing and hearing a message by mode and round, microseconds."""
    found: Json = {way: {mode: [] for mode in MODES} for way in ("publish", "hear")}
    program, commands = "tests.benchmarks.socketio_bus", [{"number": effort.published // 2}]
    with tempfile.TemporaryDirectory() as folder, single(Path(folder)) as server:
        for (answers,) in _rounds(program, server.url, commands, effort):
            for mode, answer in answers.items():
                for way, of_mode in found.items():
                    of_mode[mode].append(round(answer[way], 2))
            progress(f"the bus: round {len(found['hear'][BARE])} of {effort.rounds}")
    return found
