"""What one client that does not read costs the others of its room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from tests.benchmarks.machines import Machine, running
from tests.benchmarks.results import Effort, Json, rounded
from tests.benchmarks.rooms import EVERYBODY
from tests.benchmarks.served import NO_SDK
from tests.benchmarks.workers import Worker
from tests.servers.raw import RawClient
from tests.support import wait_until

__all__ = ["hub"]

#: Seconds between two messages to everybody.
_INTERVAL: Final = 0.06
_SLOW: Final = "/hub/slow"


def hub(effort: Effort, progress: Callable[[str], None]) -> Json:
    """Return the latency of a room without and with a client that does not read: milliseconds."""
    found: dict[str, list[Json]] = {"without": [], "with": []}
    with closing(Worker("tests.benchmarks.clients")) as clients, running(NO_SDK) as machine:
        readers = effort.room - 1
        clients.ask(do="listen", address=machine.address, path=EVERYBODY, connections=readers)
        _turn(clients, machine, effort)
        held = []
        for number in range(effort.rounds):
            # Each goes first as often as the other.
            for which in ("without", "with") if number % 2 == 0 else ("with", "without"):
                if which == "without":
                    found[which].append(_turn(clients, machine, effort))
                    continue
                before = machine.private_bytes()
                with closing(RawClient(machine.address, _SLOW)) as slow:
                    slow.opened()
                    wait_until(lambda: machine.ask("/hub/size")["open"] == readers + 1)
                    machine.ask(f"/hub/fill?path={_SLOW}")
                    found[which].append(_turn(clients, machine, effort))
                    held.append((machine.private_bytes() - before) / 2**20)
                    slow.reset()
                wait_until(lambda: machine.ask("/hub/size")["open"] == readers)
            progress(f"round {number + 1} of {effort.rounds}")
        unaccounted = _unaccounted(machine)
    return {
        "connections": effort.room,
        "rows": [
            {"name": name, **{key: _column(rounds, key) for key in ("p50", "p99", "largest")}}
            for name, rounds in found.items()
        ],
        "held": rounded(held, 2),
        "unaccounted": unaccounted,
    }


def _turn(clients: Worker, machine: Machine, effort: Effort) -> Json:
    """Send to everybody; return what those who read saw."""
    number = max(5, round(effort.turn / _INTERVAL * 4))
    machine.ask(f"/hub/publish?number={number}&interval={_INTERVAL}")
    heard = clients.ask(do="heard", messages=number * (effort.room - 1))
    return {key: heard[key] * 1e3 for key in ("p50", "p99", "largest")}


def _unaccounted(machine: Machine) -> int:
    """Return how many messages a queue took that were neither sent nor counted as dropped."""
    shown = machine.exposition()
    taken = shown.total("ws_fanout_recipients_sum")
    sent = shown.total("ws_messages_total", direction="out")
    return round(taken - sent - shown.total("ws_messages_dropped_total"))


def _column(rounds: list[Any], key: str) -> list[float]:
    return rounded((each[key] for each in rounds), 3)
