"""TCP connections as Linux lists them: the process's own by state, and one by its addresses.

Netlink answers both. Where it is forbidden or missing (seccomp, gVisor) the tables
/proc/self/net/tcp and tcp6 answer the first; on another system than Linux nothing does.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from .kernel import STATE_NAMES, TcpInfo
from .netlink import PIECE, Identity, list_states, mapped, open_netlink, question, read_answer

__all__ = ["COUNTED_STATES", "SocketFinder", "count_states", "identify"]

#: The states of a connection whose socket a process still holds.
COUNTED_STATES: Final = (
    *("established", "fin_wait1", "fin_wait2", "close_wait", "last_ack", "closing"),
)
_COUNTED: Final = frozenset(state for state, name in STATE_NAMES.items() if name in COUNTED_STATES)

_PROC: Final = Path("/proc/self")

#: 0.0.0.0 and ::
_ANY: Final = (mapped(b"\0" * 4), b"\0" * 16)
# Nothing is sent to it: to connect a datagram socket only chooses its addresses (udp(7)).
_DISCARD_PORT: Final = 9


def count_states(ports: Collection[int]) -> dict[str, int] | None:
    """Count this process's own TCP connections by state.

    Worker processes share a listening port, so "own" are those whose inode is among this process's
    file descriptors. Neither listening sockets count nor what no process holds, such as TIME_WAIT.
    While connections come and go the numbers are approximate.

    For a thread: it takes some microseconds for each open file and for each connection of the
    ports, and never keeps the interpreter's lock for longer than a piece of a dump takes to read.

    Args:
        ports: The connections' local ports.

    Returns:
        Number by state, for all of `COUNTED_STATES`; `None` where the kernel cannot be asked.
    """
    wanted = frozenset(ports)
    counts = dict.fromkeys(COUNTED_STATES, 0)
    try:
        try:
            found = list_states(wanted, _COUNTED)
        except OSError:
            found = _read_proc(wanted)
        for inode in _own_inodes(found):
            counts[STATE_NAMES[found[inode]]] += 1
    except OSError:
        return None
    return counts


def _own_inodes(wanted: Collection[int]) -> set[int]:
    """Return those of the inodes that are sockets of this process.

    Raises:
        OSError: There is no /proc.
    """
    own: set[int] = set()
    with os.scandir(_PROC / "fd") as entries:
        for entry in entries:
            if len(own) == len(wanted):
                break
            try:
                status = os.fstat(int(entry.name))
            except OSError:  # closed meanwhile
                continue
            # A file may have the same number in its own file system.
            if status.st_ino in wanted and stat.S_ISSOCK(status.st_mode):
                own.add(status.st_ino)
    return own


def _read_proc(ports: Collection[int]) -> dict[int, int]:
    """Return inode -> state of every connection of these ports, whoever's it is.

    Raises:
        OSError: There is no such table.
    """
    found: dict[int, int] = {}
    endings = {f":{port:04X}" for port in ports}
    for line in _lines(_PROC / "net/tcp", _PROC / "net/tcp6"):
        # Its number, local address, remote address, state, five more, inode.
        _, local, rest = line.split(None, 2)
        if local[-5:] in endings:
            fields = rest.split(None, 8)
            state, inode = int(fields[1], 16), int(fields[7])
            if inode and state in _COUNTED:
                found[inode] = state
    return found


def _lines(table: Path, table6: Path) -> Iterator[str]:
    # The kernel writes some 50 lines at a time, each time without the interpreter's lock.
    with table.open() as lines:
        yield from lines
    try:
        lines = table6.open()
    except OSError:  # a kernel without IPv6
        return
    with lines:
        yield from lines


class SocketFinder:
    """Finds connections by their addresses, for servers that do not show their sockets.

    It keeps one netlink socket from the first question on, and opens another one in a child
    process. For one thread at a time.
    """

    __slots__ = ("_netlink", "_process", "_sequence")

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None
        self._process = 0
        self._sequence = 0

    def find(
        self, local: tuple[str, int | str], peer: tuple[str, int | str]
    ) -> tuple[int, TcpInfo] | None:
        """Return what `look` returns of a connection with these addresses; see `identify`."""
        asked = identify(local, peer)
        return None if asked is None else self.look(asked)

    def look(self, asked: Identity) -> tuple[int, TcpInfo] | None:
        """Return what the kernel knows about a connection, of whatever process.

        It never waits: the kernel has answered when it has taken the question.

        Args:
            asked: The connection, from `identify`.

        Returns:
            What `unsent_bytes` and `tcp_info` of `asgi_ws_observe.kernel` say of its socket. `None`
            where the kernel cannot be asked, and where there is no such connection or one in
            TIME_WAIT.
        """
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        try:
            netlink = self._open()
            netlink.send(question(self._sequence, asked))
            sequence = -1
            while sequence != self._sequence:
                # One that an interrupt left there may come first.
                sequence, found, queue, known = read_answer(netlink.recv(PIECE))
        except (OSError, struct.error):
            return None
        return None if known is None or found != asked else (queue, known)

    def close(self) -> None:
        """Close the netlink socket; the next question opens another one."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _open(self) -> socket.socket:
        process = os.getpid()
        # Parent and child would take each other's answers from one socket.
        if self._netlink is None or process != self._process:
            self.close()
            self._netlink = open_netlink()
            self._netlink.setblocking(False)
            self._process = process
        return self._netlink


def identify(local: tuple[str, int | str], peer: tuple[str, int | str]) -> Identity | None:
    """Return by what the kernel knows a connection, which stays the same as long as it lives.

    Args:
        local: Numeric address and port of this side; IPv4 may be written as mapped into IPv6. For
            0.0.0.0 and :: (granian tells what it listens on) the address is taken from which this
            host reaches the peer.
        peer: Those of the other side.

    Returns:
        `None` for what is no numeric address or no port, for a peer that is out of reach, and for a
        link-local address (fe80::/10), which is none without its interface.
    """
    try:
        address, peer_address = _address(local[0]), _address(peer[0])
        if address in _ANY:
            address = _source_towards(peer[0])
        asked = Identity(address, int(local[1]), peer_address, int(peer[1]))
    except (OSError, ValueError):  # the latter: a null character, or a port that is no number
        return None
    return asked if 0 <= asked.port <= 65535 and 0 <= asked.peer_port <= 65535 else None


def _address(host: str) -> bytes:
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host)
    return mapped(socket.inet_pton(socket.AF_INET, host))


def _source_towards(host: str) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect((host, _DISCARD_PORT))
        return _address(datagrams.getsockname()[0])
