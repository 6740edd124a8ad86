"""Child processes whose output is forwarded, and which end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Final

__all__ = ["Child"]

#: Seconds that a child may take to end when it is told to; uvicorn gives its connections five.
_PATIENCE: Final = 10.0

_printing = threading.Lock()


class Child:
    """A process in a session of its own, so that Ctrl-C is the parent's alone to handle.

    Args:
        name: Stands in front of every line that it prints.
        command: Its command line.
        environment: What it has beside this process's environment.

    Attributes:
        name: The same.
        pid: Its process id.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(  # noqa: S603
            command,
            env={**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._process.pid
        pipes = (self._process.stdout, sys.stdout), (self._process.stderr, sys.stderr)
        self._readers = [
            threading.Thread(target=_forward, args=(name, *pipe), daemon=True) for pipe in pipes
        ]
        for reader in self._readers:
            reader.start()

    @property
    def code(self) -> int | None:
        """How it ended, negative for a signal; `None` while it runs."""
        return self._process.poll()

    def tell_to_end(self) -> None:
        """Ask it to end; nothing where it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
            # Somebody may have stopped it to see what happens.
            self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Wait for its end, which is enforced when it takes too long."""
        self.tell_to_end()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            # What it started itself may still hold the other end.
            reader.join(1)


def _forward(name: str, source: IO[bytes], target: IO[str]) -> None:
    with source:
        for line in source:
            text = line.decode(errors="replace").rstrip("\n")
            # One write, or the lines of two children get mixed.
            # Who no longer listens to the parent must not make the child wait.
            with _printing, suppress(OSError, ValueError):
                target.write(f"{name} | {text}\n")
                target.flush()
