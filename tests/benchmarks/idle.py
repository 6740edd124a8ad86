"""How long the periodic work holds the event loop while thousands of connections are idle."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings, WebSocketObserveMiddleware, timers
from tests.benchmarks.results import Effort, Json
from tests.benchmarks.served import Application
from tests.servers.harness import serving
from tests.support import total, wait_until

__all__ = ["look"]

_CLIENTS: Final = """
import sys
from tests.servers.raw import RawClient
kept = []
for number in range(int(sys.argv[2])):
    client = RawClient(sys.argv[1], "/")
    client.read_until(b"\\r\\n\\r\\n")
    kept.append(client)
print("connected", flush=True)
sys.stdin.read()
"""


@dataclass
class _Held:
    """How long single callbacks of the periodic work took.

    Attributes:
        wall: By the clock, seconds: what others on the machine take is in it.
        cpu: Of the thread's CPU time, seconds, without the garbage collector's.
        collector: The garbage collector's within them: it goes through the objects of all
            connections, whoever's turn it is when it is due.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    collector: list[float] = field(default_factory=list)


@contextmanager
def _measured(held: _Held) -> Iterator[None]:
    original = timers.Timer._call
    collecting = began = 0.0

    def collector(phase: str, _: object) -> None:
        nonlocal collecting, began
        if phase == "start":
            began = time.thread_time()
        else:
            collecting += time.thread_time() - began

    def measured(self: timers.Timer, callback: Any) -> None:
        wall, cpu, before = perf_counter(), time.thread_time(), collecting
        original(self, callback)
        held.wall.append(perf_counter() - wall)
        held.collector.append(collecting - before)
        held.cpu.append(time.thread_time() - cpu - held.collector[-1])

    timers.Timer._call = measured  # type: ignore[method-assign]
    gc.callbacks.append(collector)
    try:
        yield
    finally:
        gc.callbacks.remove(collector)
        timers.Timer._call = original  # type: ignore[method-assign]


def look(effort: Effort, progress: Callable[[str], None]) -> Json:
    """Return how long callbacks of the periodic work took, milliseconds."""
    held = _idle(effort.scraped, effort.watched)
    progress(f"{len(held.wall)} callbacks were measured")
    return {
        "connections": effort.scraped,
        "callbacks": len(held.wall),
        "median": round(statistics.median(held.wall) * 1e3, 3),
        "longest": round(max(held.wall) * 1e3, 3),
        "cpu": round(max(held.cpu) * 1e3, 3),
        "collector": round(max(held.collector) * 1e3, 3),
    }


def _idle(connections: int, seconds: float) -> _Held:
    """Return how long callbacks took while so many connections were idle for so long."""
    held = _Held()
    registry = CollectorRegistry()
    settings = Settings(
        log_handler="off", connection_span="off", look_interval=2.0, heartbeat_interval=5.0
    )
    app = WebSocketObserveMiddleware(Application(), settings=settings, registry=registry)
    with serving(app, "websockets-sansio", loop="uvloop", ws_ping_interval=None) as address:
        with subprocess.Popen(
            [sys.executable, "-c", _CLIENTS, address, str(connections)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as clients:
            assert clients.stdout is not None
            assert clients.stdout.readline() == b"connected\n"
            with _measured(held):
                ends = perf_counter() + seconds
                wait_until(lambda: perf_counter() > ends, seconds + 10)
            assert total(registry, "ws_connections_active") == connections
            clients.communicate()
        wait_until(lambda: total(registry, "ws_connections_active") == 0, 60)
    return held
