"""The process's own connections by state, and connections by their addresses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from asgi_ws_observe import netlink, sockets
from asgi_ws_observe.kernel import CLOSE_WAIT, tcp_info, unsent_bytes
from asgi_ws_observe.netlink import Identity, mapped, question
from asgi_ws_observe.sockets import COUNTED_STATES, SocketFinder, count_states, identify
from tests.support import wait_until
from tests.tcp import HOSTS, connect, fill, listen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")

ZEROS = dict.fromkeys(COUNTED_STATES, 0)

# What a worker process does with the listening socket that it inherits.
WORKER = """
import socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(True)
accepted = listener.accept()
print("accepted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What the test opens, closed at its end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def finder() -> Iterator[SocketFinder]:
    """A finder that is closed at the end."""
    finder = SocketFinder()
    yield finder
    finder.close()


def refuse() -> socket.socket:
    """Stand in for what a sandbox forbids."""
    raise PermissionError("seccomp")


@pytest.fixture(params=["netlink", "proc"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the states come from."""
    if request.param == "proc":
        monkeypatch.setattr(netlink, "open_netlink", refuse)
    return str(request.param)


def open_files() -> int:
    """Return how many file descriptors are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def leave_open(server: socket.socket, client: socket.socket) -> None:
    """Do nothing."""


def close_unacknowledged(server: socket.socket, client: socket.socket) -> None:
    """Close this side: the FIN waits behind what the peer does not read."""
    fill(server)
    server.shutdown(socket.SHUT_WR)


def close_first(server: socket.socket, client: socket.socket) -> None:
    """Close this side only."""
    server.shutdown(socket.SHUT_WR)


def be_left(server: socket.socket, client: socket.socket) -> None:
    """Close the other side only."""
    client.shutdown(socket.SHUT_WR)


def close_last(server: socket.socket, client: socket.socket) -> None:
    """Close the other side, then this one; the FIN waits."""
    client.shutdown(socket.SHUT_WR)
    wait_until(lambda: CLOSE_WAIT == (tcp_info(server) or (0,))[0])
    close_unacknowledged(server, client)


def close_at_once(server: socket.socket, client: socket.socket) -> None:
    """Close both sides; this one's FIN waits."""
    close_unacknowledged(server, client)
    client.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("state", "happens"),
    [
        ("established", leave_open),
        ("fin_wait1", close_unacknowledged),
        ("fin_wait2", close_first),
        ("close_wait", be_left),
        ("last_ack", close_last),
        ("closing", close_at_once),
    ],
)
def test_connection_counts_under_its_state(
    opened: ExitStack,
    source: str,
    host: str,
    state: str,
    happens: Callable[[socket.socket, socket.socket], None],
) -> None:
    """Whatever becomes of one, another one stays as it is."""
    listener = listen(opened, host)
    server, client = connect(opened, listener, host)
    connect(opened, listener, host)
    expected = dict(ZEROS, established=1)
    expected[state] += 1

    happens(server, client)

    wait_until(lambda: expected == count_states({listener.getsockname()[1]}))


def test_ipv4_on_an_ipv6_socket_counts(opened: ExitStack, source: str) -> None:
    """It is listed among the IPv6 ones."""
    listener = listen(opened, "::")
    connect(opened, listener, "127.0.0.1")

    assert ZEROS | {"established": 1} == count_states({listener.getsockname()[1]})


def test_connections_of_another_process_do_not_count(opened: ExitStack, source: str) -> None:
    """They have the same local port, as the worker processes of one server have."""
    listener = listen(opened)
    port = listener.getsockname()[1]
    connect(opened, listener, "127.0.0.1")
    worker = opened.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    )
    assert worker.stdout is not None
    opened.enter_context(socket.create_connection(("127.0.0.1", port)))
    assert b"accepted\n" == worker.stdout.readline()

    assert ZEROS | {"established": 1} == count_states({port})


def test_only_connections_with_a_socket_count(opened: ExitStack, source: str) -> None:
    """A listening socket has none, and what is closed is nobody's."""
    listener = listen(opened)
    server, _ = connect(opened, listener, "127.0.0.1")
    server.close()

    assert ZEROS == count_states({listener.getsockname()[1]})


def test_socket_with_two_descriptors_counts_once(opened: ExitStack, source: str) -> None:
    """It is one connection."""
    listener = listen(opened)
    server, _ = connect(opened, listener, "127.0.0.1")
    opened.enter_context(server.dup())

    assert ZEROS | {"established": 1} == count_states({listener.getsockname()[1]})


def test_only_the_asked_ports_count(opened: ExitStack, source: str) -> None:
    """All of them together."""
    listeners = [listen(opened) for _ in range(3)]
    for listener in listeners:
        connect(opened, listener, "127.0.0.1")
    ports = [listener.getsockname()[1] for listener in listeners]

    assert ZEROS | {"established": 2} == count_states([ports[0], ports[2], ports[0]])
    assert ZEROS == count_states(())
    assert ZEROS == count_states({0})


def test_nothing_stays_open(
    opened: ExitStack, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of what answers nor of what does not."""
    listener = listen(opened)
    connect(opened, listener, "127.0.0.1")
    port = listener.getsockname()[1]
    before = open_files()

    for _ in range(5):
        count_states({port})
    monkeypatch.setattr(socket, "IPPROTO_TCP", 253)
    count_states({port})

    assert before == open_files()


def test_kernel_without_sock_diag_is_read_as_text(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its refusal is not taken for no connections."""
    listener = listen(opened)
    connect(opened, listener, "127.0.0.1")
    monkeypatch.setattr(socket, "IPPROTO_TCP", 253)

    assert ZEROS | {"established": 1} == count_states({listener.getsockname()[1]})


def test_kernel_without_ipv6_counts_the_rest(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There is no second table. A descriptor that is closed meanwhile does not matter."""
    listener = listen(opened)
    server, _ = connect(opened, listener, "127.0.0.1")
    connect(opened, listener, "127.0.0.1")  # as good as another process's, without an entry
    for folder in ("net", "fd"):
        (tmp_path / folder).mkdir()
    (tmp_path / "net/tcp").symlink_to("/proc/self/net/tcp")
    for number in (server.fileno(), 999_999):
        (tmp_path / f"fd/{number}").touch()
    monkeypatch.setattr(netlink, "open_netlink", refuse)
    monkeypatch.setattr(sockets, "_PROC", tmp_path)

    assert ZEROS | {"established": 1} == count_states({listener.getsockname()[1]})


@pytest.mark.parametrize("has_netlink", [True, False])
def test_system_that_cannot_be_asked_counts_nothing(
    has_netlink: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without /proc nothing tells which sockets are the own ones."""
    if not has_netlink:
        monkeypatch.delattr(socket, "AF_NETLINK")
    monkeypatch.setattr(sockets, "_PROC", tmp_path)

    assert count_states({80}) is None


@pytest.mark.parametrize("host", HOSTS)
def test_connection_is_found_by_its_addresses(
    opened: ExitStack, finder: SocketFinder, host: str
) -> None:
    """What is found is what its own socket says, on both sides."""
    for sock in connect(opened, listen(opened, host), host):
        local, peer = sock.getsockname()[:2], sock.getpeername()[:2]

        assert (0, tcp_info(sock)) == finder.find(local, peer)


def test_found_connection_tells_its_send_queue(opened: ExitStack, finder: SocketFinder) -> None:
    """The peer does not read."""
    server, _ = connect(opened, listen(opened), "127.0.0.1")
    fill(server)

    found = finder.find(server.getsockname(), server.getpeername())

    assert found is not None
    assert 0 < found[0]
    assert unsent_bytes(server.fileno()) == found[0]


def test_ipv4_on_an_ipv6_socket_is_found(opened: ExitStack, finder: SocketFinder) -> None:
    """However its addresses are written."""
    server, client = connect(opened, listen(opened, "::"), "127.0.0.1")
    (host, port), (peer, peer_port) = server.getsockname()[:2], server.getpeername()[:2]
    assert "::ffff:127.0.0.1" == host

    expected = (0, tcp_info(server))
    assert expected == finder.find((host, port), (peer, peer_port))
    assert expected == finder.find(client.getpeername(), client.getsockname())
    assert finder.find(("::1", port), (peer, peer_port)) is None


@pytest.mark.parametrize(
    ("any_host", "host"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::", "127.0.0.1")],
)
def test_server_that_tells_what_it_listens_on_is_found(
    opened: ExitStack, finder: SocketFinder, any_host: str, host: str
) -> None:
    """granian does, and its ports are texts. What is identified once can be asked again."""
    server, _ = connect(opened, listen(opened, any_host), host)
    peer, peer_port = server.getpeername()[:2]

    asked = identify((any_host, str(server.getsockname()[1])), (peer, str(peer_port)))

    assert asked is not None
    for _ in range(2):
        assert (0, tcp_info(server)) == finder.look(asked)


def test_listening_socket_is_not_taken_for_a_connection(
    opened: ExitStack, finder: SocketFinder
) -> None:
    """The kernel answers with it where there is no such connection, and not at all without it."""
    listener = listen(opened)
    server, _ = connect(opened, listener, "127.0.0.1")
    local, (peer, peer_port) = server.getsockname(), server.getpeername()

    assert finder.find(local, (peer, peer_port ^ 1)) is None
    assert finder.find(local, ("127.0.0.2", peer_port)) is None
    listener.close()
    assert finder.find(local, (peer, peer_port ^ 1)) is None
    assert finder.find(local, (peer, peer_port)) is not None


def test_connection_that_has_ended_is_not_found(opened: ExitStack, finder: SocketFinder) -> None:
    """It waits in TIME_WAIT, on the side that closed first."""
    server, client = connect(opened, listen(opened), "127.0.0.1")
    local, peer = server.getsockname(), server.getpeername()
    server.close()
    wait_until(lambda: CLOSE_WAIT == (tcp_info(client) or (0,))[0])
    client.close()

    wait_until(lambda: finder.find(local, peer) is None)


@pytest.mark.parametrize(
    "host", ["", "localhost", "1", "a\0b", "::1%lo", "/run/server.sock", "\ud800"]
)
def test_what_is_no_address_is_not_found(finder: SocketFinder, host: str) -> None:
    """Such as the name of a Unix-domain socket, which has no port."""
    assert finder.find((host, 1), ("127.0.0.1", 2)) is None
    assert finder.find(("127.0.0.1", 1), (host, 2)) is None


@pytest.mark.parametrize("port", ["", "http", "-1", -1, 65536])
def test_what_is_no_port_is_not_found(finder: SocketFinder, port: int | str) -> None:
    """Headers of a proxy may say anything."""
    assert finder.find(("127.0.0.1", 1), ("127.0.0.1", port)) is None
    assert finder.find(("127.0.0.1", port), ("127.0.0.1", 1)) is None


def test_answer_to_an_earlier_question_is_passed_over(
    opened: ExitStack, finder: SocketFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt between question and answer leaves one there."""
    server, _ = connect(opened, listen(opened), "127.0.0.1")
    loopback = mapped(bytes((127, 0, 0, 1)))

    def used() -> socket.socket:
        sock = netlink.open_netlink()
        sock.send(question(99, Identity(loopback, 1, loopback, 1)))
        return sock

    monkeypatch.setattr(sockets, "open_netlink", used)

    assert (0, tcp_info(server)) == finder.find(server.getsockname(), server.getpeername())


def test_finder_keeps_one_socket_in_each_process(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child process has another number, and opens another one instead of the inherited."""
    server, _ = connect(opened, listen(opened), "127.0.0.1")
    before, finder, expected = open_files(), SocketFinder(), (0, tcp_info(server))

    for process in (1, 1, 2):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        assert expected == finder.find(server.getsockname(), server.getpeername())
        assert before + 1 == open_files()

    finder.close()
    finder.close()
    assert before == open_files()


def test_nothing_is_found_where_netlink_is_forbidden(
    opened: ExitStack, finder: SocketFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no other source."""
    server, _ = connect(opened, listen(opened), "127.0.0.1")
    monkeypatch.setattr(sockets, "open_netlink", refuse)

    assert finder.find(server.getsockname(), server.getpeername()) is None
