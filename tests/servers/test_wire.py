"""What the kernel says of connections on every server: bytes on the wire, sockets by state."""

from __future__ import annotations

import http.client
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Final

import pytest

from tests.servers.conftest import Start
from tests.servers.processes import SERVERS, UVICORNS, Exposition, Process
from tests.servers.raw import TEXT, RawClient, close_frame, frame
from tests.support import wait_until

DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate"
#: Who compresses, where a client offers it. daphne accepts no offer.
COMPRESSING: Final = (*UVICORNS, "hypercorn")
#: Who is there to see the last bytes. daphne's socket is closed before it says that the connection
#: has ended, and granian says nothing: what came after the last look is missing there.
EXACT: Final = COMPRESSING
#: Who stops reading while the application asks for nothing, and so does not see that the client has
#: left: uvicorn's legacy implementation and daphne do see it.
HOLDING_ON: Final = (
    *(each for each in UVICORNS if "websockets/" not in each),
    *("hypercorn", "granian"),
)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What is to be closed after the test."""
    with ExitStack() as stack:
        yield stack


def looking(server: str, start: Start) -> Process:
    """Return a server with frequent looks and no pings."""
    return start(server, look_interval=0.2)


def wire(process: Process, route: str) -> tuple[float, float]:
    """Return the bytes of a route in both directions."""
    found = process.exposition()
    return (
        found.total("ws_wire_bytes_total", route=route, direction="in"),
        found.total("ws_wire_bytes_total", route=route, direction="out"),
    )


def echoed(opened: ExitStack, process: Process, route: str, *headers: str) -> RawClient:
    """Return a client that has sent a message and got it back."""
    client = opened.enter_context(closing(RawClient(process.address, route, *headers)))
    client.opened()
    client.send(frame(TEXT, b"hello" * 100))
    client.read_frames(1)
    return client


def leave(client: RawClient) -> None:
    """Close as the protocol wants it: legacy waits for the end of the client's stream."""
    client.send(close_frame())
    client.read_to_end()
    client.close()


@pytest.mark.parametrize("server", SERVERS)
def test_bytes_on_the_wire_are_what_the_client_counted(
    server: str, start: Start, opened: ExitStack
) -> None:
    """While the connection is open, compressed or not, the handshake included."""
    process = looking(server, start)
    plain = echoed(opened, process, "/rooms/a/plain")
    wait_until(lambda: wire(process, "/rooms/a/plain") == (plain.bytes_out, plain.bytes_in))
    deflate = echoed(opened, process, "/rooms/a/deflate", DEFLATE)
    wait_until(lambda: wire(process, "/rooms/a/deflate") == (deflate.bytes_out, deflate.bytes_in))


@pytest.mark.parametrize("server", EXACT)
def test_bytes_on_the_wire_are_counted_to_the_end(
    server: str, start: Start, opened: ExitStack
) -> None:
    """The kernel counts the end of the client's stream as a byte, where it came before ours."""
    process, route = looking(server, start), "/rooms/a/end"
    client = echoed(opened, process, route)
    leave(client)
    wait_until(lambda: route in process.endings())
    ended = (client.bytes_out, client.bytes_in)
    assert wire(process, route) in (ended, (ended[0] + 1, ended[1]))
    (line,) = (each for each in process.lines("ws_close") if each["route"] == route)
    assert wire(process, route) == (line["wire_bytes_in"], line["wire_bytes_out"])


@pytest.mark.parametrize(("header", "expected"), [(DEFLATE, "permessage-deflate"), ("", "none")])
@pytest.mark.parametrize("server", SERVERS)
def test_compression_is_in_the_log_line(
    server: str, header: str, expected: str, start: Start, opened: ExitStack
) -> None:
    """What was agreed, not what the client offered."""
    process, route = looking(server, start), f"/rooms/a/compression-{bool(header)}"
    client = echoed(opened, process, route, *filter(None, [header]))
    leave(client)
    wait_until(lambda: route in process.endings())
    (line,) = (each for each in process.lines("ws_close") if each["route"] == route)
    known = {"daphne": "none", "granian": None}
    assert known.get(server, expected) == line.get("compression")


def sockets(process: Process, state: str) -> float:
    """Return how many connections of a process are in a state."""
    return process.total("ws_tcp_connections", state=state)


@pytest.mark.parametrize("server", HOLDING_ON)
def test_peer_that_left_while_the_application_holds_on_shows_in_close_wait(
    server: str, start: Start, opened: ExitStack
) -> None:
    """Behind messages that nobody asks for; it goes when the application lets go."""
    process, route = looking(server, start), "/deaf/left"
    client = opened.enter_context(closing(RawClient(process.address, route)))
    client.opened()
    # hypercorn stops reading when ten wait.
    for _ in range(20):
        client.send(frame(TEXT, b"unread"))
    wait_until(lambda: sockets(process, "established"))
    client.finish()
    # Counting rests a hundred times as long as it took, which on a busy machine is long.
    wait_until(lambda: sockets(process, "close_wait") == 1, 30)
    assert 1 == process.total("ws_connections_active", route=route)
    process.get("/release")
    wait_until(lambda: process.total("ws_connections_active", route=route) == 0)
    if server != "hypercorn":  # leaks it for good
        wait_until(lambda: sockets(process, "close_wait") == 0, 30)


class Worker:
    """One of several processes behind a port, and the connections over which it is asked.

    Attributes:
        connections: Each stays, so that always the same process answers.
    """

    def __init__(self) -> None:
        self.connections: list[http.client.HTTPConnection] = []

    def exposition(self) -> Exposition:
        """Return what `/metrics` says now."""
        return Exposition(answer(self.connections[0], "/metrics"))

    def active(self) -> float:
        """Return how many WebSockets it says that it has."""
        return self.exposition().total("ws_connections_active")

    def is_right(self) -> bool:
        """Return whether it counts its WebSockets and the connections that ask, and no other."""
        counted = self.exposition().total("ws_tcp_connections", state="established")
        return counted == self.active() + len(self.connections)


def answer(connection: http.client.HTTPConnection, path: str) -> str:
    """Return what a GET answers."""
    connection.request("GET", path)
    return connection.getresponse().read().decode()


@pytest.mark.parametrize("server", [each for each in UVICORNS if "sansio" in each])
def test_worker_counts_its_own_sockets_only(server: str, start: Start, opened: ExitStack) -> None:
    """Two workers share a port; each has its own WebSockets, and the connections that ask."""
    options = ["--workers", "2", "--timeout-keep-alive", "60"]
    process = start(server, *options, look_interval=0.2, workers="off")
    workers: defaultdict[str, Worker] = defaultdict(Worker)
    clients = 0

    def both_have_some() -> bool:
        nonlocal clients
        opened.enter_context(closing(RawClient(process.address, "/rooms/a/worker"))).opened()
        clients += 1
        connection = http.client.HTTPConnection(process.address, timeout=10)
        opened.enter_context(closing(connection))
        workers[answer(connection, "/pid")].connections.append(connection)
        return len(workers) == 2 and all(each.active() for each in workers.values())

    wait_until(both_have_some)
    assert clients == sum(each.active() for each in workers.values())
    wait_until(lambda: all(each.is_right() for each in workers.values()))
