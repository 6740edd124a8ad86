"""Servers in processes of their own, read by ``/metrics`` and by their log lines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from tests.servers.harness import IMPLEMENTATIONS
from tests.support import wait_until

ROOT: Final = Path(__file__).parents[2]
APPLICATION: Final = "tests.servers.observed:app"
#: Every uvicorn, as `command` takes it: each implementation on each event loop.
UVICORNS: Final = tuple(
    f"uvicorn/{implementation}/{loop}"
    for implementation in IMPLEMENTATIONS
    for loop in ("asyncio", "uvloop")
)
SERVERS: Final = (*UVICORNS, "hypercorn", "daphne", "granian")

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Exposition:
    """What `/metrics` said at one time.

    Attributes:
        text: Its text.
    """

    text: str

    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """Return the samples of this name that have at least these labels."""
        found = []
        for sample, text, value in _SAMPLE.findall(self.text):
            if sample == name:
                all_labels = dict(_LABEL.findall(text))
                if labels.items() <= all_labels.items():
                    found.append((all_labels, float(value)))
        return found

    def total(self, name: str, **labels: str) -> float:
        """Return their sum."""
        return sum(value for _, value in self.samples(name, **labels))

    def distribution(self, name: str, route: str) -> tuple[int, float]:
        """Return how many observations a histogram has, and their sum."""
        return int(self.total(f"{name}_count", route=route)), self.total(f"{name}_sum", route=route)

    def below(self, name: str, route: str, bound: str) -> int:
        """Return how many of them are at most as large as one of its bounds."""
        return int(self.total(f"{name}_bucket", route=route, le=bound))


@dataclass
class Process:
    """A running server.

    Attributes:
        address: Its ``host:port``.
        process: The process.
        log: Where its output goes.
    """

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> str:
        """Return what a GET answers."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def exposition(self) -> Exposition:
        """Return what `/metrics` says now."""
        return Exposition(self.get("/metrics"))

    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """Return the samples of this name that have at least these labels."""
        return self.exposition().samples(name, **labels)

    def total(self, name: str, **labels: str) -> float:
        """Return their sum."""
        return self.exposition().total(name, **labels)

    def distribution(self, name: str, route: str) -> tuple[int, float]:
        """Return how many observations a histogram has, and their sum."""
        return self.exposition().distribution(name, route)

    def endings(self) -> dict[str, tuple[int, str, str]]:
        """Return (code, closed by, reason) of the last kind of close by route."""
        return {
            labels["route"]: (int(labels["code"]), labels["closed_by"], labels["reason"])
            for labels, value in self.samples("ws_closes_total")
            if value
        }

    def failures(self) -> dict[str, str]:
        """Return the reason of the last kind of failed handshake by route."""
        return {
            labels["route"]: labels["reason"]
            for labels, value in self.samples("ws_handshake_failures_total")
            if value
        }

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the library's log lines, or those of an event."""
        every = (
            json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")
        )
        return [line for line in every if not event or line.get("event") == event]

    def own_errors(self) -> dict[str, float]:
        """Return how many errors of the monitoring itself there were, by part; empty for none."""
        found = self.samples("ws_observe_errors_total")
        return {labels["part"]: value for labels, value in found if value}

    def end(self, number: int = signal.SIGTERM, within: float = 10.0) -> int:
        """Send a signal and return the exit status.

        Raises:
            subprocess.TimeoutExpired: The process has not ended within so many seconds.
        """
        self.process.send_signal(number)
        return self.process.wait(within)


def command(server: str, port: int, options: list[str], python: str = sys.executable) -> list[str]:
    """Return the command line of a server.

    Args:
        server: ``uvicorn/IMPLEMENTATION/LOOP``, ``hypercorn``, ``daphne`` or ``granian``.
        port: Where it listens.
        options: More arguments.
        python: Which interpreter.
    """
    kind, _, rest = server.partition("/")
    if kind == "uvicorn":
        implementation, _, loop = rest.partition("/")
        given = ["--ws", implementation, "--loop", loop or "asyncio", "--port", str(port)]
        return [python, "-m", "uvicorn", APPLICATION, *given, *options]
    if kind == "hypercorn":
        return [python, "-m", "hypercorn", "-b", f"127.0.0.1:{port}", *options, APPLICATION]
    if kind == "daphne":
        return [python, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), *options, APPLICATION]
    given = ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)]
    return [python, "-m", "granian", *given, *options, APPLICATION]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def started(
    arguments: list[str], port: int, log: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program from when it listens until the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or answers(port), 60)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        _end(process)


@contextmanager
def running(
    server: str, *options: str, python: str = sys.executable, log: Path, **settings: Any
) -> Iterator[Process]:
    """Run a server until the end of the block.

    Args:
        server: As in `command`.
        options: More arguments of its command line.
        python: Which interpreter.
        log: Where its output goes.
        settings: Fields of `Settings`.
    """
    port = free_port()
    arguments = command(server, port, list(options), python)
    environment = {f"ASGI_WS_OBSERVE_{name.upper()}": str(settings[name]) for name in settings}
    with started(arguments, port, log, **environment) as process:
        yield Process(f"127.0.0.1:{port}", process, log)


def chosen_servers(request: pytest.FixtureRequest) -> list[str]:
    """Return the servers that the chosen tests of this module need."""
    chosen = {
        item.callspec.params["server"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    }
    return [server for server in SERVERS if server in chosen]


def absent(reason: str) -> NoReturn:
    """Skip a test for want of a program; under CI, which has them all, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(*names: str, package: str) -> str:
    """Return the path of a program that has one of these names; without it as `absent`."""
    found = [shutil.which(name) or shutil.which(name, path="/usr/sbin") for name in names]
    return next(filter(None, found), None) or absent(
        f"{names[0]} is missing; get it with: apt-get install {package}"
    )


def answers(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and its workers, which are in a session of their own."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
