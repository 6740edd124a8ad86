"""Processes of their own that do what they are told: a line of JSON in, a line of JSON out."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any, TextIO

from tests.benchmarks.results import ROOT, Json

__all__ = ["Worker", "WorkerError", "answer_lines", "own_output"]


class WorkerError(Exception):
    """A worker has ended, or does not answer. The text is what it said last."""


class Worker:
    """A module that runs as a program and answers commands.

    Args:
        module: Its name.
        arguments: Its arguments.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.pid = self._process.pid

    def ask(self, within: float = 120.0, **command: Any) -> Json:
        """Return the answer to a command.

        Raises:
            WorkerError: There is none within so many seconds.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        return self.answer(within)

    def answer(self, within: float = 120.0) -> Json:
        """Return the next line that it writes; see `ask`."""
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], within)
        line = output.readline() if ready else ""
        if not line:
            raise WorkerError(self._last_words() or f"no answer within {within:.0f} s")
        answer: Json = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def own_output() -> TextIO:
    """Return the standard output; whoever else prints to it, prints to stderr from now on."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return output


def answer_lines(output: TextIO, answer: Callable[[Json], Json]) -> None:
    """Answer the commands on stdin until it ends."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=output, flush=True)
