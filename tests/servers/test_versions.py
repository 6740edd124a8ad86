"""uvicorn as it was and as it is, each version in an environment of its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version as installed
from pathlib import Path
from typing import Final

import pytest

from tests.servers.environments import environment
from tests.servers.harness import IMPLEMENTATIONS
from tests.servers.processes import Process, running
from tests.servers.raw import TEXT, Holding, RawClient, close_frame, frame
from tests.support import wait_until

NOW: Final = installed("uvicorn")
#: Version -> its implementations.
VERSIONS: Final[dict[str, tuple[str, ...]]] = {
    "0.30.6": ("wsproto", "websockets"),
    "0.40.0": IMPLEMENTATIONS,
    NOW: IMPLEMENTATIONS,
}
#: Version -> the library of its time.
LIBRARIES: Final = {
    "0.30.6": "websockets==13.1",
    "0.40.0": "websockets==15.0.1",
    NOW: f"websockets=={installed('websockets')}",
}
SERVERS: Final = [(version, each) for version, every in VERSIONS.items() for each in every]


def packages(version: str) -> list[str]:
    """Return what an environment of a version is made of."""
    return [f"uvicorn[standard]=={version}", "wsproto", LIBRARIES[version]]


@pytest.fixture(scope="module")
def interpreters(request: pytest.FixtureRequest) -> dict[str, str]:
    """Version -> its interpreter."""
    assert request.config.cache is not None
    cache = Path(request.config.cache.mkdir("uvicorn"))
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda version: environment(version, packages(version), cache), VERSIONS)
        return dict(zip(VERSIONS, made, strict=True))


@pytest.fixture(scope="module", params=SERVERS, ids="-".join)
def process(
    request: pytest.FixtureRequest,
    interpreters: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Process]:
    """A server of one version and implementation, with pings of ours."""
    version, implementation = request.param
    with running(
        f"uvicorn/{implementation}/uvloop",
        python=interpreters[version],
        log=tmp_path_factory.mktemp("versions") / "log",
        look_interval=0.2,
        heartbeat_interval=0.2,
    ) as process:
        yield process


def test_messages_pass_and_the_close_is_told(process: Process) -> None:
    """The handshake succeeds, the echo comes, the client's code is known."""
    with closing(RawClient(process.address, "/rooms/a/close")) as client:
        client.opened()
        client.send(frame(TEXT, b"hello"))
        client.read_until(b"hello")
        client.send(close_frame(4321, "bye"))
        client.read_to_end()
    wait_until(lambda: "/rooms/a/close" in process.endings())
    assert 101 == client.status
    assert (4321, "client", "application") == process.endings()["/rooms/a/close"]


def test_lost_connection_is_told(process: Process) -> None:
    """Which some of the implementations report as an empty close."""
    with closing(RawClient(process.address, "/rooms/a/reset")) as client:
        client.opened()
        client.reset()
    wait_until(lambda: "/rooms/a/reset" in process.endings())
    assert (1006, "network", "tcp_reset") == process.endings()["/rooms/a/reset"]


def test_pings_of_ours_are_measured(process: Process) -> None:
    """Also where the version has no pings, and looks at no pong."""
    with closing(Holding(process.address, "/rooms/a/pings")):
        wait_until(lambda: process.distribution("ws_heartbeat_rtt_seconds", "/rooms/a/pings")[0])
    wait_until(lambda: "/rooms/a/pings" in process.endings())
    assert (1006, "network", "eof") == process.endings()["/rooms/a/pings"]


def test_failed_handshakes_are_told(process: Process) -> None:
    """The status that the client sees and the cause are those of every version."""
    statuses = {}
    for path in ("/rejected", "/denied", "/broken"):
        with closing(RawClient(process.address, path)) as client:
            client.opened()
            statuses[path] = client.status
    wait_until(lambda: len(process.failures()) == 3)
    assert {"/rejected": 403, "/denied": 429, "/broken": 500} == statuses
    expected = {"/rejected": "rejected", "/denied": "denied", "/broken": "error"}
    assert expected == process.failures()


def test_monitoring_itself_has_no_errors(process: Process) -> None:
    """After all of that, and nothing is logged as one."""
    assert {} == process.own_errors()
    logged = {(line["level"], line.get("event")) for line in process.lines()}
    assert {("ERROR", "ws_error")} == {each for each in logged if each[0] != "INFO"}
