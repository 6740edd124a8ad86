"""A client that stops reading, on every server: what shows it, and what frees its handler."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.servers.processes import SERVERS, Process, chosen_servers, running
from tests.servers.raw import Holding, RawClient
from tests.support import wait_until

RTT: Final = "ws_heartbeat_rtt_seconds"
#: A round trip that nothing delays stays below this bound of the histogram, seconds.
QUICK: Final = "0.05"
MIB: Final = 2**20
STUCK, OTHER = "/flood/stuck", "/rooms/a/other"

#: daphne takes whatever an application sends; on granian nothing below ASGI can be had.
BLOCKING: Final = tuple(each for each in SERVERS if each != "daphne")
REACHABLE: Final = tuple(each for each in SERVERS if each != "granian")


@dataclass
class Stuck:
    """What one server said of a client that stopped reading.

    Attributes:
        numbers: The samples of its route at a look.
        quick: How many round trips of another client were quick meanwhile, and how many were not.
        aborted: How many connections could be aborted.
        freed_after: How long the handler took to end then, seconds.
        ending: How that was told.
        waited: What the histogram of `send()` has then, seconds.
        status: The exit status after SIGTERM, `None` where the server did not end.
        ending_by_heartbeat: How it ended on another such server, by ``heartbeat_close`` alone.
        status_when_stuck: The exit status after SIGTERM of that, while a client was stuck again.
    """

    numbers: dict[str, float]
    quick: tuple[int, int]
    aborted: str
    freed_after: float
    ending: tuple[int, str, str] | None
    waited: float
    status: int | None
    ending_by_heartbeat: tuple[int, str, str] | None
    status_when_stuck: int | None


def numbers_of(process: Process) -> dict[str, float]:
    """Return what the last look found of the route of the client that stopped reading."""
    exposition = process.exposition()
    found = {
        name: exposition.total(name, route=STUCK)
        for name in (
            *("ws_send_buffer_current_bytes", "ws_send_buffer_max_bytes"),
            *("ws_slow_connections", "ws_send_waiting_max_seconds"),
        )
    }
    found["ws_queue_depth"] = exposition.total("ws_queue_depth", route=STUCK, direction="out")
    return found


def quick(process: Process) -> tuple[int, int]:
    """Return how many round trips of the other client were quick, and how many were not."""
    exposition = process.exposition()
    below = exposition.below(RTT, OTHER, QUICK)
    return below, exposition.distribution(RTT, OTHER)[0] - below


def status_after(process: Process) -> int | None:
    """Return the exit status after SIGTERM, `None` where the server does not end."""
    try:
        return process.end(signal.SIGTERM, 10)
    except subprocess.TimeoutExpired:
        return None


def flooded(process: Process, path: str, opened: ExitStack) -> None:
    """Let a client stop reading."""
    opened.enter_context(closing(RawClient(process.address, path))).opened()
    wait_until(lambda: process.get("/flooded") == "1")


def play_abort(server: str, log: Path) -> Stuck:
    """Let a client stop reading beside another, and abort it."""
    with ExitStack() as opened:
        process = opened.enter_context(
            running(server, log=log, look_interval=0.2, heartbeat_interval=0.3)
        )
        opened.enter_context(closing(Holding(process.address, OTHER)))
        before = quick(process)
        flooded(process, STUCK, opened)
        if server in BLOCKING:
            wait_until(lambda: numbers_of(process)["ws_send_waiting_max_seconds"] > 1)
        else:
            wait_until(lambda: numbers_of(process)["ws_send_buffer_max_bytes"] > 60 * MIB)
        numbers = numbers_of(process)
        if server in REACHABLE:
            wait_until(lambda: quick(process)[0] >= before[0] + 3)
        after = quick(process)
        began = time.monotonic()
        aborted = process.get("/abort")
        if server in REACHABLE:
            wait_until(lambda: process.get("/flooded") == "0" and STUCK in process.endings())
        return Stuck(
            numbers,
            (after[0] - before[0], after[1] - before[1]),
            aborted,
            time.monotonic() - began,
            process.endings().get(STUCK),
            process.distribution("ws_send_duration_seconds", STUCK)[1],
            status_after(process),
            *play_heartbeat(server, log.with_suffix(".2")),
        )


def play_heartbeat(server: str, log: Path) -> tuple[tuple[int, str, str] | None, int | None]:
    """Let a client stop reading until the heartbeat ends it, and another until SIGTERM."""
    settings: dict[str, Any] = {"heartbeat_interval": 0.3, "heartbeat_timeout": 1}
    with ExitStack() as opened:
        process = opened.enter_context(running(server, log=log, heartbeat_close=True, **settings))
        flooded(process, STUCK, opened)
        if server in REACHABLE:
            wait_until(lambda: process.get("/flooded") == "0" and STUCK in process.endings())
            flooded(process, "/flood/again", opened)
        return process.endings().get(STUCK), status_after(process)


@pytest.fixture(scope="module")
def stuck(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Stuck]]]:
    """What every server that is to be tested says; some at a time."""
    logs = tmp_path_factory.mktemp("stuck")
    with ThreadPoolExecutor(3) as pool:
        yield {
            server: pool.submit(play_abort, server, logs / f"{number}.log")
            for number, server in enumerate(chosen_servers(request))
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("server", SERVERS)
def test_client_that_stops_reading_shows(server: str, stuck: dict[str, Future[Stuck]]) -> None:
    """In the buffer, as one slow connection, and as a `send()` that waits."""
    numbers = stuck[server].result().numbers
    size = numbers["ws_send_buffer_current_bytes"]
    assert size == numbers["ws_send_buffer_max_bytes"]
    assert size > MIB
    assert 1 == numbers["ws_slow_connections"]
    if server in BLOCKING:
        assert numbers["ws_send_waiting_max_seconds"] > 1
        assert 1 == numbers["ws_queue_depth"]


@pytest.mark.parametrize("server", REACHABLE)
def test_client_that_stops_reading_delays_no_other(
    server: str, stuck: dict[str, Future[Stuck]]
) -> None:
    """The other's round trips stay short; that one had to wait for a processor may be."""
    short, long = stuck[server].result().quick
    assert short >= 3
    assert long <= 1


@pytest.mark.parametrize("server", REACHABLE)
def test_abort_frees_the_handler_at_once(server: str, stuck: dict[str, Future[Stuck]]) -> None:
    """Within a second, and it is told as the application's doing."""
    result = stuck[server].result()
    assert "1" == result.aborted
    assert result.freed_after < 1.0
    assert (1006, "server", "no_close") == result.ending


@pytest.mark.parametrize("server", ["granian"])
def test_abort_says_that_it_is_not_possible(server: str, stuck: dict[str, Future[Stuck]]) -> None:
    """granian's connection cannot be ended from below ASGI."""
    assert "0" == stuck[server].result().aborted


@pytest.mark.parametrize("server", sorted({*BLOCKING} & {*REACHABLE}))
def test_long_wait_is_counted_afterwards(server: str, stuck: dict[str, Future[Stuck]]) -> None:
    """Whether `send()` returns or raises then."""
    assert stuck[server].result().waited > 1.0


@pytest.mark.parametrize("server", SERVERS)
def test_sigterm_ends_the_server_after_an_abort(
    server: str, stuck: dict[str, Future[Stuck]]
) -> None:
    """uvicorn says so by the signal, the others by 0."""
    assert stuck[server].result().status in (0, -signal.SIGTERM)


@pytest.mark.parametrize("server", REACHABLE)
def test_heartbeat_close_frees_the_handler(server: str, stuck: dict[str, Future[Stuck]]) -> None:
    """Nobody has to abort anything."""
    assert (1006, "network", "ping_timeout") == stuck[server].result().ending_by_heartbeat


@pytest.mark.parametrize("server", SERVERS)
def test_sigterm_ends_the_server_while_a_client_is_stuck(
    server: str, stuck: dict[str, Future[Stuck]]
) -> None:
    """With ``heartbeat_close``: without, most servers wait for ever."""
    assert stuck[server].result().status_when_stuck in (0, -signal.SIGTERM)
