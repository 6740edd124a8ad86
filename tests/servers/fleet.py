"""Servers with several worker processes, and what a scraper of them sees."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from tests.servers.processes import Exposition, free_port, started
from tests.servers.raw import TEXT, RawClient, frame
from tests.support import wait_until

__all__ = [
    "SUPERVISORS",
    "WORKERS",
    "Asker",
    "Fleet",
    "by_worker",
    "counters",
    "fleet",
    "is_complete",
    "meeting_places",
    "slots",
    "temporary",
]

#: Who starts workers.
SUPERVISORS: Final = ("uvicorn", "gunicorn", "hypercorn", "granian")
WORKERS: Final = 3
APPLICATION: Final = "tests.servers.workers_app:app"

_COUNTER: Final = re.compile(r"^# TYPE (\w+) (?:counter|histogram)$", re.MULTILINE)

NOTHING: Final[Mapping[str, str]] = {}

Series = tuple[str, tuple[tuple[str, str], ...]]


class Asker:
    """A connection over which one and the same worker answers.

    Args:
        address: The server's ``host:port``.
    """

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=10)

    def get(self, path: str, headers: Mapping[str, str] = NOTHING) -> str:
        """Return what a GET answers."""
        self._connection.request("GET", path, headers=dict(headers))
        answer = self._connection.getresponse()
        assert 200 == answer.status
        return answer.read().decode()

    def page(self, headers: Mapping[str, str] = NOTHING) -> Exposition:
        """Return what `/metrics` says."""
        return Exposition(self.get("/metrics", headers))

    def close(self) -> None:
        """Close it."""
        self._connection.close()


class Fleet:
    """A server with its workers.

    Args:
        address: Its ``host:port``.
        supervisor: The id of the process that starts the workers.
        directory: Its directory for temporary files.

    Attributes:
        address: As given.
        supervisor: As given.
        log: Where its output goes.
        clients: The WebSockets that `fill` opened.
    """

    def __init__(self, address: str, supervisor: int, directory: Path) -> None:
        self.address = address
        self.supervisor = supervisor
        self.log = directory / "log"
        self.clients: list[RawClient] = []
        self._opened = ExitStack()
        self._askers: dict[int, Asker] = {}

    def page(self) -> Exposition:
        """Return what `/metrics` of any worker says."""
        with closing(Asker(self.address)) as asker:
            return asker.page()

    def askers(self, number: int = WORKERS) -> dict[int, Asker]:
        """Return a connection to each of so many workers, by their process ids."""

        def all_found() -> bool:
            # They stay: an idle worker would take the next one again.
            asker = self._opened.enter_context(closing(Asker(self.address)))
            self._askers.setdefault(int(asker.get("/pid")), asker)
            return len(self._askers) >= number

        if len(self._askers) < number:
            wait_until(all_found)
        return self._askers

    def fill(self, number: int = WORKERS) -> int:
        """Open WebSockets until each of so many workers has some, and return how many."""

        def all_have_some() -> bool:
            client = self._opened.enter_context(closing(RawClient(self.address, "/rooms/a")))
            client.opened()
            self.clients.append(client)
            self.say()
            active = by_worker(self.page(), "ws_connections_active")
            return len(active) == number and all(active.values())

        wait_until(all_have_some, 20)
        return len(self.clients)

    def say(self) -> None:
        """Let the last client say something and hear it back."""
        client = self.clients[-1]
        client.send(frame(TEXT, b"hello"))
        client.read_frames(client.frames + 1)

    def leave(self) -> None:
        """Close all connections."""
        self._opened.close()
        self._askers.clear()
        self.clients.clear()

    def is_complete(self, number: int = WORKERS) -> bool:
        """Return whether so many workers answer, and all that live."""
        return is_complete(self.page(), number)

    def lines(self, part: str) -> list[str]:
        """Return the lines of the log with this in them."""
        return [line for line in self.log.read_text().splitlines() if part in line]


def by_worker(page: Exposition, name: str) -> dict[str, float]:
    """Return the sums of a metric by the label `worker`."""
    found: dict[str, float] = {}
    for labels, value in page.samples(name):
        worker = labels.get("worker", "")
        found[worker] = found.get(worker, 0) + value
    return found


def slots(page: Exposition) -> dict[int, str]:
    """Return the label `worker` of all processes that answer, by their ids."""
    return {int(value): labels["worker"] for labels, value in page.samples("app_pid")}


def is_complete(page: Exposition, number: int = WORKERS) -> bool:
    """Return whether so many workers answered, and all that live."""
    up = by_worker(page, "ws_observe_worker_up")
    return len(up) == number and all(up.values())


def counters(page: Exposition) -> dict[Series, float]:
    """Return every series that never falls."""
    return {
        (name, tuple(sorted(labels.items()))): value
        for family in _COUNTER.findall(page.text)
        for name in (family, f"{family}_count", f"{family}_bucket")
        for labels, value in page.samples(name)
    }


def meeting_places(directory: Path) -> list[str]:
    """Return what there is of ours in a directory for temporary files."""
    return sorted(each.name for each in directory.glob("asgi-ws-observe-*"))


@contextmanager
def temporary() -> Iterator[Path]:
    """A directory with a short name: the path of a socket has at most 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="w-", dir="/tmp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def fleet(
    server: str,
    *options: str,
    directory: Path,
    workers: int = WORKERS,
    environment: Mapping[str, str] = NOTHING,
) -> Iterator[Fleet]:
    """Run a server until the end of the block; then all its processes have ended.

    Args:
        server: One of `SUPERVISORS`.
        options: More arguments of its command line.
        directory: For its temporary files, and its log.
        workers: How many.
        environment: More of it.
    """
    port = free_port()
    arguments = [*command(server, port, workers), *options, APPLICATION]
    given = {"TMPDIR": str(directory), **environment}
    with started(arguments, port, directory / "log", **given) as process:
        running = Fleet(f"127.0.0.1:{port}", process.pid, directory)
        with contextlib.closing(running._opened):
            yield running


def command(server: str, port: int, workers: int) -> list[str]:
    """Return the beginning of a server's command line."""
    address, number = f"127.0.0.1:{port}", str(workers)
    given = {
        # Connections stay open, and nobody ends a worker that is stopped or blocked for a while.
        "uvicorn": [
            *("--port", str(port), "--workers", number),
            *("--timeout-keep-alive", "60", "--timeout-worker-healthcheck", "60"),
        ],
        "gunicorn": [
            *("-b", address, "-w", number, "-k", "uvicorn_worker.UvicornWorker"),
            *("--keep-alive", "60", "--timeout", "60"),
        ],
        "hypercorn": ["-b", address, "-w", number, "--keep-alive", "60"],
        "granian": [
            *("--interface", "asgi", "--port", str(port), "--workers", number),
            "--respawn-failed-workers",
        ],
    }
    return [sys.executable, "-m", server, *given[server]]
