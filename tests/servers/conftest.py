"""Fixtures for servers in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.servers.processes import Process, running

Start = Callable[..., Process]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """A function that takes what `running` takes; the same server again is the one that runs."""
    logs = tmp_path_factory.mktemp("servers")
    started: dict[tuple[Any, ...], Process] = {}
    with ExitStack() as opened:

        def start(server: str, *options: str, **settings: Any) -> Process:
            key = (server, options, *sorted(settings.items()))
            if key not in started or started[key].process.poll() is not None:
                log = logs / f"{len(started)}.log"
                started[key] = opened.enter_context(running(server, *options, log=log, **settings))
            return started[key]

        yield start
        # All at once, since each takes a while.
        for each in started.values():
            each.process.terminate()
