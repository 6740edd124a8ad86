"""Clients that get in or do not, events that fail or are nobody's, and events that are forged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.servers.raw import close_frame
from tests.servers.socketio_nodes import RawSocketIO, Since, Site, client, node
from tests.support import wait_until

ACTIVE = "socketio_connections_active"
CONNECTS = "socketio_connects_total"
EVENTS = "socketio_events_total"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run one node."""
    with node(tmp_path_factory.mktemp("node")) as found:
        yield found


@pytest.fixture(autouse=True)
def _alone(site: Site) -> None:
    """Wait until the clients of the test before have gone."""
    wait_until(lambda: 0 == site.number(ACTIVE))


@pytest.fixture
def raw(site: Site) -> Iterator[RawSocketIO]:
    """Connect a client, to no namespace yet."""
    with closing(RawSocketIO(site)) as found:
        yield found


def leave(raw: RawSocketIO) -> None:
    """End the WebSocket, and wait until it has ended."""
    raw.send(close_frame())
    raw.read_to_end()


def trace_of(site: Site, name: str, **facts: Any) -> tuple[str, dict[str, Any]]:
    """Return the trace of the last span of a name with these facts, and its attributes."""
    span = site.spans_of(name, **facts)[-1]
    return span["trace"], span["attributes"]


@pytest.mark.parametrize(
    ("wish", "answer", "refusal"),
    [
        ("refuse", {"message": "no room for you"}, "no room for you"),
        ("deny", {"message": "Connection rejected by server"}, None),
    ],
    ids=["refuse", "deny"],
)
def test_refused_client_is_counted_and_told(
    site: Site, raw: RawSocketIO, wish: str, answer: dict[str, str], refusal: str | None
) -> None:
    """By an exception of the connect handler, or by its `False`."""
    numbers = Since(site)
    raw.say(f'40{{"wish":"{wish}"}}')
    raw.read_until(f"44{json.dumps(answer, separators=(',', ':'))}".encode())
    assert 1 == numbers(CONNECTS, outcome="refused", transport="websocket")
    assert (1, 0, 0) == (numbers(CONNECTS), numbers(ACTIVE), numbers("socketio_orphan_sids"))
    trace, attributes = trace_of(site, "connect /", outcome="refused")
    assert ("refused", refusal) == (
        attributes["error.type"],
        attributes.get("socketio.connect.refusal"),
    )
    (line,) = site.lines("socketio_close", trace_id=trace)
    assert ("refused", "/") == (line["outcome"], line["namespace"])
    assert [] == site.lines("socketio_error", trace_id=trace)
    assert raw.enter()


def test_connect_handler_that_fails_leaves_what_the_library_leaves(
    site: Site, raw: RawSocketIO
) -> None:
    """No answer, a line with the traceback, and a client in the tables whose transport is gone."""
    numbers, gone = Since(site), len(json.loads(site.server.get("/gone")))

    def left() -> int:
        return len(json.loads(site.server.get("/gone"))) - gone

    raw.say('40{"wish":"explode"}')
    wait_until(lambda: 1 == numbers(CONNECTS, outcome="error"))
    trace, attributes = trace_of(site, "connect /", outcome="error")
    assert "RuntimeError" == attributes["error.type"]
    (line,) = site.lines("socketio_error", trace_id=trace)
    assert ("connect", "/", "RuntimeError") == tuple(
        line[each] for each in ("operation", "namespace", "error_type")
    )
    assert "the connect handler fails" in line["exception"]
    assert 0 == numbers("socketio_orphan_sids")
    leave(raw)
    wait_until(lambda: 1 == numbers("ws_closes_total"))
    wait_until(lambda: left() == numbers("socketio_orphan_sids", namespace="/"))
    assert 0 == numbers(ACTIVE)
    assert 0 == numbers("socketio_disconnects_total")


def test_unknown_namespace_is_counted_without_its_name(site: Site, raw: RawSocketIO) -> None:
    """The client chose it."""
    numbers = Since(site)
    raw.say("40/unheard/of,")
    raw.read_until(b"44/unheard/of,")
    assert 1 == numbers(CONNECTS, namespace="_other", outcome="unknown_namespace")
    assert "unheard" not in site.server.exposition().text
    _, attributes = trace_of(site, "connect _other")
    assert "unknown_namespace" == attributes["socketio.connect.outcome"]
    assert "unknown_namespace" == site.lines("socketio_close", namespace="_other")[-1]["outcome"]


def test_second_connect_to_a_namespace_is_a_duplicate(site: Site, raw: RawSocketIO) -> None:
    """The first one stays."""
    numbers = Since(site)
    raw.enter()
    raw.say("40")
    raw.read_until(b'44"Unable to connect"')
    assert 1 == numbers(CONNECTS, namespace="/", outcome="duplicate")
    assert 1 == numbers(CONNECTS, namespace="/", outcome="accepted") == numbers(ACTIVE)
    raw.call("echo", number=1)


async def test_namespaces_are_counted_apart(site: Site) -> None:
    """One connection each, over one transport."""
    numbers = Since(site)
    async with client(site, namespaces=("/", "/private", "/any")) as one:
        assert [1, 1, 1, 0] == [
            numbers(ACTIVE, namespace=each) for each in ("/", "/private", "/any", "_other")
        ]
        assert "hello" == await one.call("hello", namespace="/private")
        assert "any thing" == await one.call("thing", namespace="/any")
    assert 1 == numbers(EVENTS, namespace="/private", event="hello", outcome="ok")
    assert 1 == numbers(EVENTS, namespace="/any", event="_other", outcome="ok")
    assert 2 == numbers(EVENTS)


def test_handler_that_fails_leaves_a_line(site: Site, raw: RawSocketIO) -> None:
    """With event, namespace, trace and traceback, which the library itself does not give."""
    numbers, sid = Since(site), raw.enter()
    raw.emit("explode", number=7)
    wait_until(lambda: 1 == numbers(EVENTS, event="explode", outcome="error"))
    trace, attributes = trace_of(site, "process explode", id=sid)
    assert ("KeyError", "error") == (attributes["error.type"], attributes["socketio.event.outcome"])
    (line,) = site.lines("socketio_error", sid=sid)
    assert ("event", "explode", "/", trace, "KeyError") == tuple(
        line[each] for each in ("operation", "event_name", "namespace", "trace_id", "error_type")
    )
    assert "in explode" in line["exception"]
    raw.call("echo", number=8)
    assert b"437[" not in raw.got


def test_event_without_handler_is_unhandled(site: Site, raw: RawSocketIO) -> None:
    """Nobody answers, and its name is nowhere."""
    numbers, sid = Since(site), raw.enter()
    raw.emit("nobodys", number=7)
    raw.call("echo", number=8)
    assert 1 == numbers(EVENTS, namespace="/", event="_other", outcome="unhandled")
    _, attributes = trace_of(site, "process _other", id=sid)
    assert "unhandled" == attributes["socketio.event.outcome"]
    assert "nobodys" not in site.server.exposition().text
    assert b"437[" not in raw.got


@pytest.mark.parametrize(
    "event", [["disconnect", "forged"], ["connect", {}, None]], ids=["disconnect", "connect"]
)
def test_forged_event_runs_a_handler_and_moves_no_gauge(
    site: Site, raw: RawSocketIO, event: list[Any]
) -> None:
    """The library lets clients call the handlers of connects and disconnects."""
    numbers, sid = Since(site), raw.enter()
    raw.emit(*event, number=7)
    raw.read_until(b"437[")
    assert 1 == numbers("socketio_reserved_events_total")
    assert 1 == numbers(EVENTS, event=event[0], outcome="ok")
    assert (1, 1) == (numbers(ACTIVE), numbers(CONNECTS))
    assert 0 == numbers("socketio_disconnects_total")
    assert [] == site.lines("socketio_close", sid=sid)
    assert ("forged" in json.loads(site.server.get("/told"))) or event[0] == "connect"
    raw.call("echo", number=8)
    leave(raw)
    wait_until(lambda: 1 == numbers("socketio_disconnects_total"))
    assert 0 == numbers(ACTIVE)


@pytest.mark.parametrize(
    "packet", ["42[]", '42{"a":1}', "42[7]", "42", '42["echo"', "4", "49", "7"]
)
def test_nonsense_is_left_to_the_library(site: Site, raw: RawSocketIO, packet: str) -> None:
    """What the library makes of it, it makes without a failure of ours."""
    sid = raw.enter()
    raw.say(packet)
    leave(raw)
    wait_until(lambda: site.lines("socketio_close", sid=sid))
    assert {} == site.server.own_errors()


def test_events_of_a_client_that_is_not_connected_are_ignored(site: Site, raw: RawSocketIO) -> None:
    """As the library ignores them."""
    numbers = Since(site)
    raw.emit("echo", number=1)
    raw.enter()
    raw.call("echo", number=2)
    assert 1 == numbers(EVENTS)
    assert None is re.search(rb"431\[", raw.got)
