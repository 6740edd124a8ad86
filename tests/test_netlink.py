"""Questions to a real kernel, and answers that it never gave."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from asgi_ws_observe import netlink
from asgi_ws_observe.kernel import CLOSE_WAIT, ESTABLISHED, STATE_NAMES, tcp_info
from asgi_ws_observe.netlink import Identity, list_states, mapped, open_netlink, question
from tests.support import wait_until
from tests.tcp import HOSTS, connect, listen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")

LOOPBACK = mapped(bytes((127, 0, 0, 1)))


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What the test opens, closed at its end."""
    with ExitStack() as stack:
        yield stack


def inode(sock: socket.socket) -> int:
    """Return the number by which the kernel lists a socket."""
    return os.fstat(sock.fileno()).st_ino


@pytest.mark.parametrize("host", HOSTS)
def test_connections_of_a_port_are_listed_by_state(opened: ExitStack, host: str) -> None:
    """The other side's sockets have other local ports, and the listening one another state."""
    listener = listen(opened, host)
    left, client = connect(opened, listener, host)
    stays, _ = connect(opened, listener, host)
    client.close()
    port = listener.getsockname()[1]
    expected = {inode(left): CLOSE_WAIT, inode(stays): ESTABLISHED}

    wait_until(lambda: expected == list_states({port}, STATE_NAMES.keys() - {10}))
    assert {inode(left): CLOSE_WAIT} == list_states({port}, {CLOSE_WAIT})
    assert {inode(listener): 10} == list_states({port}, {10})


def test_other_ports_are_not_listed(opened: ExitStack) -> None:
    """Several are asked for one after the other."""
    servers = {}
    for _ in range(3):
        listener = listen(opened)
        server, _ = connect(opened, listener, "127.0.0.1")
        servers[listener.getsockname()[1]] = inode(server)
    first, second, _ = servers

    expected = {servers[first]: ESTABLISHED, servers[second]: ESTABLISHED}
    assert expected == list_states({first, second}, {ESTABLISHED})
    assert {} == list_states((), {ESTABLISHED})


def test_connection_without_a_socket_is_not_listed(opened: ExitStack) -> None:
    """A closed one still waits for the peer's FIN, but nobody holds it."""
    listener = listen(opened)
    server, client = connect(opened, listener, "127.0.0.1")
    server.close()

    wait_until(lambda: CLOSE_WAIT == (tcp_info(client) or (0,))[0])
    assert {} == list_states({listener.getsockname()[1]}, STATE_NAMES.keys() - {10})


def test_many_connections_come_in_several_pieces(opened: ExitStack) -> None:
    """None is lost between them; the first piece has 8 KiB at most, 66 connections."""
    listener = listen(opened)
    servers = [connect(opened, listener, "127.0.0.1")[0] for _ in range(100)]

    listed = list_states({listener.getsockname()[1]}, {ESTABLISHED})

    assert dict.fromkeys(map(inode, servers), ESTABLISHED) == listed


def test_answer_to_an_earlier_question_is_left_out(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes first, and is told by its number."""
    listener = listen(opened)
    server, client = connect(opened, listener, "127.0.0.1")
    port, peer_port = listener.getsockname()[1], client.getsockname()[1]

    def used() -> socket.socket:
        sock = open_netlink()
        sock.send(question(99, Identity(LOOPBACK, peer_port, LOOPBACK, port)))
        return sock

    monkeypatch.setattr(netlink, "open_netlink", used)

    assert {inode(server): ESTABLISHED} == list_states({port}, {ESTABLISHED})


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("socket.IPPROTO_TCP", 253, errno.ENOENT),  # at the end of the dump
        ("_SOCK_DIAG_BY_FAMILY", 99, errno.EINVAL),  # at once
    ],
)
def test_kernel_that_refuses_raises_its_error(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int, error: int
) -> None:
    """An unknown protocol is what TCP is to a kernel without the module tcp_diag."""
    monkeypatch.setattr(f"{netlink.__name__}.{name}", value)

    with pytest.raises(OSError) as caught:  # noqa: PT011
        list_states({1}, {ESTABLISHED})

    assert error == caught.value.errno


def test_kernel_that_does_not_answer_raises(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it for long."""
    ours, theirs = map(opened.enter_context, socket.socketpair(type=socket.SOCK_DGRAM))
    monkeypatch.setattr(netlink, "TIMEOUT", 0.01)
    monkeypatch.setattr(netlink, "open_netlink", lambda: ours)

    with pytest.raises(TimeoutError):
        list_states({1}, {ESTABLISHED})

    assert theirs.recv(1000)


def message(kind: int, length: int, sequence: int = 0) -> bytes:
    """Return a message of zeros."""
    return struct.pack("=IHHII", length, kind, 0, sequence, 0).ljust(length, b"\0")


def answer_with(opened: ExitStack, monkeypatch: pytest.MonkeyPatch, *pieces: bytes) -> None:
    """Answer the next questions so."""
    ours, theirs = map(opened.enter_context, socket.socketpair(type=socket.SOCK_DGRAM))
    for piece in pieces:
        theirs.send(piece)
    monkeypatch.setattr(netlink, "open_netlink", lambda: ours)


@pytest.mark.parametrize("piece", [message(20, 88)[:80], message(20, 8), b"\0" * 20])
def test_piece_that_is_cut_off_raises(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    """It is neither read past its end nor for ever."""
    answer_with(opened, monkeypatch, piece)

    with pytest.raises(OSError, match="cut off"):
        list_states({1}, {ESTABLISHED})


def test_message_of_another_kind_is_left_out(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that does nothing (NLMSG_NOOP)."""
    ends = message(1, 20) + message(3, 20), message(1, 20, 1) + message(3, 20, 1)
    answer_with(opened, monkeypatch, *ends)

    assert {} == list_states({1}, {ESTABLISHED})


def test_other_port_in_an_answer_is_left_out(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel filters by port; where one did not, nothing would be counted too much."""
    listed = bytearray(message(20, 88))
    struct.pack_into("!H", listed, 20, 2)
    struct.pack_into("=I", listed, 84, 7)
    answer_with(opened, monkeypatch, bytes(listed) + message(3, 20), message(3, 20, 1))

    assert {} == list_states({1}, {ESTABLISHED})


def test_answer_without_what_was_asked_ends() -> None:
    """An attribute of no length does not keep the reader for ever."""
    answer = message(20, 88, 5) + bytes(6)

    sequence, _, queue, known = netlink.read_answer(answer)

    assert (5, 0, None) == (sequence, queue, known)


def test_other_system_has_no_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has not even its name there."""
    monkeypatch.delattr(socket, "AF_NETLINK")

    with pytest.raises(OSError, match="only Linux"):
        open_netlink()
