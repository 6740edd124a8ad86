"""What Linux's NETLINK_SOCK_DIAG asks and answers about TCP (sock_diag(7), linux/inet_diag.h)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection
from typing import Final, NamedTuple

from .kernel import TcpInfo, unpack_tcp_info

__all__ = ["Identity", "list_states", "mapped", "open_netlink", "question", "read_answer"]

#: The kernel answers at once. What takes longer is no answer, seconds.
TIMEOUT: Final = 1.0
#: The largest piece of a dump (net/netlink/af_netlink.c, netlink_recvmsg). To read one takes some
#: 0.2 ms, and the kernel writes the next one without the interpreter's lock.
PIECE: Final = 32 * 1024

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 0x1
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_INET_DIAG_INFO: Final = 2
_INET_DIAG_NOCOOKIE: Final = 0xFFFFFFFF_FFFFFFFF
_ALL_STATES: Final = 0xFFFFFFFF

# struct nlmsghdr and struct inet_diag_req_v2.
_REQUEST: Final = struct.Struct("=IHHII BBBxI HH16s16sIQ")
# struct nlmsghdr and struct inet_diag_msg: its state, local port and inode.
_LISTED: Final = struct.Struct("=IH2xI4x xB2x H62xI")
# struct nlmsghdr: its kind and sequence number.
_HEADER: Final = struct.Struct("=4xH2xI4x")
# struct nlmsghdr and struct inet_diag_msg: its family, identity and send queue.
_FOUND: Final = struct.Struct("=16x B3x HH16s16s20xI8x")
# struct nlmsghdr and the number of an error, negative, or 0.
_STATUS: Final = struct.Struct("=16xi")
# struct nlattr
_ATTRIBUTE: Final = struct.Struct("=HH")

# ::ffff:0:0/96 (RFC 4291 section 2.5.5.2)
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"


class Identity(NamedTuple):
    """A connection's addresses, 16 bytes each, and ports.

    Attributes:
        local: The address of this side; IPv4 is mapped into IPv6 (RFC 4291 section 2.5.5.2).
        port: The port of this side.
        peer: The address of the other side.
        peer_port: The port of the other side.
    """

    local: bytes
    port: int
    peer: bytes
    peer_port: int


def mapped(address: bytes) -> bytes:
    """Return the four bytes of an IPv4 address as IPv6 has them."""
    return _MAPPED + address


def open_netlink() -> socket.socket:
    """Return a new socket that sock_diag answers on.

    Raises:
        OSError: There is no such thing, or it is forbidden.
    """
    family: int | None = getattr(socket, "AF_NETLINK", None)
    if family is None:
        raise OSError("only Linux has netlink")
    return socket.socket(family, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)


def _request(
    sequence: int,
    family: int,
    connection: Identity,
    *,
    flags: int = 0,
    extensions: int = 0,
    states: int = _ALL_STATES,
) -> bytes:
    local, port, peer, peer_port = connection
    return _REQUEST.pack(
        *(_REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | flags, sequence, 0),
        *(family, socket.IPPROTO_TCP, extensions, states),
        *(socket.htons(port), socket.htons(peer_port), local, peer, 0, _INET_DIAG_NOCOOKIE),
    )


def list_states(ports: Collection[int], states: Collection[int]) -> dict[int, int]:
    """Return inode -> state of the host's connections of these local ports in these states.

    Connections without a socket, whose inode is 0, are left out.

    Args:
        ports: Local ports.
        states: The kernel's numbers of states.

    Raises:
        OSError: The kernel does not answer so.
    """
    found: dict[int, int] = {}
    mask = sum(1 << state for state in states)
    # Longer than a piece, so that the short message at the end is read like the others.
    buffer = bytearray(PIECE + _LISTED.size)
    questions = [(port, family) for port in ports for family in (socket.AF_INET, socket.AF_INET6)]
    with open_netlink() as netlink:
        netlink.settimeout(TIMEOUT)
        for sequence, (port, family) in enumerate(questions):
            any_of_port = Identity(b"", port, b"", 0)
            netlink.send(_request(sequence, family, any_of_port, flags=_NLM_F_DUMP, states=mask))
            while _read_piece(buffer, netlink.recv_into(buffer, PIECE), sequence, port, found):
                pass
    return found


def _read_piece(
    buffer: bytearray, size: int, sequence: int, port: int, found: dict[int, int]
) -> bool:
    """Add what a piece of a dump lists; return whether there is another piece.

    A dump that was interrupted (NLM_F_DUMP_INTR) is no worse than one that was not: other
    connections change meanwhile anyway, and none counts twice, as its inode is the key.

    Raises:
        OSError: The kernel refuses, or the piece is cut off.
    """
    network_port = socket.htons(port)
    place = 0
    while place < size:
        length, kind, answers, state, local, inode = _LISTED.unpack_from(buffer, place)
        if length < _STATUS.size or place + length > size:
            raise OSError("the kernel's answer is cut off")
        if answers == sequence:
            if kind == _SOCK_DIAG_BY_FAMILY:
                if inode and local == network_port:
                    found[inode] = state
            elif kind in (_NLMSG_DONE, _NLMSG_ERROR):
                # A kernel without its module tcp_diag says so at the end of an empty dump.
                error = -_STATUS.unpack_from(buffer, place)[0]
                if error:
                    raise OSError(error, os.strerror(error))
                return False
        place += length + 3 & ~3
    return True


def question(sequence: int, connection: Identity) -> bytes:
    """Return the request for one connection.

    Args:
        sequence: Its number, which the answer repeats; 32 bits.
        connection: The connection.
    """
    family = socket.AF_INET6
    # The kernel finds an IPv6 socket of mapped addresses under IPv4, too.
    if connection.local.startswith(_MAPPED) and connection.peer.startswith(_MAPPED):
        family = socket.AF_INET
        connection = connection._replace(local=connection.local[12:], peer=connection.peer[12:])
    return _request(sequence, family, connection, extensions=1 << (_INET_DIAG_INFO - 1))


def read_answer(answer: bytes) -> tuple[int, Identity | None, int, TcpInfo | None]:
    """Return what the kernel answers to a question about one connection.

    Returns:
        The number of the question; the connection that it is about, which may be the listening
        socket where there is no such connection, or `None` for an error; the bytes in its send
        queue; and what else is known, `None` for a connection without a socket (TIME_WAIT).

    Raises:
        struct.error: It is cut off.
    """
    kind, sequence = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        return sequence, None, 0, None
    family, port, peer_port, local, peer, queue = _FOUND.unpack_from(answer)
    if family == socket.AF_INET:
        local, peer = mapped(local[:4]), mapped(peer[:4])
    connection = Identity(local, socket.ntohs(port), peer, socket.ntohs(peer_port))
    return sequence, connection, queue, _tcp_info(answer)


def _tcp_info(answer: bytes) -> TcpInfo | None:
    place = _FOUND.size
    while place + _ATTRIBUTE.size <= len(answer):
        length, kind = _ATTRIBUTE.unpack_from(answer, place)
        if kind == _INET_DIAG_INFO:
            return unpack_tcp_info(answer[place + _ATTRIBUTE.size : place + length])
        # Whatever the kernel writes, this goes on.
        place += max(length + 3 & ~3, _ATTRIBUTE.size)
    return None
