"""The command line: every mistake is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from .arguments import make_parser

__all__ = ["main"]

#: Module -> what pip calls it.
_PACKAGES: Final = {
    "asgi_ws_observe": "asgi-ws-observe",
    "fastapi": "fastapi",
    "uvicorn": "'uvicorn[standard]'",
    "websockets": "websockets",
    "wsproto": "wsproto",
    "uvloop": "uvloop",
    "rich": "rich",
    "socketio": "python-socketio",
    "aiohttp": "aiohttp",
    "redis": "redis",
    "nats": "nats-py",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, several nodes of it, or its load.

    Args:
        arguments: Default: the process's.

    Returns:
        The exit code: 0; 1 where the load found a difference or a node of a cluster died; 2 for
        what the user can put right.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    command = options.command or ""
    try:
        _require(_needed_by_load(options) if command == "load" else _needed_by_server(options))
        return _run(command, options)
    except ValueError as problem:
        print(f"{parser.prog} {command}".strip() + f": {problem}", file=sys.stderr)
        return 2


def _run(command: str, options: argparse.Namespace) -> int:
    if command == "load":
        if options.socketio:
            from .socketio.load import load_socketio

            return load_socketio(options)
        from .load import load

        return load(options)
    if command == "socketio":
        _check_socketio(options)
    if command == "cluster" or options.nodes > 1:
        from .cluster import cluster

        return cluster(options)
    from .serve import serve

    return serve(options)


def _check_socketio(options: argparse.Namespace) -> None:
    if options.nats is not None:
        raise ValueError("--nats: python-socketio has no NATS; accepted is --redis")
    if options.workers > 1:
        raise ValueError(
            f"--workers {options.workers}: all requests of a Socket.IO client must reach the same "
            "process; accepted is 1, and --nodes for more"
        )
    first = 8001 if options.port is None else options.port
    if options.nodes > 1 and not 0 < first <= 65536 - options.nodes:
        raise ValueError(f"--port {options.port}: accepted is one that fits all nodes, from 1")


def _needed_by_load(options: argparse.Namespace) -> list[str]:
    return [*(["socketio", "aiohttp"] if options.socketio else ["websockets"]), "rich"]


def _needed_by_server(options: argparse.Namespace) -> list[str]:
    websockets = "wsproto" if options.ws == "wsproto" else "websockets"
    needed = ["asgi_ws_observe", "fastapi", "uvicorn", websockets]
    if options.loop == "uvloop":
        needed.append("uvloop")
    if options.command == "socketio":
        needed.append("socketio")
    # The page of Socket.IO's chat shows spans.
    if options.spans != "none" or options.command == "socketio":
        needed.append("opentelemetry.sdk")
    if options.spans == "otlp":
        needed.append("opentelemetry.exporter.otlp.proto.http")
    if options.nats is not None:
        needed.append("nats")
    elif options.redis is not None or options.command == "cluster" or options.nodes > 1:
        needed.append("redis")
    return needed


def _require(modules: Sequence[str]) -> None:
    missing = [_PACKAGES[module] for module in modules if not _installed(module)]
    if missing:
        raise ValueError(
            f"not installed: {', '.join(missing)}; get it: pip install {' '.join(missing)}"
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # Of a parent package.
        return False
