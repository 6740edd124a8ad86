"""python-socketio as it was and as it is: a life on each version, in an environment of its own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

import pytest
from socketio.exceptions import ConnectionError as NotConnected

from tests.servers.environments import environment
from tests.servers.processes import absent
from tests.servers.socketio_nodes import Carrier, RawSocketIO, Since, Site, client, pair
from tests.support import until, wait_until

Nodes = tuple[Site, Site]

NOW: Final = installed("python-socketio")
OLDEST: Final = "5.10.0"
#: Version -> the Engine.IO of its time: the oldest that is supported, one whose managers pickle
#: what they publish, and the newest.
VERSIONS: Final = {OLDEST: "4.8.0", "5.13.0": "4.12.0", NOW: installed("python-engineio")}
CONNECTS: Final = "socketio_connects_total"
ENDS: Final = "socketio_disconnects_total"
EVENTS: Final = "socketio_events_total"
EMITS: Final = "socketio_emits_total"
ACTIVE: Final = "socketio_connections_active"


def packages(version: str) -> list[str]:
    """Return what an environment of a version is made of."""
    others = ["fastapi", "uvicorn[standard]", "redis", "opentelemetry-sdk"]
    return [f"python-socketio=={version}", f"python-engineio=={VERSIONS[version]}", *others]


@pytest.fixture(scope="module")
def interpreters(request: pytest.FixtureRequest) -> dict[str, str]:
    """Version -> its interpreter."""
    assert request.config.cache is not None
    cache = Path(request.config.cache.mkdir("python-socketio"))
    try:
        with ThreadPoolExecutor() as pool:
            made = pool.map(lambda each: environment(each, packages(each), cache), VERSIONS)
            return dict(zip(VERSIONS, made, strict=True))
    except subprocess.CalledProcessError:
        absent("a package index, for other versions of python-socketio")


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The version of the nodes."""
    return str(request.param)


@pytest.fixture(scope="module")
def nodes(
    version: str, interpreters: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    """Two nodes with a Redis between them."""
    with pair(tmp_path_factory.mktemp("nodes"), interpreters[version]) as (a, b, _):
        yield a, b


@pytest.fixture(autouse=True)
def _alone(nodes: Nodes, version: str) -> None:
    """Wait until the clients of the test before have gone."""
    # The oldest Engine.IO never sees that a client polls no more.
    seen = {"transport": "websocket"} if version == OLDEST else {}
    wait_until(lambda: 0 == sum(node.number(ACTIVE, **seen) for node in nodes))


def only(site: Site, name: str, **facts: Any) -> dict[str, Any]:
    """Return the only span of a name with these facts."""
    (found,) = site.spans_of(name, **facts)
    return found


def reason(version: str, word: str) -> str:
    """Return the reason of an end of which the library has none before 5.12."""
    return "unknown" if [*map(int, re.findall(r"\d+", version))] < [5, 12] else word


async def test_clients_get_in_or_do_not(nodes: Nodes) -> None:
    """Accepted, refused by an exception or by `False`, failed, and where there is nothing."""
    a, _ = nodes
    numbers = Since(a)
    async with client(a, auth={"wish": "none"}) as one:
        connected = only(a, "connect /", id=one.sid)
        assert "accepted" == connected["attributes"]["socketio.connect.outcome"]
        for wish in ("refuse", "deny"):
            with pytest.raises(NotConnected):
                async with client(a, auth={"wish": wish}):
                    pass
        # Where that client's ghost, which 5.18 keeps, is in nobody's way.
        with closing(RawSocketIO(a, "quick")) as raw:
            raw.say("40/unheard/of,")
            raw.read_until(b"44/unheard/of,")
            raw.say('40{"wish":"explode"}')
            await until(lambda: numbers(CONNECTS, outcome="error"))
        assert 1 == numbers(CONNECTS, outcome="accepted") == numbers(ACTIVE)
    outcomes = {"refused": 2, "error": 1, "unknown_namespace": 1, "accepted": 1}
    assert outcomes == {each: numbers(CONNECTS, outcome=each) for each in outcomes}
    assert 5 == numbers(CONNECTS)


async def test_events_are_counted_by_how_they_end(nodes: Nodes) -> None:
    """Of functions, a handler for all, and a class; text and bytes come back as they were."""
    a, _ = nodes
    numbers = Since(a)
    async with client(a, namespaces=("/", "/private", "/any")) as one:
        assert "hello" == await one.call("echo", "hello")
        assert (b"\x00\xff", {"in": b"x"}) == await one.call("echo", b"\x00\xff", {"in": b"x"})
        assert "hello" == await one.call("hello", namespace="/private")
        assert "any thing" == await one.call("thing", namespace="/any")
        await one.sio.emit("explode")
        await one.sio.emit("nobodys")
        await until(lambda: 6 == numbers(EVENTS))
    counts = {
        ("/", "echo", "ok"): 2,
        ("/private", "hello", "ok"): 1,
        ("/any", "_other", "ok"): 1,
        ("/", "explode", "error"): 1,
        ("/", "_other", "unhandled"): 1,
    }
    labels = ("namespace", "event", "outcome")
    assert counts == {key: numbers(EVENTS, **dict(zip(labels, key, strict=True))) for key in counts}
    (failed,) = a.lines("socketio_error", event_name="explode")
    assert only(a, "process explode")["trace"] == failed["trace_id"]


async def test_emits_reach_whom_they_are_for(nodes: Nodes) -> None:
    """A room, one client, and all of them, on both nodes; each is counted once on each."""
    a, b = nodes
    numbers, others = Since(a), Since(b)
    async with client(a) as one, client(a) as two, client(b) as far:
        for each in (one, two, far):
            await each.call("join", "room:one")
        assert (1, 2) == tuple(
            numbers(f"socketio_{each}", category="room:{id}") for each in ("rooms", "room_members")
        )
        await one.call("say", "room:one", "to a room")
        await one.call("tell", two.sid, "to one", b"\x00")
        await one.call("tell", far.sid, "over there")
        await one.call("tell", None, {"to": "all"})
        rooms, both = [("to a room",), ({"to": "all"},)], ("to one", b"\x00")
        for who, expected in (
            (one, rooms),
            (two, [rooms[0], both, rooms[1]]),
            (far, [rooms[0], ("over there",), rooms[1]]),
        ):
            # The last argument is the carrier.
            assert expected == [(await who.hear())[:-1] for _ in expected]
        await one.call("leave", "room:one")
    targets = {"room": (1, 2, 1), "sid": (2, 1, 1), "broadcast": (1, 2, 1)}
    assert targets == {
        each: (
            numbers(EMITS, target=each, origin="own", event="said"),
            numbers("socketio_emit_recipients_sum", target=each),
            others("socketio_emit_recipients_sum", target=each),
        )
        for each in targets
    }
    assert 4 == others(EMITS, origin="other", event="said") == others(EMITS)
    assert 2 == numbers("socketio_room_joins_total") == numbers("socketio_room_leaves_total")


async def test_acknowledgement_across_nodes_is_one_trace(nodes: Nodes) -> None:
    """From the client's event over the call, its emit and Redis to the node of who answers."""
    a, b = nodes
    numbers, others, carrier = Since(a), Since(b), Carrier()
    async with client(a, query="trust=yes") as asking, client(b) as answering:
        await until(lambda: all(each.number("socketio_bus_listener_up") for each in nodes))
        assert "blue" == await asking.call("ask", answering.sid, 5.0, carrier.payload)
        assert 1 == numbers("socketio_acks_total", event="question", outcome="ok")
        deliver = only(b, "deliver question", trace=carrier.trace)
        answering.answers = ""
        assert "nobody answers" == await asking.call("ask", answering.sid, 0.05)
        answering.answers = "blue"
    process, call, send = (
        only(a, name, trace=carrier.trace)
        for name in ("process ask", "call question", "send question")
    )
    parents = [each["parent"] for each in (process, call, send, deliver)]
    assert [carrier.span, process["span"], call["span"], send["span"]] == parents
    assert 1 == numbers("socketio_acks_total", outcome="timeout")
    assert 1 == numbers("socketio_ack_latency_seconds_count", event="question")
    assert 2 == numbers("socketio_bus_published_total", method="emit", outcome="ok")
    assert 2 == others("socketio_bus_received_total", method="emit", origin="other")
    assert 2 == others("socketio_bus_lag_seconds_count", origin="other")
    assert 0 == numbers("socketio_bus_lost_messages_total")


@pytest.mark.parametrize("transports", [("polling",), ("websocket",), ("polling", "websocket")])
async def test_transports_are_told_apart(nodes: Nodes, transports: tuple[str, ...]) -> None:
    """Those that stay, and the upgrade from one to the other."""
    a, _ = nodes
    numbers = Since(a)
    async with client(a, "quick", transports=transports) as one:
        assert "hello" == await one.call("echo", "hello")
        await until(lambda: 1 == numbers(ACTIVE, transport=transports[-1]))
        rtt = "engineio_ping_rtt_seconds_count"
        await until(lambda: numbers(rtt, transport=transports[-1]))
    assert len(transports) - 1 == numbers("engineio_upgrades_total", outcome="ok")
    assert len(transports) - 1 == numbers("engineio_upgrades_total")


async def test_ends_have_their_reasons(nodes: Nodes, version: str) -> None:
    """A client that leaves, one that is thrown out, and one that is gone."""
    a, _ = nodes
    numbers = Since(a)
    async with client(a) as stays:
        with closing(RawSocketIO(a)) as raw:
            sids = [raw.enter()]
            raw.say("41")
            await until(lambda: 1 == numbers(ENDS))
        async with client(a) as thrown:
            sids.append(thrown.sid)
            await stays.call("kick", thrown.sid)
            await until(lambda: 2 == numbers(ENDS))
        with closing(RawSocketIO(a)) as raw:
            sids.append(raw.enter())
            raw.reset()
        await until(lambda: 3 == numbers(ENDS))
        assert 1 == numbers(ACTIVE)
    words = ("client_disconnect", "server_disconnect")
    expected = [*(reason(version, word) for word in words), "transport_lost"]
    closed = [a.lines("socketio_close", sid=sid)[0]["reason"] for sid in sids]
    assert expected == closed
    for sid, word in zip(sids, expected, strict=True):
        ended = only(a, "connection /", id=sid)
        assert word == ended["attributes"]["socketio.disconnect.reason"]


async def test_what_is_observed_no_more_is_as_it_was(nodes: Nodes) -> None:
    """Server, manager and engine, down to the last attribute; and everything works on."""
    for site in nodes:
        found = json.loads(site.server.get("/restored"))
        assert {"handler.connect", "manager.emit", "server.packet_class"} < {*found["changed"]}
        assert [] == found["left"]
        assert {} == site.server.own_errors()
    a, b = nodes
    async with client(a) as one, client(b) as far:
        for site in nodes:
            assert "handler.connect" in json.loads(site.server.get("/ours"))
            site.server.get("/uninstrument")
            assert [] == json.loads(site.server.get("/ours"))
            assert ["AsyncSocket"] == json.loads(site.server.get("/sockets"))
        numbers = Since(a)
        assert "blue" == await one.call("ask", far.sid, 5.0)
        await far.call("tell", one.sid, "still here")
        assert ("still here",) == await one.hear()
    assert (0, 0) == (numbers(EVENTS), numbers(ENDS))
