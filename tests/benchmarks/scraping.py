"""What a scrape takes while thousands of connections are open, and what it does to the loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from time import perf_counter
from typing import Final

from tests.benchmarks.machines import Machine, running
from tests.benchmarks.results import Effort, Json, rounded
from tests.benchmarks.served import NO_SDK
from tests.benchmarks.workers import Worker

__all__ = ["scrape", "watch"]

_ROUTES: Final = 100


def scrape(effort: Effort, progress: Callable[[str], None]) -> Json:
    """Return how long scrapes took, and the loop's lag with and without them, milliseconds."""
    with closing(Worker("tests.benchmarks.clients")) as clients, running(NO_SDK) as machine:
        command = {"address": machine.address, "connections": effort.scraped, "routes": _ROUTES}
        clients.ask(do="hold", at_once=100, within=180, **command)
        progress(f"{effort.scraped:,} connections are open")
        found = watch(machine, effort, progress)
    return {"connections": effort.scraped, "routes": _ROUTES} | found


def watch(machine: Machine, effort: Effort, progress: Callable[[str], None]) -> Json:
    """Return the same of a server that has its connections."""
    body = machine.get("/metrics")
    calm = machine.ask(f"/lag?seconds={effort.watched}")["largest"]
    progress("watched without scrapes")
    scrapes = _Scrapes(machine)
    lagging = machine.ask(f"/lag?seconds={effort.watched}")["largest"]
    scrapes.stop()
    progress("watched while scraped every second")
    return {
        "bytes": len(body),
        "seconds": rounded((each * 1e3 for each in scrapes.inside), 2),
        "outside": rounded((each * 1e3 for each in scrapes.outside), 2),
        # The largest of each second: one scrape is in it.
        "calm": rounded((each * 1e3 for each in calm), 2),
        "lagging": rounded((each * 1e3 for each in lagging), 2),
    }


class _Scrapes:
    """Scrapes every second, from a thread, until `stop`.

    Attributes:
        outside: How long each took, seconds.
        inside: The same as the server says in the next one: the rendering alone.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.outside: list[float] = []
        self.inside: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += 1.0
            started = perf_counter()
            self._machine.get("/metrics")
            self.outside.append(perf_counter() - started)
            shown = self._machine.get("/metrics?name[]=ws_observe_scrape_seconds").decode()
            lines = [line for line in shown.splitlines() if line.startswith("ws_observe_scrape")]
            self.inside.append(float(lines[-1].split()[-1]))
