"""What each server gives besides the ends of connections, against the table."""

from __future__ import annotations

import threading

import pytest

from tests.servers.conftest import Start
from tests.servers.gives import gives
from tests.servers.processes import SERVERS, Process
from tests.servers.raw import RawClient, close_frame
from tests.support import wait_until

#: Options that let a server ping once a second.
PINGS = {"uvicorn": ("--ws-ping-interval", "1"), "daphne": ("--ping-interval", "1")} | {
    "hypercorn": ("--websocket-ping-interval", "1")
}

pytestmark = pytest.mark.parametrize("server", SERVERS)


class Guest:
    """A client that reads, and so answers pings, until it is told to leave."""

    def __init__(self, process: Process, path: str) -> None:
        self._client = RawClient(process.address, path)
        self._client.opened()
        self._thread = threading.Thread(target=self._client.read_to_end, args=(60.0,), daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Close and wait for the server's end."""
        self._client.send(close_frame())
        self._thread.join(10)
        self._client.close()


@pytest.fixture
def process(server: str, start: Start) -> Process:
    """The server, which pings, and looks often."""
    return start(server, *PINGS.get(server.partition("/")[0], ()), look_interval=0.2)


def test_server_gives_what_the_table_says(server: str, process: Process, start: Start) -> None:
    """Everything that is read off it, while a client that answers is connected and when it left."""
    own = start(server, look_interval=0.2, heartbeat_interval=0.2)
    guest, other = Guest(process, "/rooms/gives"), Guest(own, "/rooms/gives")
    sources = {
        "round trip of the server's own pings": (process, "ws_heartbeat_rtt_seconds_count"),
        "round trip of pings of ours": (own, "ws_heartbeat_rtt_seconds_count"),
        "bytes on the wire": (process, "ws_wire_bytes_total"),
        "the kernel's round trip": (process, "ws_tcp_rtt_seconds_count"),
    }
    for what, (source, name) in sources.items():
        if gives(what, server):
            wait_until(lambda: source.total(name, route="/rooms/gives"), 20)  # noqa: B023
        else:
            assert 0 == source.total(name, route="/rooms/gives")
    # The kernel's facts come with the look that publishes these.
    wait_until(lambda: process.samples("ws_queue_depth", route="/rooms/gives"), 20)
    present = {
        "write buffer": process.samples("ws_send_buffer_current_bytes", route="/rooms/gives"),
        "receive queue": process.samples("ws_queue_depth", route="/rooms/gives", direction="in"),
    }
    assert {what: gives(what, server) for what in present} == {
        what: bool(samples) for what, samples in present.items()
    }
    guest.leave()
    other.leave()
    wait_until(lambda: list(process.lines("ws_close")), 20)
    (line,) = (each for each in process.lines("ws_close") if each["route"] == "/rooms/gives")
    assert gives("compression", server) == ("compression" in line)
    assert {} == process.own_errors()
    assert {} == own.own_errors()


def test_abort_is_possible_as_the_table_says(server: str, process: Process) -> None:
    """It says whether it was possible, and the handler is freed."""
    client = RawClient(process.address, "/flood/gives")
    client.opened()
    try:
        wait_until(lambda: "1" == process.get("/flooded"))
        assert gives("abort()", server) == (process.get("/abort") == "1")
        if gives("abort()", server):
            wait_until(lambda: "0" == process.get("/flooded"))
    finally:
        client.close()
