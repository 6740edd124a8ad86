"""A client that makes up names: the number of series and the memory stay bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.servers.raw import close_frame
from tests.servers.socketio_nodes import RawSocketIO, Site, node
from tests.support import wait_until

#: Bytes that are little for so many names.
LITTLE: Final = 4_000_000
_VALUE: Final = re.compile(r" \S+( \S+)?$")

Act = Callable[[RawSocketIO, int], None]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run one node, whose spans and lines nobody needs."""
    needless = {f"ASGI_WS_OBSERVE_LOG_{each}": "false" for each in ("OPEN", "CLOSE")}
    with node(tmp_path, ASGI_WS_OBSERVE_CONNECTION_SPAN="off", **needless) as found:
        yield found


def series(site: Site) -> set[str]:
    """Return every series of this library's part, without its value."""
    lines = site.server.exposition().text.splitlines()
    return {_VALUE.sub("", each) for each in lines if each.startswith(("socketio_", "engineio_"))}


def memory(site: Site) -> dict[str, int]:
    """Return how much memory our own code has allocated, and all together."""
    return dict(json.loads(site.server.get("/memory")))


def send_bogus(raw: RawSocketIO, number: int) -> None:
    """Send an event that nobody has heard of."""
    raw.emit(f"bogus {number}", {"of": number})


def join(raw: RawSocketIO, number: int) -> None:
    """Join a room of a kind of its own."""
    raw.emit("join", f"kind{number}:{number}")


def enter(raw: RawSocketIO, number: int) -> None:
    """Ask for a namespace."""
    raw.say(f"40/made/up/{number},")


# What a server that takes all namespaces counts apart is 50 of them; of rooms, 20 categories.
@pytest.mark.parametrize(
    ("server", "act", "first", "last"),
    [
        ("main", send_bogus, 50, 500),
        ("main", join, 1_000, 10_000),
        ("main", enter, 30, 300),
        ("wild", enter, 60, 300),
    ],
    ids=["events", "rooms", "namespaces", "namespaces that are taken"],
)
def test_made_up_names_make_no_series(
    site: Site, server: str, act: Act, first: int, last: int
) -> None:
    """After the first tenth there are all that there will be, and little memory is held."""
    with closing(RawSocketIO(site, server)) as raw:
        raw.enter()
        for number in range(first):
            act(raw, number)
        raw.call("echo", number=1)
        before, held = series(site), memory(site)
        for number in range(first, last):
            act(raw, number)
        raw.call("echo", number=2)
        assert before == series(site)
        assert memory(site)["ours"] - held["ours"] < LITTLE
        raw.send(close_frame())
        raw.read_to_end()
    wait_until(lambda: 0 == site.number("socketio_connections_active"))
    assert memory(site)["all"] - held["all"] < LITTLE


def long_room(raw: RawSocketIO, number: int) -> None:
    """Join a room with a long name, and leave it again."""
    name = f"room:{number}{'x' * 100_000}"
    raw.emit("join", name)
    raw.emit("leave", name)


def long_namespace(raw: RawSocketIO, number: int) -> None:
    """Enter a namespace with a long name."""
    raw.say(f"40/{number}{'x' * 200_000},")


@pytest.mark.parametrize(
    ("server", "act", "number"),
    [("main", long_room, 200), ("wild", long_namespace, 60)],
    ids=["rooms", "namespaces"],
)
def test_long_names_are_not_held(site: Site, server: str, act: Act, number: int) -> None:
    """When the client has left, nothing has its names any more."""
    held = memory(site)
    with closing(RawSocketIO(site, server)) as raw:
        raw.enter()
        for each in range(number):
            act(raw, each)
        raw.call("echo", number=1)
        raw.send(close_frame())
        raw.read_to_end()
    wait_until(lambda: 0 == site.number("socketio_connections_active"))
    wait_until(lambda: 0 == site.number("ws_connections_active"))
    assert memory(site)["all"] - held["all"] < LITTLE
