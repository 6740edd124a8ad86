"""granian, which hides its connections: the kernel is asked by their addresses."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from asgi_ws_observe import Settings
from asgi_ws_observe.connection import Connection
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.probe import Probe
from asgi_ws_observe.states import Verdict
from asgi_ws_observe.store import Store
from asgi_ws_observe.transports import attach, granian
from asgi_ws_observe.transports.granian import GranianProbe
from tests.support import ACCEPT, CONNECT, disconnect, scope, wait_until
from tests.tcp import HOSTS, connect, fill, listen

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=HOSTS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The server's and the client's socket of one connection."""
    with ExitStack() as opened:
        yield connect(opened, listen(opened, request.param), request.param)


@pytest.fixture(autouse=True)
def _no_open_socket() -> Iterator[None]:
    """The one that asks the kernel is given back."""
    yield
    granian._finder.close()


class Opaque:
    """Looks as granian's class of this name."""

    __module__ = "granian._granian"
    __qualname__ = "ASGIWebsocketProtocol"

    async def receive(self) -> Any:
        """Hand out the first event."""
        return CONNECT

    async def send(self, message: Any) -> None:
        """Take anything."""


class Life:
    """A connection on granian.

    Attributes:
        connection: The record, whose handshake was accepted.
        probe: Its probe.
        watched: The probes that are watched.
    """

    def __init__(self, **more: Any) -> None:
        store = Store()
        errors = OwnErrors(store)
        self.watched: list[Probe] = []
        observation = Observation(Settings(), store, (), errors)
        self.connection = Connection(observation, scope(**more), 0.0)
        server = Opaque()
        self.probe = self.connection.probe = attach(
            self.connection, server.receive, server.send, store=store, watcher=self, errors=errors
        )
        assert {"granian": None} == store.transports
        self.connection.sent(ACCEPT, 0.0, 0.0)

    def add(self, probe: Probe) -> None:
        """Watch it."""
        self.watched.append(probe)

    def remove(self, probe: Probe) -> None:
        """Watch it no more."""
        self.watched.remove(probe)


def of_addresses(pair: Pair) -> Life:
    """Return the life of a TCP connection: granian tells the port as text, and the host."""
    server, client = pair
    (host, port, *_), (peer, peer_port, *_) = server.getsockname(), client.getsockname()
    return Life(server=[host, str(port)], client=[peer, peer_port])


def looked_at(probe: Probe) -> Probe:
    """Return a probe after a look."""
    probe.look()
    return probe


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_connection_is_seen_by_its_addresses(pair: Pair) -> None:
    """Bytes on the wire, the round trip, what was sent and has not arrived, and who is gone."""
    server, client = pair
    life = of_addresses(pair)
    probe, connection = life.probe, life.connection
    before = probe.write_buffer()
    probe.look()
    empty = probe.write_buffer()
    client.sendall(bytes(100))
    assert 100 == len(server.recv(100, socket.MSG_WAITALL))
    fill(server)
    probe.look()
    assert (None, 0) == (before, empty)
    assert 2**16 < (probe.write_buffer() or 0)
    assert 0 < connection.wire_out
    assert 100 == connection.wire_in
    assert 2 == sum(connection.numbers.tcp_rtt.counts)
    assert not probe.peer_is_gone()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_peer_that_has_ended_its_side_is_gone(pair: Pair) -> None:
    """The kernel knows before the server reads it."""
    _, client = pair
    life = of_addresses(pair)
    life.probe.look()
    before = life.probe.peer_is_gone()
    client.shutdown(socket.SHUT_WR)
    wait_until(lambda: looked_at(life.probe).peer_is_gone())
    assert not before
    assert [life.probe] == life.watched


@pytest.mark.parametrize(
    "more",
    [
        {"client": None},
        {"server": None},
        {"client": ["unix", ""], "server": ["unix", ""]},
        {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)},
    ],
)
def test_connection_that_the_kernel_does_not_know_is_not_seen(more: Any) -> None:
    """Such as one whose address a proxy has replaced."""
    life = Life(**more)
    life.probe.look()
    assert (None, False) == (life.probe.write_buffer(), life.probe.peer_is_gone())
    assert 0 == life.connection.wire_in


def test_connection_that_is_not_found_any_more_is_not_seen(pair: Pair) -> None:
    """The numbers of the last look do not stay."""
    life = of_addresses(pair)
    life.probe.look()
    for each in pair:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
        each.close()
    wait_until(lambda: looked_at(life.probe).write_buffer() is None)
    assert not life.probe.peer_is_gone()


KICKED = Verdict(4000, "bye", "server", "application")


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (Verdict(1000, "", "client", "normal"), (1000, "", "client", "normal")),
        (KICKED, KICKED),
        # 1005 by ASGI: an empty close frame, a lost connection, or a broken one.
        (Verdict(1006, "", "network", "unknown"), (1005, "", "unknown", "unknown")),
        # Only a peer says these: what it finds itself is 1005 as well.
        (Verdict(1009, "", "unknown", "too_big"), (1009, "", "client", "too_big")),
        # It sends an empty close frame for an application that did not close.
        (Verdict(1006, "", "server", "no_close"), (1005, "", "server", "no_close")),
        (Verdict(1006, "", "server", "handler_error"), (1005, "", "server", "handler_error")),
    ],
)
def test_word_of_the_server_means_something_of_its_own(told: Verdict, meant: Any) -> None:
    """Its 1005 is not everybody's."""
    assert Verdict(*meant) == Life().probe.correct(told)


def test_end_is_what_asgi_tells() -> None:
    """There is no other."""
    life = Life()
    assert (False, False) == (life.probe.tells_end, life.connection.abort())
    life.connection.received(disconnect(1005, None), 1.0)
    assert (1005, "unknown") == (life.connection.close_code, life.connection.closed_by)
    assert [] == life.watched
    assert isinstance(life.probe, GranianProbe)
