"""The process that nodes are started from, see `tests.laboratory.serve`."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.servers.processes import ROOT

__all__ = ["Forked", "Starter"]


class Forked:
    """A process that is no child of this one; used as `subprocess.Popen` is.

    Args:
        pid: Its id.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        # The id could be another process's one day; this one stays its own.
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return 0 where it has ended, whatever its exit status was, else `None`."""
        return self._ended_within(0)

    def wait(self, timeout: float) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It has not ended within so many seconds.
        """
        if self._ended_within(timeout) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return 0

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _ended_within(self, seconds: float) -> int | None:
        return 0 if select.select([self._handle], [], [], seconds)[0] else None

    def __del__(self) -> None:
        os.close(self._handle)


class Starter:
    """Starts nodes; a context manager."""

    def __enter__(self) -> Starter:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.laboratory.serve"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders: IO[str] = self._process.stdin
        self._answers: IO[str] = self._process.stdout
        assert self._answers.readline() == "ready\n", "the nodes cannot be imported"
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.close()
        self._process.wait(10)
        self._answers.close()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
        """Start uvicorn with these arguments."""
        order = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "log": str(log.absolute()),
        }
        with self._lock:
            self._orders.write(json.dumps(order) + "\n")
            self._orders.flush()
            return Forked(int(self._answers.readline()))
