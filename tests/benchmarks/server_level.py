"""What observation costs a real server: CPU an echo, and bytes a connection."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.benchmarks.asgi_level import echo
from tests.servers.harness import serving
from tests.servers.processes import _answers as answers
from tests.servers.processes import free_port
from tests.servers.raw import TEXT, RawClient, frame
from tests.support import wait_until

__all__ = ["MODES", "application", "connection_bytes", "echo_cpu", "ratio"]

#: What is compared: no observation, what ASGI tells, and with the probe of the server.
MODES: Final = ("bare", "without probe", "full probe")

_TICK: Final = os.sysconf("SC_CLK_TCK")
_SERVE: Final = """
import sys, uvicorn
from tests.benchmarks.server_level import application
mode, implementation, loop, port = sys.argv[1:]
uvicorn.run(application(mode), ws=implementation, loop=loop, port=int(port), log_config=None,
            ws_per_message_deflate=False)
"""


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Echo, and take part in the lifespan."""
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
        return
    while (message := await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": message["type"] + ".complete"})


def application(mode: str) -> Any:
    """Return the echo in one of the `MODES`."""
    if mode == "bare":
        return bare
    settings = Settings(
        log_handler="off",
        connection_span="off",
        probe="auto" if mode == "full probe" else "off",
        heartbeat_interval=20.0,
    )
    return WebSocketObserveMiddleware(bare, settings=settings, registry=CollectorRegistry())


@contextmanager
def _running(mode: str, implementation: str, loop: str) -> Iterator[tuple[int, str]]:
    """Run a server in a process of its own; yield its process id and its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, mode, implementation, loop, str(port)]
    )
    try:
        wait_until(lambda: process.poll() is not None or answers(port), 30)
        yield process.pid, f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _cpu(pid: int) -> float:
    """Return the CPU time of a process, seconds."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _echoes(address: str, number: int) -> None:
    client = RawClient(address, "/")
    client.read_until(b"\r\n\r\n")
    message = frame(TEXT, b"x" * 64)
    for _ in range(number):
        client.send(message)
        left = 66
        while left:
            left -= len(client._socket.recv(left))
    client.close()


def echo_cpu(
    implementation: str, loop: str, rounds: int, messages: int
) -> Iterator[dict[str, list[float]]]:
    """Yield after each round the server's CPU time an echo, microseconds, by mode."""
    results: dict[str, list[float]] = {mode: [] for mode in MODES}
    with ExitStack() as stack:
        servers = {
            mode: stack.enter_context(_running(mode, implementation, loop)) for mode in MODES
        }
        for _, address in servers.values():
            _echoes(address, 2000)
        for _ in range(rounds):
            for mode, (pid, address) in servers.items():
                before = _cpu(pid)
                _echoes(address, messages)
                results[mode].append((_cpu(pid) - before) / messages * 1e6)
            yield results


def ratio(results: dict[str, list[float]], mode: str) -> float:
    """Return the median over the rounds of a mode's cost through the bare one's."""
    pairs = zip(results[mode], results["bare"], strict=True)
    return statistics.median(cost / floor for cost, floor in pairs)


def connection_bytes(mode: str, loop: str, connections: int = 300) -> float:
    """Return the memory of one open connection, server and client together, bytes."""
    with serving(
        application(mode), "websockets-sansio", loop=loop, ws_ping_interval=None
    ) as address:

        def opened(number: int) -> list[RawClient]:
            clients = [RawClient(address, "/") for _ in range(number)]
            for client in clients:
                client.read_until(b"\r\n\r\n")
            return clients

        kept = opened(50)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        kept += opened(connections)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        for client in kept:
            client.close()
    return used / connections
