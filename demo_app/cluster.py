"""``python -m demo_app cluster``: several nodes, and a broker between them."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from .brokers import Broker, listens, own_broker
from .children import Child

__all__ = ["cluster"]

#: Seconds that everything may take to start.
_PATIENCE: Final = 30.0
#: Seconds after which a broker that somebody killed is started again.
_RESTART: Final = 8.0
_LOOK: Final = 0.1

#: What is given to every node as it was given here.
_FORWARDED: Final = ("host", "workers", "ws", "loop", "spans", "log_level")


class _Stopped(Exception):  # noqa: N818
    """Somebody wants this to end."""


def cluster(options: Namespace) -> int:
    """Run nodes until a signal ends them, or one dies.

    Args:
        options: As `demo_app.cli` parses them.

    Returns:
        The exit code: 0 after Ctrl-C or SIGTERM; 1 where a node died.

    Raises:
        ValueError: It cannot start; says so in one line.
    """
    if options.redis is not None and options.nats is not None:
        raise ValueError("--redis and --nats: accepted is one of them")
    with ExitStack() as stack:
        stop = stack.enter_context(_signals())
        found = Path(stack.enter_context(TemporaryDirectory(prefix="demo_app-")))
        running = Cluster(options, found, stop)
        stack.callback(running.end)
        try:
            running.start()
            running.explain()
            return running.watch()
        except _Stopped:
            return 0


class Cluster:
    """The processes.

    Args:
        options: As `demo_app.cli` parses them.
        directory: For the broker's files.
        stop: Set when all of it is to end.
    """

    def __init__(self, options: Namespace, directory: Path, stop: threading.Event) -> None:
        self._options = options
        self._stop = stop
        # Which of the chats; the usual one has no word.
        self._chat = ["socketio"] if options.command == "socketio" else []
        first = options.port or 8001
        self._names = {
            port: f"{options.node or 'node'}-{port}" for port in range(first, first + options.nodes)
        }
        self._system = "redis" if options.nats is None else "nats"
        given = options.redis or options.nats
        # Found before anything is started.
        self._broker = None if given else own_broker(self._system, directory)
        self._url = self._broker.url if self._broker else given
        self._broker_child: Child | None = None
        self._back_at: float | None = None
        self._nodes: list[Child] = []

    def start(self) -> None:
        """Start the broker, if it is one of ours, and the nodes; wait until all are up.

        Raises:
            ValueError: A port is taken, one is not up in time, or died.
        """
        for port in self._names:
            if listens(_here(self._options.host), port):
                raise ValueError(f"port {port} is taken; choose others with --port")
        ends = time.monotonic() + _PATIENCE
        if self._broker is not None:
            self._broker_child = child = _started(self._broker)
            self._wait(self._broker.is_up, child, ends)
        for port, name in self._names.items():
            self._nodes.append(Child(name, self._command(port, name)))
        for port, node in zip(self._names, self._nodes, strict=True):
            self._wait(partial(self._is_up, port), node, ends)

    def _command(self, port: int, name: str) -> list[str]:
        given = [f"--{self._system}", self._url, "--port", str(port), "--node", name]
        for name in _FORWARDED:
            given += [f"--{name.replace('_', '-')}", str(getattr(self._options, name))]
        return [sys.executable, "-m", "demo_app", *given, *self._chat]

    def _wait(self, condition: Callable[[], bool], child: Child, ends: float) -> None:
        while not condition():
            if child.code is not None:
                raise ValueError(f"{child.name} ended with {child.code} before it was up")
            if time.monotonic() > ends:
                raise ValueError(f"{child.name} is not up after {_PATIENCE:g} s")
            if self._stop.wait(_LOOK):
                raise _Stopped

    def _is_up(self, port: int) -> bool:
        about = _about(self._options.host, port)
        if about.get("node") != self._names[port]:
            return False
        # A broker that was given may be down: that is something to watch as well.
        return self._broker is None or bool(about["bus"]["up"])

    def explain(self) -> None:
        """Say where the nodes are and what to try."""
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        urls = [f"http://{host}:{port}" for port in self._names]
        load = " ".join(
            ["load", *(f"--{chat}" for chat in self._chat)]
            + [f"--url {url.replace('http', 'ws')}" for url in urls]
        )
        names = self._names.values()
        lines = [f"{name}: {url}" for name, url in zip(names, urls, strict=True)]
        lines += ["Open all of them, talk, and look where each message comes from."]
        if self._broker_child is not None:
            pid = self._broker_child.pid
            lines += [
                f"Kill the bus and watch: kill {pid}; it is started again after {_RESTART:g} s.",
                f"Or let it hang: kill -STOP {pid}, later kill -CONT {pid}.",
            ]
        lines += [f"Real clients: python -m demo_app {load}", "Ctrl-C ends all of it."]
        print("\n".join(lines), flush=True)

    def watch(self) -> int:
        """Wait until somebody stops it, or a node dies; start a broker again that was killed.

        Returns:
            The exit code.
        """
        while not self._stop.wait(_LOOK):
            for node in self._nodes:
                if node.code is not None:
                    print(f"{node.name} ended with {node.code}; so do all.", file=sys.stderr)
                    return 1
            if self._broker is not None:
                self._revive(self._broker)
        return 0

    def _revive(self, broker: Broker) -> None:
        child, now = self._broker_child, time.monotonic()
        if child is None or child.code is None:
            return
        if self._back_at is None:
            self._back_at = now + _RESTART
            _say(f"{child.name} was ended; it is started again in {_RESTART:g} s.")
        elif now >= self._back_at:
            child.end()
            self._back_at = None
            self._broker_child = again = _started(broker)
            _say(f"{again.name} runs again, as process {again.pid}.")

    def end(self) -> None:
        """End everything that was started here, the nodes first, each by its own process."""
        for node in self._nodes:
            node.tell_to_end()
        for node in self._nodes:
            node.end()
        if self._broker_child is not None:
            self._broker_child.end()


def _started(broker: Broker) -> Child:
    return Child(broker.system, broker.command)


def _say(text: str) -> None:
    print(text, flush=True)


def _here(host: str) -> str:
    """Return where to reach who listens on an address, which may stand for all."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _about(host: str, port: int) -> dict[str, Any]:
    """Return what a node says about itself; nothing where it does not answer."""
    # No urllib: a proxy of the environment would be in the way.
    connection = HTTPConnection(_here(host), port, timeout=5)
    try:
        connection.request("GET", "/about")
        found = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return found if isinstance(found, dict) else {}


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set an event at Ctrl-C, at SIGTERM and when the terminal is closed."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
