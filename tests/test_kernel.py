"""One TCP socket, asked on a real kernel."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from asgi_ws_observe import kernel
from asgi_ws_observe.kernel import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    STATE_NAMES,
    TcpInfo,
    tcp_info,
    unpack_tcp_info,
    unsent_bytes,
)
from tests.support import until, wait_until
from tests.tcp import HOSTS, connect, fill, listen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=HOSTS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The server's and the client's socket of one connection."""
    with ExitStack() as opened:
        yield connect(opened, listen(opened, request.param), request.param)


def info(sock: socket.socket) -> TcpInfo:
    """Return what is known, which must be something."""
    known = tcp_info(sock)
    assert known is not None
    return known


def test_connection_is_established_and_has_a_round_trip(pair: Pair) -> None:
    """Both sides have measured one at the handshake."""
    for sock in pair:
        assert ESTABLISHED == info(sock).state
        assert 0 < info(sock).rtt < 10


def test_bytes_of_both_directions_are_counted(pair: Pair) -> None:
    """What one side sends, the other receives."""
    server, client = pair

    client.sendall(bytes(1000))
    server.sendall(bytes(30))
    wait_until(lambda: 30 == info(client).bytes_in and 1000 == info(server).bytes_in)

    assert (1000, 30) == (info(server).bytes_in, info(server).bytes_out)
    assert (30, 1000) == (info(client).bytes_in, info(client).bytes_out)


def test_peer_that_has_closed_is_seen_without_reading(pair: Pair) -> None:
    """Bytes that nobody reads do not hide it."""
    server, client = pair

    client.sendall(b"unread")
    client.close()

    wait_until(lambda: CLOSE_WAIT == info(server).state)


def test_peer_that_has_reset_is_seen_without_reading(pair: Pair) -> None:
    """The kernel has no connection then, but the descriptor is open."""
    server, client = pair

    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

    wait_until(lambda: CLOSED == info(server).state)


def test_side_that_has_closed_waits_for_the_other(pair: Pair) -> None:
    """The peer has acknowledged the FIN, and has sent none."""
    server, _ = pair

    server.shutdown(socket.SHUT_WR)

    wait_until(lambda: "fin_wait2" == STATE_NAMES[info(server).state])


def test_what_the_peer_does_not_read_is_unsent(pair: Pair) -> None:
    """Its receive buffer is full, so the rest stays in this side's send queue until it reads."""
    server, client = pair
    assert 0 == unsent_bytes(server.fileno())

    taken = fill(server)
    assert 0 < (unsent_bytes(server.fileno()) or 0) <= taken
    while taken:
        taken -= len(client.recv(1 << 20))

    wait_until(lambda: 0 == unsent_bytes(server.fileno()))


def test_closed_socket_has_nothing_to_tell(pair: Pair) -> None:
    """Its number is -1, and the old one belongs to nobody."""
    server, _ = pair
    number = server.fileno()

    server.close()

    assert (None, None) == (tcp_info(server), unsent_bytes(server.fileno()))
    assert unsent_bytes(number) is None


def test_unconnected_socket_is_closed() -> None:
    """It is TCP, so the kernel does answer."""
    with socket.socket() as sock:
        assert TcpInfo(CLOSED, 0.0, 0, 0) == tcp_info(sock)
        assert 0 == unsent_bytes(sock.fileno())


def test_listening_socket_has_a_state_and_no_queue() -> None:
    """It has no connection."""
    with ExitStack() as opened:
        listener = listen(opened)
        assert "listen" == STATE_NAMES[info(listener).state]
        assert unsent_bytes(listener.fileno()) is None


def test_unix_socket_has_nothing_to_tell() -> None:
    """Its queue would be one of another kind, so it does not count."""
    server, client = socket.socketpair()
    with server, client:
        fill(server)

        assert (None, None) == (tcp_info(server), unsent_bytes(server.fileno()))


def test_other_descriptors_have_nothing_to_tell() -> None:
    """Datagrams are not TCP, and a terminal has a queue of its own."""
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        assert (None, None) == (tcp_info(datagrams), unsent_bytes(datagrams.fileno()))
    for each in (*os.openpty(), *os.pipe()):
        assert unsent_bytes(each) is None
        os.close(each)


@pytest.mark.parametrize("implementation", ["asyncio", "uvloop"])
def test_transport_gives_a_socket_that_can_be_asked(implementation: str) -> None:
    """Neither gives a socket proper, and both may give a closed one."""
    loop: asyncio.AbstractEventLoop = pytest.importorskip(implementation).new_event_loop()
    accepted: list[asyncio.Transport] = []
    lost: list[object] = []

    class Keeper(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(cast(asyncio.Transport, transport))

        def connection_lost(self, exc: Exception | None) -> None:
            lost.append(exc)

    async def ask() -> None:
        server = await loop.create_server(Keeper, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(b"hello")
            await until(lambda: accepted)
            given = accepted[0].get_extra_info("socket")
            await until(lambda: 5 == info(given).bytes_in)
            assert ESTABLISHED == info(given).state
            assert 0 == unsent_bytes(given.fileno())

            accepted[0].abort()
            await until(lambda: lost)
            assert (None, None) == (tcp_info(given), unsent_bytes(given.fileno()))
        server.close()
        await server.wait_closed()

    try:
        loop.run_until_complete(ask())
    finally:
        loop.close()


def test_older_kernels_tell_less(pair: Pair) -> None:
    """Without the sent bytes the acknowledged ones stand for them; older ones count neither."""
    server, client = pair
    client.sendall(bytes(70))
    server.sendall(bytes(1000))
    wait_until(lambda: 0 == unsent_bytes(server.fileno()) and 70 == info(server).bytes_in)
    data = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 512)
    newest = unpack_tcp_info(data)

    assert (1000, 70) == (newest.bytes_out, newest.bytes_in)
    assert newest == unpack_tcp_info(data[:200])
    assert newest._replace(bytes_in=0, bytes_out=0) == unpack_tcp_info(data[:104])


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_other_system_has_nothing_to_tell(
    platform: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that has something of the same name, or lacks the modules."""
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("fcntl", "termios"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr(socket, "TCP_INFO")
    spec = importlib.util.spec_from_file_location("elsewhere", kernel.__file__)
    assert spec is not None
    assert spec.loader is not None
    elsewhere = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(elsewhere)

    assert elsewhere.tcp_info(pair[0]) is None
    assert elsewhere.unsent_bytes(pair[0].fileno()) is None


def test_states_have_the_kernels_numbers() -> None:
    """include/net/tcp_states.h counts from 1 without a gap."""
    assert list(range(1, 12)) == sorted(STATE_NAMES)
    assert len(STATE_NAMES) == len(set(STATE_NAMES.values()))
    named = [STATE_NAMES[state] for state in (ESTABLISHED, CLOSED, CLOSE_WAIT)]
    assert ["established", "close", "close_wait"] == named
