"""Servers in processes of their own, and what the kernel says of them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.results import ROOT, Json
from tests.servers.processes import Exposition, answers, free_port
from tests.support import wait_until

__all__ = ["Machine", "running"]


class Machine:
    """A running server.

    Args:
        pid: Its process id.
        port: Where it listens, on the loopback.

    Attributes:
        address: Its ``host:port``.
    """

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.address = f"127.0.0.1:{port}"

    def cpu(self) -> float:
        """Return the CPU time of its threads so far, seconds; by the nanosecond."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def private_bytes(self) -> int:
        """Return the memory that is its own, after a collection of garbage."""
        self.ask("/collect")
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        lines = (line.split() for line in text.splitlines() if line.startswith("Private_"))
        return 1024 * sum(int(line[1]) for line in lines)

    def ask(self, path: str) -> Json:
        """Return what it answers to the benchmark's own question."""
        answer: Json = json.loads(self.get(path))
        return answer

    def get(self, path: str) -> bytes:
        """Return what a GET answers."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=120) as answer:
            return bytes(answer.read())

    def exposition(self) -> Exposition:
        """Return what `/metrics` says now."""
        return Exposition(self.get("/metrics").decode())

    def wait_for(self, connections: int, within: float = 60.0) -> None:
        """Wait until its application has so many WebSockets."""

        def there() -> bool:
            time.sleep(0.05)
            return bool(self.ask("/open")["open"] == connections)

        wait_until(there, within)


@contextlib.contextmanager
def running(
    mode: str,
    implementation: str = "websockets-sansio",
    loop: str = "uvloop",
    program: str = "tests.benchmarks.served",
) -> Iterator[Machine]:
    """Run a server in one of the modes of a program until the end of the block."""
    port = free_port()
    arguments = ["-m", program, mode, implementation, loop, str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=log, stderr=log)
        try:
            wait_until(lambda: process.poll() is not None or answers(port), 60)
            if process.poll() is not None:
                log.seek(0)
                raise RuntimeError(log.read().decode(errors="replace"))
            yield Machine(process.pid, port)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
