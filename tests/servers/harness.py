"""A real uvicorn in a thread of this process, so that its registry and its spans are at hand."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from tests.support import wait_until

#: uvicorn's three WebSocket implementations, by the name of ``--ws``.
IMPLEMENTATIONS: Final = ("websockets-sansio", "wsproto", "websockets")


@contextmanager
def serving(app: Any, implementation: str, **options: Any) -> Iterator[str]:
    """Serve an application on a free port of the loopback and yield its ``host:port``."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        ws=implementation,
        log_config=None,
        log_level="critical",
        timeout_graceful_shutdown=5,
        **options,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(15)
        listener.close()
        assert not thread.is_alive()
