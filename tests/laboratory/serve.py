"""Starts nodes from one process that has imported everything, so that a start takes no second.

In the alerts' time a second is a minute, and no node takes two minutes to start. Orders come on
stdin, a JSON object each line (``arguments``, ``environment``, ``log``); the process id of the
node is the answer. It runs until stdin ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

import uvicorn.main

import tests.laboratory.app  # noqa: F401

__all__ = ["main"]


def main() -> None:
    """Start what is ordered."""
    # Nobody waits for a node here: the kernel takes it away.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while line := sys.stdin.readline():
        pid = os.fork()
        if not pid:
            _serve(json.loads(line))
        print(pid, flush=True)


def _serve(order: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order["environment"])
    status = 1
    try:
        uvicorn.main.main(order["arguments"], standalone_mode=False)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
