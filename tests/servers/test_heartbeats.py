"""Heartbeats on real servers: the round trip of pings, and what becomes of silent clients.

A client holds its pongs back and measures for how long: that is what the server's round trip has to
say, and on the loopback little more. The two processes may have to wait for a processor in between,
so of several samples one has to be near; none may be as wrong as a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.servers.conftest import Start
from tests.servers.processes import SERVERS, UVICORNS, Process
from tests.servers.raw import TEXT, Holding, RawClient, frame
from tests.support import wait_until

#: How near one of the samples has to be, seconds.
NEAR: Final = 0.005
RTT: Final = "ws_heartbeat_rtt_seconds"
PAUSED: Final = "ws_heartbeat_rtt_paused_seconds"
#: A time that no pong of an idle client takes on the loopback, seconds; a bound of the histogram.
SHORT: Final = "0.25"

#: What makes a server ping by itself.
PINGING: Final[dict[str, list[str]]] = {
    **{
        # Legacy stops reading only when so many messages wait.
        each: ["--ws-ping-interval", "0.3", "--ws-ping-timeout", "2", "--ws-max-queue", "1"]
        for each in UVICORNS
    },
    "hypercorn": ["--websocket-ping-interval", "1"],
    # Its timers round down to whole seconds.
    "daphne": ["--ping-interval", "1", "--ping-timeout", "2"],
}
#: Those that wait for the answer.
WAITING: Final = (*UVICORNS, "daphne")
#: Those to which the library can send a ping.
REACHABLE: Final = tuple(each for each in SERVERS if each != "granian")
#: Those that read nothing while an application is slow. daphne reads on without a bound.
PAUSING: Final = tuple(each for each in REACHABLE if each != "daphne")
OWN: Final[dict[str, Any]] = {
    "heartbeat_interval": 0.3,
    "heartbeat_timeout": 1,
    "heartbeat_close": True,
}


@dataclass
class Clients:
    """One server with three clients, which are all there at the same time.

    Attributes:
        process: The server.
        holding: Answers each ping after a while.
        silent: Answers none.
        busy: Answers at once, while the application is slow.
    """

    process: Process
    holding: Holding
    silent: RawClient
    busy: Holding

    @classmethod
    def of(cls, process: Process, messages: int) -> Clients:
        """Connect them."""
        silent = RawClient(process.address, "/rooms/a/silent", pongs=False)
        busy = Holding(process.address, "/slow/busy", 0.0)
        for number in range(messages):
            busy.send(frame(TEXT, b"%d" % number))
        return cls(process, Holding(process.address, "/rooms/a/holding", 0.15), silent, busy)

    def close(self) -> None:
        """Give their sockets back."""
        for each in (self.holding, self.silent, self.busy):
            each.close()


@pytest.fixture(scope="module")
def clients(start: Start) -> Iterator[Callable[..., Clients]]:
    """A function that starts a server and connects the clients, the first time."""
    known: dict[tuple[str, bool], Clients] = {}

    def connected(server: str, *, own: bool) -> Clients:
        if (server, own) not in known:
            options = [] if own and "websockets/" not in server else PINGING[server]
            if own and "websockets/" in server:
                options = ["--ws-max-queue", "1"]
            process = start(server, *options, **(OWN if own else {}))
            # hypercorn stops reading when ten messages wait.
            known[server, own] = Clients.of(process, 14 if server == "hypercorn" else 4)
        return known[server, own]

    try:
        yield connected
    finally:
        for each in known.values():
            each.close()


def deviations(process: Process, client: Holding, route: str) -> list[float]:
    """Return by how much round trips exceed what the client held, until one is near.

    Where two pings were answered between two looks, it is their mean.
    """
    found: list[float] = []
    count, total = 0, 0.0

    def near() -> bool:
        nonlocal count, total
        now, total_now = process.distribution(RTT, route)
        if now > count:
            # The server may have counted it before this process has.
            wait_until(lambda: len(client.held) >= now)
            held = sum(client.held[count:now])
            found.append((total_now - total - held) / (now - count))
            count, total = now, total_now
        return any(abs(each) < NEAR for each in found)

    with contextlib.suppress(AssertionError):
        wait_until(near, 20)
    return found


def assert_rtt_is_what_the_client_held(clients: Clients) -> None:
    """Hold the round trips of the client that holds its pongs back against what it says."""
    found = deviations(clients.process, clients.holding, "/rooms/a/holding")
    assert found, (
        clients.process.endings(),
        clients.process.distribution(RTT, "/rooms/a/holding"),
        clients.holding.held,
        clients.process.lines("ws_close"),
    )
    assert min(map(abs, found)) < NEAR
    assert max(map(abs, found)) < 1.0


def assert_slow_handler_is_kept_apart(clients: Clients) -> None:
    """Its delay shows in the one histogram and not in the other, and ends nobody."""
    process = clients.process
    wait_until(lambda: process.distribution(PAUSED, "/slow/busy")[0])
    found = process.exposition()
    count, total = found.distribution(PAUSED, "/slow/busy")
    assert 0.05 < total / count < 5.0
    count, _ = found.distribution(RTT, "/slow/busy")
    assert count == found.below(RTT, "/slow/busy", SHORT)
    assert "/slow/busy" not in process.endings()


@pytest.mark.parametrize("server", PINGING)
def test_delayed_pong_of_the_servers_ping_is_the_round_trip(
    server: str, clients: Callable[..., Clients]
) -> None:
    """The server's own pings are measured without being changed."""
    assert_rtt_is_what_the_client_held(clients(server, own=False))


@pytest.mark.parametrize("server", REACHABLE)
def test_delayed_pong_of_an_own_ping_is_the_round_trip(
    server: str, clients: Callable[..., Clients]
) -> None:
    """Where the server itself does not ping, or rarely."""
    assert_rtt_is_what_the_client_held(clients(server, own=True))


@pytest.mark.parametrize("server", UVICORNS)
def test_slow_handler_delays_no_round_trip_of_the_servers_ping(
    server: str, clients: Callable[..., Clients]
) -> None:
    """A pong that waits behind messages says nothing of the network."""
    assert_slow_handler_is_kept_apart(clients(server, own=False))


@pytest.mark.parametrize("server", PAUSING)
def test_slow_handler_delays_no_round_trip_of_an_own_ping(
    server: str, clients: Callable[..., Clients]
) -> None:
    """Nor is its client taken for dead."""
    assert_slow_handler_is_kept_apart(clients(server, own=True))


@pytest.mark.parametrize("server", WAITING)
def test_server_ends_a_silent_client_which_is_counted(
    server: str, clients: Callable[..., Clients]
) -> None:
    """One ping was not answered in time."""
    process = clients(server, own=False).process
    route = "/rooms/a/silent"
    wait_until(lambda: route in process.endings(), 20)
    assert (1006, "network", "ping_timeout") == process.endings()[route]
    assert 1 == process.total("ws_heartbeat_timeouts_total", route=route)


@pytest.mark.parametrize("server", REACHABLE)
def test_heartbeat_close_ends_a_silent_client(server: str, clients: Callable[..., Clients]) -> None:
    """It sees the close code 1011, and the close is the network's."""
    connected = clients(server, own=True)
    process, route = connected.process, "/rooms/a/silent"
    connected.silent.read_to_end()
    assert 1011 == connected.silent.close_code
    wait_until(lambda: route in process.endings())
    assert (1006, "network", "ping_timeout") == process.endings()[route]
    assert 1 == process.total("ws_heartbeat_timeouts_total", route=route)
    others = ["/rooms/a/holding", "/slow/busy"]
    assert [] == [each for each in others if each in process.endings()]


@pytest.mark.parametrize("server", ["uvicorn/websockets-sansio/asyncio", "hypercorn"])
def test_silent_client_stays_without_heartbeat_close(server: str, start: Start) -> None:
    """Every ping without an answer is counted."""
    process = start(server, heartbeat_interval=0.2, heartbeat_timeout=0.2)
    client = RawClient(process.address, "/rooms/a/silent", pongs=False)
    try:
        client.opened()
        wait_until(lambda: process.total("ws_heartbeat_timeouts_total") >= 2)
        assert 1 == process.total("ws_connections_active", route="/rooms/a/silent")
    finally:
        client.close()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("server", PINGING)
def test_monitoring_itself_has_no_errors(
    server: str, own: bool, clients: Callable[..., Clients]
) -> None:
    """After all of that."""
    assert {} == clients(server, own=own).process.own_errors()
