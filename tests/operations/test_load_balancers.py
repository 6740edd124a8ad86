"""Behind nginx, as the guide sets it up: what cuts a WebSocket, what it looks like, what helps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.sync.client import connect

from tests.operations.stack import OPERATIONS, nginx
from tests.servers.processes import Process, running
from tests.servers.raw import RawClient
from tests.support import wait_until

GUIDE: Final = (OPERATIONS / "load-balancers.md").read_text(encoding="utf-8")
SERVER: Final = "uvicorn/websockets-sansio/uvloop"
#: nginx's `proxy_read_timeout` here, seconds.
IDLE: Final = 2


@contextmanager
def behind_nginx(
    directory: Path, *options: str, shutdown: str = "1h", heartbeat: float | None = None
) -> Iterator[tuple[Process, str]]:
    """Run a server behind nginx, which waits `IDLE` seconds; yield it and nginx's address."""
    settings: dict[str, Any] = {} if heartbeat is None else {"heartbeat_interval": heartbeat}
    with (
        running(SERVER, *options, log=directory / "log", **settings) as process,
        nginx(
            [process.address],
            directory,
            proxy_read_timeout=f"{IDLE}s",
            worker_shutdown_timeout=shutdown,
        ) as address,
    ):
        yield process, address


def lifetime(process: Process, bound: str) -> int:
    """Return how many connections lasted at most so long, seconds."""
    return process.exposition().below("ws_connection_duration_seconds", "/rooms/idle", bound)


def test_upgrade_goes_through(tmp_path: Path) -> None:
    """What a client says comes back, and the client's own address is in the log line."""
    with behind_nginx(tmp_path) as (process, address):
        with connect(f"ws://{address}/rooms/echo") as websocket:
            websocket.send("hello")
            assert "hello" == websocket.recv(timeout=10)
        wait_until(process.endings)
        assert {"/rooms/echo": (1000, "client", "normal")} == process.endings()
        wait_until(lambda: process.lines("ws_close"))
        assert ["127.0.0.1"] == [each["client_address"] for each in process.lines("ws_close")]


def test_idle_connection_is_cut_and_looks_as_the_guide_says(tmp_path: Path) -> None:
    """1006, network, eof, and a lifetime just above the limit."""
    with behind_nginx(tmp_path) as (process, address):
        with closing(RawClient(address, "/rooms/idle")) as client:
            client.opened()
            client.read_to_end(30)
            assert client.close_code is None
        wait_until(process.endings)
        assert {"/rooms/idle": (1006, "network", "eof")} == process.endings()
        assert (0, 1) == (lifetime(process, "1.0"), lifetime(process, "5.0"))
    assert "`1006`, `network`, `eof`" in GUIDE


@pytest.mark.parametrize("whose", ["the server's", "the library's"])
def test_pings_below_the_limit_keep_it_open(whose: str, tmp_path: Path) -> None:
    """A connection on which nobody says anything outlives the limit, three times."""
    options = ["--ws-ping-interval", "0.5"] if whose == "the server's" else []
    heartbeat = None if options else 0.5
    with (
        behind_nginx(tmp_path, *options, heartbeat=heartbeat) as (process, address),
        connect(f"ws://{address}/rooms/idle") as websocket,
    ):
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 3 * IDLE, 30)
        websocket.send("still here")
        assert "still here" == websocket.recv(timeout=10)
        assert 1 == process.total("ws_connections_active")
        assert {} == process.endings()


def test_reload_keeps_connections_until_the_shutdown_timeout(tmp_path: Path) -> None:
    """An old worker lives on with them; when its time is up they are cut like idle ones."""
    with behind_nginx(tmp_path, shutdown="1s", heartbeat=0.5) as (process, address):
        with closing(RawClient(address, "/rooms/idle")) as client:
            client.opened()
            reloaded = time.monotonic()
            reload(tmp_path)
            client.read_to_end(30)
            kept = time.monotonic() - reloaded
        assert client.close_code is None
        assert 0.9 <= kept
        wait_until(process.endings)
        assert {"/rooms/idle": (1006, "network", "eof")} == process.endings()
        # The new worker serves.
        with connect(f"ws://{address}/rooms/echo") as websocket:
            websocket.send("hello")
            assert "hello" == websocket.recv(timeout=10)


def reload(directory: Path) -> None:
    """Let nginx read its configuration again."""

    os.kill(int((directory / "nginx.pid").read_text()), signal.SIGHUP)


def test_dead_node_gives_what_the_guide_says(tmp_path: Path) -> None:
    """A client's new handshake is answered with 502 by nginx, and no node counts it."""
    with behind_nginx(tmp_path) as (process, address):
        process.end()
        with closing(RawClient(address, "/rooms/idle")) as client:
            client.opened()
            assert 502 == client.status
