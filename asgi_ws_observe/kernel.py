"""What Linux says about one TCP socket: its state, its round trip, its bytes, its send queue.

Every answer is `None` where there is none: on another system, for a socket that is not TCP (such as
a Unix-domain socket), and for one that is closed.
"""

from __future__ import annotations

import socket
import sys
from struct import Struct
from typing import Final, NamedTuple, Protocol

if sys.platform == "linux":
    # Windows has neither, and other systems have a TCP_INFO with another struct, or none.
    import fcntl
    import termios

__all__ = [
    "CLOSED",
    "CLOSE_WAIT",
    "ESTABLISHED",
    "STATE_NAMES",
    "GivesOptions",
    "TcpInfo",
    "tcp_info",
    "unpack_tcp_info",
    "unsent_bytes",
]

#: Both directions are open.
ESTABLISHED: Final = 1
#: No connection: after a reset, after both sides have closed, or not yet one.
CLOSED: Final = 7
#: The peer has closed its direction, this side has not.
CLOSE_WAIT: Final = 8

#: The kernel's number (include/net/tcp_states.h) -> the state's name in lower case.
STATE_NAMES: Final[dict[int, str]] = {
    ESTABLISHED: "established",
    2: "syn_sent",
    3: "syn_recv",
    4: "fin_wait1",
    5: "fin_wait2",
    6: "time_wait",
    CLOSED: "close",
    CLOSE_WAIT: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
}

# linux/tcp.h struct tcp_info, which grows at its end only: tcpi_state, tcpi_rtt, tcpi_bytes_acked,
# tcpi_bytes_received, tcpi_bytes_sent.
_FIELDS: Final = Struct("=B67xI48xQQ64xQ")
_SIZE: Final = _FIELDS.size
# linux/sockios.h; Python has no name for it.
_SIOCOUTQNSD: Final = 0x894B
_INT: Final = Struct("=i")


class GivesOptions(Protocol):
    """A socket, or what a transport gives as its ``socket``."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """Return the raw value of an option."""
        ...


class TcpInfo(NamedTuple):
    """What the kernel knows about one TCP connection (linux/tcp.h, struct tcp_info).

    Attributes:
        state: The kernel's number of the state, a key of `STATE_NAMES`.
        rtt: The smoothed round trip as TCP's acknowledgements show it, seconds; 0.0 where there is
            no measurement.
        bytes_in: Payload bytes received in order; 0 before Linux 4.1, which counts them first.
        bytes_out: Payload bytes sent, those sent again counted again. Linux 4.1 to 4.18 count the
            bytes that the peer has acknowledged instead (one more on the side that connected, for
            its SYN); older ones nothing, so it is 0.
    """

    state: int
    rtt: float
    bytes_in: int
    bytes_out: int


def tcp_info(sock: GivesOptions) -> TcpInfo | None:
    """Return what the kernel knows about the connection of a socket.

    Args:
        sock: A socket, or what ``transport.get_extra_info("socket")`` gives on asyncio or uvloop.

    Returns:
        `None` on another system than Linux, for a socket that is not TCP, and for a closed one.
    """
    if sys.platform != "linux":
        return None
    try:
        data = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except (OSError, ValueError):  # uvloop raises the latter for a closed one
        return None
    return unpack_tcp_info(data)


def unpack_tcp_info(data: bytes) -> TcpInfo:
    """Return what a ``struct tcp_info`` says.

    Args:
        data: Its bytes, of which the first 208 matter; fewer where the kernel's has fewer.
    """
    if len(data) >= _SIZE:
        state, rtt, _, received, out = _FIELDS.unpack_from(data)
    else:
        state, rtt, out, received, _ = _FIELDS.unpack(data.ljust(_SIZE, b"\0"))
    # Half the price of the constructor.
    return tuple.__new__(TcpInfo, (state, rtt / 1e6, received, out))


def unsent_bytes(fileno: int) -> int | None:
    """Return how much is in the kernel's send queue: what the peer has not acknowledged yet.

    Args:
        fileno: A file descriptor.

    Returns:
        Bytes, sent or not yet (tcp(7), SIOCOUTQ). `None` on another system than Linux, for anything
        that is no TCP connection, and for a closed descriptor.
    """
    if sys.platform != "linux":
        return None
    answer = bytearray(_INT.size)
    try:
        # Only TCP knows this one (Linux 2.6.39); terminals and other sockets know the next, too.
        fcntl.ioctl(fileno, _SIOCOUTQNSD, answer)
        fcntl.ioctl(fileno, termios.TIOCOUTQ, answer)
    except (OSError, ValueError):  # the latter for -1, the number of a closed socket
        return None
    unsent: int = _INT.unpack(answer)[0]
    return unsent
