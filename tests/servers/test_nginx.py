"""Behind nginx, which cuts what is idle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.servers.nginx import nginx_command
from tests.servers.processes import UVICORNS, free_port, running, started
from tests.servers.raw import RawClient
from tests.support import wait_until

#: nginx's `proxy_read_timeout` here, seconds: between two buckets of the lifetime (1 s, 5 s).
TIMEOUT: Final = 2


@contextmanager
def nginx(upstream: str, directory: Path) -> Iterator[str]:
    """Run nginx in front of a server and yield its address."""
    port = free_port()
    arguments = nginx_command(directory, port, [upstream], TIMEOUT)
    with started(arguments, port, directory / "nginx.log"):
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize("server", UVICORNS[1::2])
def test_idle_connection_that_the_proxy_cuts_is_the_networks(server: str, tmp_path: Path) -> None:
    """No close frame comes, and the lifetime is the proxy's timeout."""
    with (
        running(server, log=tmp_path / "log") as process,
        nginx(process.address, tmp_path) as proxy,
    ):
        with closing(RawClient(proxy, "/rooms/idle")) as client:
            client.opened()
            client.read_to_end(30)
        wait_until(process.endings)
        bucket = {"name": "ws_connection_duration_seconds_bucket", "route": "/rooms/idle"}
        below, within = (process.total(**bucket, le=bound) for bound in ("1.0", "5.0"))

        assert client.close_code is None
        assert {"/rooms/idle": (1006, "network", "eof")} == process.endings()
        assert (0, 1) == (below, within)
        assert {} == process.own_errors()
