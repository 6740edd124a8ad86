"""Runs the demo, either of its chats, under uvicorn."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from argparse import Namespace
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from uvicorn.config import WS_PROTOCOLS

from .telemetry import log_config

__all__ = ["serve"]


class _Server(uvicorn.Server):
    """Ends long polls before it waits for the end of all requests."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        end_polls = getattr(getattr(self.config.app, "state", None), "end_polls", None)
        if end_polls is not None:
            await end_polls()
        await super().shutdown(sockets)


def serve(options: Namespace) -> int:
    """Serve until a signal ends it.

    Args:
        options: As `demo_app.cli` parses them.

    Returns:
        The exit code.

    Raises:
        ValueError: This machine, or this uvicorn, cannot do what the options say; says so in one
            line.
    """
    if options.ws not in WS_PROTOCOLS:
        raise ValueError(
            f"uvicorn {uvicorn.__version__} has no --ws {options.ws}; "
            "get a newer one: pip install -U uvicorn"
        )
    listener = _bind(options.host, 8000 if options.port is None else options.port)
    port = listener.getsockname()[1]
    os.environ["DEMO_APP_WORKERS"] = str(options.workers)
    os.environ["DEMO_APP_SPANS"] = options.spans
    os.environ["DEMO_APP_NODE"] = options.node or f"node-{port}"
    os.environ["DEMO_APP_PORT"] = str(port)
    os.environ["DEMO_APP_BUS"] = options.redis or options.nats or ""
    arguments: dict[str, Any] = {
        **_application(options.command),
        "host": options.host,
        "port": port,
        "workers": options.workers,
        "ws": options.ws,
        "loop": options.loop,
        "log_config": log_config(options.log_level),
        # The page asks for /metrics every two seconds.
        "access_log": False,
        "timeout_graceful_shutdown": 5,
    }
    _greet(options, listener)
    if options.workers > 1:
        # The supervisor binds for all its workers.
        listener.close()
        uvicorn.run(**arguments)
        return 0
    # uvicorn shuts down and then raises the signal again, for whoever had a handler before.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = _Server(uvicorn.Config(**arguments))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _application(command: str | None) -> dict[str, Any]:
    if command == "socketio":
        from .socketio.app import create_app

        return {"app": create_app()}
    # By its name, since each worker makes its own.
    return {"app": "demo_app.app:create_app", "factory": True}


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    # A port whose last user is gone is free, although the kernel still remembers it.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Two may bind one port before either listens.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ValueError(
            f"cannot listen on {host} port {port} ({error.strerror}); "
            f"choose another with --port, or --port 0 for any"
        ) from None
    return listener


def _greet(options: Namespace, listener: socket.socket) -> None:
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    print(f"The chat is at {url} and its numbers at {url}/metrics; Ctrl-C ends it.", flush=True)
    given = options.redis or options.nats
    if given:
        bus = urlsplit(given)
        # Not the URL as it is: it may hold a password.
        print(
            f"This is {os.environ['DEMO_APP_NODE']}; it shares its rooms with all nodes on "
            f"{bus.scheme}://{bus.hostname}{f':{bus.port}' if bus.port else ''}.",
            flush=True,
        )
    if options.workers > 1:
        rooms = "" if given else " Each has its own rooms; --redis URL or --nats URL joins them."
        print(
            f"{options.workers} workers: whichever answers /metrics answers for all.{rooms}",
            flush=True,
        )
