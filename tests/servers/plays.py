"""What clients and applications do to end a connection, each on a path of its own."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.servers.raw import TEXT, RawClient, close_frame, frame
from tests.support import wait_until

#: What a server is told as the largest message, bytes.
MAX_SIZE: Final = 100_000
#: How long a client waits for the server to end the connection, seconds.
PATIENCE: Final = 60.0

Act = Callable[[RawClient], None]


@dataclass(frozen=True)
class Play:
    """A scenario's client.

    Attributes:
        path: Where it connects, which is the label ``route``.
        act: What it does then.
        without: A header that its handshake lacks.
        pongs: Whether it answers pings.
    """

    path: str
    act: Act
    without: str = ""
    pongs: bool = True

    def run(self, address: str) -> RawClient:
        """Play it against a server, until one of both has ended the connection."""
        client = RawClient(address, self.path, without=self.without, pongs=self.pongs)
        try:
            # A server that gives no answer, or that is killed.
            with contextlib.suppress(OSError, EOFError):
                self.act(client)
        finally:
            client.close()
        return client


def last(data: bytes) -> Act:
    """Return a client that gets an echo, sends something last, and reads to the end."""

    def act(client: RawClient) -> None:
        client.opened()
        client.send(frame(TEXT, b"hello"))
        client.read_until(b"hello")
        client.send(data)
        client.read_to_end(PATIENCE)

    return act


def vanish(how: str, path: str = "") -> Act:
    """Return a client that leaves without a close frame.

    Args:
        how: `reset` or `finish`.
        path: Where it leaves during the handshake, when the application has been called.
    """

    def act(client: RawClient) -> None:
        if path:
            wait_until(lambda: path in _get(client, "/waits"))
        else:
            client.opened()
        getattr(client, how)()
        if how == "finish":
            client.read_to_end(PATIENCE)

    return act


def _get(client: RawClient, path: str) -> str:
    with urllib.request.urlopen(f"http://{client.address}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def silent(client: RawClient) -> None:
    """Only read."""
    client.read_to_end(PATIENCE)


#: Scenario -> its client, the slowest first.
PLAYS: Final[dict[str, Play]] = {
    "message above the size limit": Play(
        "/rooms/a/large", last(frame(TEXT, b"x" * 2 * MAX_SIZE, size=32 * 2**20))
    ),
    "application returns before it accepts": Play("/silent", RawClient.opened),
    "client answers no ping of the server": Play("/rooms/a/silent", silent, pongs=False),
    "server ends (SIGTERM)": Play("/rooms/a/sigterm", last(frame(TEXT, b"stays"))),
    "client closes with 1000": Play("/rooms/a/1000", last(close_frame(1000, "bye"))),
    "client closes with 1001": Play("/rooms/a/1001", last(close_frame(1001))),
    "client closes with 4321": Play("/rooms/a/4321", last(close_frame(4321, "mine"))),
    "client closes without a code": Play("/rooms/a/empty", last(close_frame(None))),
    "client closes with 1002": Play("/rooms/a/1002", last(close_frame(1002))),
    "client closes with 1009": Play("/rooms/a/1009", last(close_frame(1009))),
    "client resets the connection (RST)": Play("/rooms/a/rst", vanish("reset")),
    "client ends the stream (FIN)": Play("/rooms/a/fin", vanish("finish")),
    "client resets, the application never receives": Play("/deaf/rst", vanish("reset")),
    "text that is no UTF-8": Play("/rooms/a/utf8", last(frame(TEXT, b"\xff\xfe"))),
    "frame without a mask": Play("/rooms/a/bare", last(frame(TEXT, b"x", masked=False))),
    "application closes with 4000": Play("/rooms/a/4000", last(frame(TEXT, b"close 4000"))),
    "application closes with 1011": Play("/rooms/a/1011", last(frame(TEXT, b"close 1011"))),
    "application raises": Play("/rooms/a/raise", last(frame(TEXT, b"raise"))),
    "application returns without a close": Play("/rooms/a/return", last(frame(TEXT, b"return"))),
    "application closes before it accepts": Play("/rejected", RawClient.opened),
    "application answers 429": Play("/denied", RawClient.opened),
    "application raises before it accepts": Play("/broken", RawClient.opened),
    "path without a route": Play("/nowhere", RawClient.opened),
    "client resets before the answer": Play("/late/rst", vanish("reset", "/late/rst")),
    "client ends the stream before the answer": Play("/late/fin", vanish("finish", "/late/fin")),
    "handshake without a key": Play(
        "/rooms/a/keyless", RawClient.opened, without="Sec-WebSocket-Key"
    ),
}
