"""Programs in processes of their own, which may end and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.laboratory.harness.starter import Forked
from tests.servers.processes import ROOT, answers
from tests.support import wait_until

__all__ = ["Program"]


class Program:
    """A program that listens on a port.

    Args:
        arguments: Its command line.
        port: Where it listens.
        log: Where its output goes.

    Attributes:
        address: Its ``host:port``.
        process: The process that runs, or ran last.
    """

    def __init__(self, arguments: Sequence[str], port: int, log: Path) -> None:
        self.address = f"127.0.0.1:{port}"
        self._arguments = list(arguments)
        self._port = port
        self._log = log
        self.process: subprocess.Popen[bytes] | Forked | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start it; return when it listens, or at once.

        Raises:
            AssertionError: It ended before; the text is its log.
        """
        self.process = self._launch()
        if wait:
            self.listening()

    def _launch(self) -> subprocess.Popen[bytes] | Forked:
        with self._log.open("ab") as output:
            return subprocess.Popen(
                self._arguments,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def listening(self) -> None:
        """Wait until it listens.

        Raises:
            AssertionError: It ended before; the text is its log.
        """
        process = self._running()
        wait_until(lambda: process.poll() is not None or answers(self._port), 60)
        assert process.poll() is None, self._log.read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._running().send_signal(number)

    def terminate(self, within: float = 10.0) -> None:
        """Ask it to end, and wait."""
        self.signal(signal.SIGTERM)
        self._running().wait(within)

    def kill(self) -> None:
        """Kill it and all of its own processes, as a machine that fails does."""
        process = self._running()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def end(self) -> None:
        """End it, if it runs: politely, and then by force."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        self.kill()

    def _running(self) -> subprocess.Popen[bytes] | Forked:
        assert self.process is not None, "it was never started"
        return self.process
