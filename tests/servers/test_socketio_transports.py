"""Transports of Engine.IO: polling, WebSocket, upgrades, refused requests, and what runs below."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.servers.raw import TEXT, close_frame, frame
from tests.servers.socketio_nodes import PATHS, RawSocketIO, Since, Site, client, node
from tests.support import until, wait_until

ACTIVE = "socketio_connections_active"
UPGRADES = "engineio_upgrades_total"
ENGINE = tuple(map(int, version("python-engineio").split(".")[:2]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run one node."""
    with node(tmp_path_factory.mktemp("node")) as found:
        yield found


@pytest.fixture(autouse=True)
def _alone(site: Site) -> None:
    """Wait until the clients of the test before have gone."""
    wait_until(lambda: 0 == site.number(ACTIVE))


def ask(site: Site, query: str, server: str = "main", **headers: str) -> httpx.Response:
    """Return the answer to a request of Engine.IO."""
    address = f"http://{site.server.address}{PATHS[server]}?{query}"
    return httpx.get(address, headers=headers, timeout=10)


def polling(site: Site, server: str = "main") -> str:
    """Begin a session by polling and return whose."""
    found = re.search(r'"sid":"([^"]+)"', ask(site, "EIO=4&transport=polling", server).text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("transports", "expected"),
    [
        (("polling",), "polling"),
        (("websocket",), "websocket"),
        (("polling", "websocket"), "websocket"),
    ],
    ids=["polling", "websocket", "upgrade"],
)
async def test_clients_are_counted_by_their_transport(
    site: Site, transports: tuple[str, ...], expected: str
) -> None:
    """As long as they are there; one that has upgraded is counted where it is now."""
    numbers = Since(site)
    # The library lets a poll wait for a ping that never comes, when its client has left.
    async with client(site, "quick", transports=transports) as one:
        assert "hello" == await one.call("echo", "hello")
        await until(lambda: 1 == numbers(ACTIVE, namespace="/", transport=expected))
        assert 1 == numbers(ACTIVE)
        (opened,) = site.lines("socketio_open", sid=one.sid)
        (span,) = site.spans_of("connect /", id=one.sid)
        assert opened["transport"] == span["attributes"]["socketio.transport"]
        labels = {"transport": opened["transport"], "outcome": "accepted"}
        assert 1 == numbers("socketio_connects_total", **labels)
    await until(lambda: 0 == numbers(ACTIVE))
    assert int(len(transports) == 2) == numbers(UPGRADES, outcome="ok")
    assert 0 == numbers(UPGRADES, outcome="failed")


@pytest.mark.parametrize(
    "packets",
    [["4nonsense"], ["2probe", "4nonsense"], ["2probe"], []],
    ids=["nonsense", "nonsense after the probe", "gone after the probe", "gone"],
)
def test_upgrade_that_fails_is_counted_and_polling_goes_on(site: Site, packets: list[str]) -> None:
    """Whether the client says something else or leaves."""
    numbers, sid = Since(site), polling(site)
    with closing(RawSocketIO(site, more=f"&sid={sid}")) as raw:
        for packet in packets:
            raw.say(packet)
        if packets == ["2probe"]:
            raw.read_until(b"3probe")
        raw.send(close_frame())
        raw.read_to_end()
    wait_until(lambda: 1 == numbers(UPGRADES, outcome="failed"))
    assert 0 == numbers(UPGRADES, outcome="ok")
    address = f"http://{site.server.address}{PATHS['main']}?EIO=4&transport=polling&sid={sid}"
    assert "OK" == httpx.post(address, content="40").text
    assert 1 == numbers("socketio_connects_total", transport="polling", outcome="accepted")
    assert 1 == numbers(ACTIVE, transport="polling")
    if packets:
        # The library takes one that left before its probe for one that upgrades still.
        assert '40{"sid"' in httpx.get(address).text
    assert "OK" == httpx.post(address, content="1").text
    assert 0 == numbers(ACTIVE)


@pytest.mark.parametrize(
    ("query", "headers", "reason"),
    [
        ("EIO=4&transport=polling&sid=AAAA", {}, "bad-sid"),
        ("EIO=4&transport=pigeon", {}, "bad-transport"),
        ("EIO=3&transport=polling", {}, "bad-version"),
        ("EIO=4&transport=polling", {"origin": "http://evil.example"}, "bad-origin"),
        ("EIO=4&transport=polling&j=x", {}, "bad-jsonp-index"),
        ("EIO=4&transport=websocket", {}, "bad-upgrade"),
    ],
)
def test_request_that_is_refused_is_counted_by_its_reason(
    site: Site, query: str, headers: dict[str, str], reason: str
) -> None:
    """Each time, though the library logs a reason only once."""
    numbers = Since(site)
    for _ in range(2):
        assert 400 == ask(site, query, **headers).status_code
    assert 2 == numbers("engineio_rejections_total", reason=reason)
    assert 2 == numbers("engineio_rejections_total")


def test_session_of_another_node_is_a_bad_sid(site: Site) -> None:
    """By polling and by WebSocket: the way to find out that sessions are not sticky."""
    numbers, sid = Since(site), polling(site, "wild")
    assert 400 == ask(site, f"EIO=4&transport=polling&sid={sid}").status_code
    with closing(RawSocketIO(site, more=f"&sid={sid}")) as raw:
        assert 403 == raw.status
    assert 2 == numbers("engineio_rejections_total", reason="bad-sid")
    assert 1 == numbers("ws_handshake_failures_total", route="/socket.io/")


@pytest.mark.skipif(ENGINE < (4, 15), reason="python-engineio says nothing of it before 4.15")
def test_request_of_an_upgraded_session_is_unexpected(site: Site) -> None:
    """A client that polls on, beside its WebSocket."""
    numbers = Since(site)
    with closing(RawSocketIO(site)) as raw:
        raw.read_until(b"pingTimeout")
        found = re.search(rb'"sid":"([^"]+)"', raw.got)
        assert found is not None
        query = f"EIO=4&transport=polling&sid={found[1].decode()}"
        assert 400 == ask(site, query).status_code
    assert 1 == numbers("engineio_rejections_total", reason="unexpected-http")


@pytest.mark.parametrize(
    ("server", "route"), [("main", "/socket.io/"), ("wild", "/wild/{path}"), ("bare", None)]
)
def test_websocket_below_is_observed_without_its_packets(
    site: Site, server: str, route: str | None
) -> None:
    """Its bytes and its end are known; packets have neither spans nor handler times."""
    numbers, spans = Since(site), len(site.named("ws.message"))
    with closing(RawSocketIO(site, server)) as raw:
        sid = raw.enter()
        for number in range(5):
            raw.call("echo", "hello", number=number)
        if route is not None:
            assert 1 == numbers("ws_connections_active", route=route)
        raw.send(close_frame(1001))
        raw.read_to_end()
    wait_until(lambda: site.lines("socketio_close", sid=sid))
    (closed,) = site.lines("socketio_close", sid=sid)
    assert ("transport_close", 1001) == (closed["reason"], closed["code"])
    assert spans == len(site.named("ws.message"))
    assert 0 == numbers("ws_handler_duration_seconds_count")
    if route is None:
        assert 0 == numbers("ws_connects_total")
        return
    wait_until(lambda: numbers("ws_closes_total", route=route))
    ending = {"code": "1001", "closed_by": "client", "reason": "going_away"}
    assert 1 == numbers("ws_closes_total", route=route, **ending)
    # The CONNECT packet and the events; the answers, the OPEN packet and pings.
    assert 6 == numbers("ws_messages_total", route=route, direction="in")
    assert raw.frames - 1 == numbers("ws_messages_total", route=route, direction="out")
    wire = [numbers("ws_wire_bytes_total", route=route, direction=way) for way in ("in", "out")]
    assert [raw.bytes_out, raw.bytes_in] == pytest.approx(wire, abs=1)
    (connect,) = site.spans_of("connect /", id=sid)
    upgrade = site.named(f"ws.upgrade {route}")[-1]
    assert [[upgrade["trace"], upgrade["span"]]] == connect["links"]


def test_slow_clients_bytes_are_in_the_send_buffer(site: Site) -> None:
    """Of the WebSocket below; the packets that wait for it are in Engine.IO's queue."""
    with closing(RawSocketIO(site)) as raw:
        raw.enter()
        raw.emit("flood", 200)
        wait_until(lambda: site.number("engineio_queue_depth") > 50)
        found = site.server.exposition()
        assert 50 < found.total("engineio_queue_depth_max") <= found.total("engineio_queue_depth")
        route = {"route": "/socket.io/"}
        wait_until(lambda: site.number("ws_send_buffer_current_bytes", **route) > 65536)
        raw.reset()
    wait_until(lambda: 50 > site.number("engineio_queue_depth"))
    wait_until(lambda: 0 == site.number("ws_connections_active", **route))


async def test_ordinary_websocket_of_the_same_application_is_untouched(site: Site) -> None:
    """It has its spans and its handler times."""
    numbers, spans = Since(site), len(site.named("ws.message"))
    async with connect(f"ws://{site.server.address}/plain") as plain, client(site) as one:
        for number in range(3):
            await plain.send(f"hello {number}")
            assert f"hello {number}" == await plain.recv()
            assert "hello" == await one.call("echo", "hello")
    await until(lambda: 0 == numbers("ws_connections_active", route="/plain"))
    assert 3 == numbers("ws_handler_duration_seconds_count", route="/plain")
    assert 3 == numbers("ws_handler_duration_seconds_count")
    assert 3 == len(site.named("ws.message")) - spans


def test_frame_that_is_no_packet_ends_the_session(site: Site) -> None:
    """As the library would have it; nothing of our own fails."""
    numbers = Since(site)
    with closing(RawSocketIO(site)) as raw:
        sid = raw.enter()
        raw.send(frame(TEXT, b"42nonsense"))
        raw.call("echo", number=1)
        raw.send(close_frame())
        raw.read_to_end()
    wait_until(lambda: site.lines("socketio_close", sid=sid))
    assert 0 == numbers(ACTIVE)
    assert {} == site.server.own_errors()
