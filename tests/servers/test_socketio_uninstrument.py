"""What is observed no more, while clients are connected, goes on as if nothing had happened."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.processes import Exposition
from tests.servers.raw import close_frame
from tests.servers.socketio_nodes import Client, RawSocketIO, Site, client, node, pair
from tests.support import until, wait_until


def counted(site: Site) -> dict[str, float]:
    """Return what a node has counted of Socket.IO, by name."""
    found: Exposition = site.server.exposition()
    names = ("connects", "disconnects", "events", "emits", "acks", "bus_published", "bus_received")
    return {each: found.total(f"socketio_{each}_total") for each in names}


async def everything_works(one: Client, far: Client) -> None:
    """Say, hear, ask and be asked over both nodes."""
    assert "hello" == await one.call("echo", "hello")
    for each in (one, far):
        await each.call("join", "room:one")
    for speaker, text in ((one, "from here"), (far, "from there")):
        await speaker.call("say", "room:one", text)
        for each in (one, far):
            assert text == (await each.hear())[0]
    assert "blue" == await one.call("ask", far.sid, 5.0)
    assert "blue" == await far.call("ask", one.sid, 5.0)


async def test_node_that_is_observed_no_more_works_on(tmp_path: Path) -> None:
    """Those who are connected, by each transport, those who come, and what was under way."""
    with pair(tmp_path) as (a, b, _):
        async with client(a) as one, client(b) as far, client(a, "quick") as other:
            await everything_works(one, far)
            far.answers = ""
            asked = one.sio.start_background_task(one.call, "ask", far.sid, 5.0)
            late = other.sio.start_background_task(other.call, "linger", 0.3)
            await until(lambda: a.number("socketio_acks_pending"))
            assert ["ObservedSocket"] == json.loads(a.server.get("/sockets"))
            a.server.get("/uninstrument")
            before, lines = counted(a), a.server.lines()
            far.answers = "blue"
            assert ("blue", "done") == (await asked, await late)
            await everything_works(one, far)
            assert ["AsyncSocket"] == json.loads(a.server.get("/sockets"))
            async with client(a) as newcomer:
                await everything_works(newcomer, far)
                sid = far.sid
                await newcomer.call("kick", sid)
                await until(lambda: b.lines("socketio_close", sid=sid))
        # Of what was under way, two events, the end counts still.
        assert before | {"events": before["events"] + 2} == counted(a)
        theirs = [line["event"] for line in a.server.lines()[len(lines) :]]
        assert [] == [event for event in theirs if event.startswith("socketio")]
        assert (
            0
            == a.number("socketio_connections_active")
            == b.number("socketio_bus_lost_messages_total")
        )
        assert "Traceback" not in a.server.log.read_text()


@pytest.mark.parametrize("server", ["main", "bare"])
def test_session_that_is_observed_no_more_ends_as_it_should(tmp_path: Path, server: str) -> None:
    """Its methods that have begun go on, with an event under way and up to the close."""
    with node(tmp_path) as site:
        with closing(RawSocketIO(site, server)) as raw:
            sid = raw.enter()
            raw.emit("linger", 0.2, number=1)
            wait_until(lambda: "ObservedSocket" in site.server.get("/sockets"))
            site.server.get("/uninstrument")
            raw.read_until(b"431[")
            raw.call("echo", number=2)
            raw.send(close_frame())
            raw.read_to_end()
        wait_until(lambda: "[]" != site.server.get("/told"))
        assert [] == site.lines("socketio_close", sid=sid)
        assert "Traceback" not in site.server.log.read_text()
