"""How clients leave: each reason made for real, with the middleware around and without it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.servers.harness import IMPLEMENTATIONS
from tests.servers.processes import Exposition
from tests.servers.raw import TEXT, close_frame, frame
from tests.servers.socketio_nodes import IS_TOLD, PATHS, RawSocketIO, Since, Site, client, node
from tests.support import until, wait_until

ACTIVE = "socketio_connections_active"
ENDS = "socketio_disconnects_total"
#: With the middleware around, and without it; both have little patience.
SERVERS: Final = ("quick", "bare")

Act = Callable[[RawSocketIO, str], None]


def closes(code: int | None) -> Act:
    """Return what closes as the protocol wants it: legacy waits for the end of the stream."""

    def act(raw: RawSocketIO, _: str) -> None:
        raw.send(close_frame(code))
        raw.read_to_end()
        raw.close()

    return act


#: What ends a connection -> what the client does, the reason, and the close code where there is
#: one.
ENDINGS: Final[dict[str, tuple[Act, str, int | None]]] = {
    "packet": (lambda raw, _: raw.say("41"), "client_disconnect", None),
    "packet of Engine.IO": (lambda raw, _: raw.say("1"), "client_disconnect", None),
    "kick": (lambda raw, sid: raw.emit("kick", sid), "server_disconnect", None),
    "1000": (closes(1000), "transport_close", 1000),
    "1001": (closes(1001), "transport_close", 1001),
    "4000": (closes(4000), "transport_close", 4000),
    "no code": (closes(None), "transport_close", 1005),
    "reset": (lambda raw, _: raw.reset(), "transport_lost", 1006),
    "end of stream": (lambda raw, _: raw.finish(), "transport_lost", 1006),
}


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Run one node."""
    with node(tmp_path_factory.mktemp("node"), ws=request.param) as found:
        yield found


def ending(site: Site, sid: str) -> tuple[Any, ...]:
    """Return what the line and the spans say of a client's end, once for all where they agree."""
    wait_until(lambda: site.lines("socketio_close", sid=sid))
    wait_until(lambda: site.spans_of("connection /", id=sid))
    (line,) = site.lines("socketio_close", sid=sid)
    found = {(line["reason"], line.get("code"), line["outcome"])}
    for name in ("disconnect /", "connection /"):
        (span,) = site.spans_of(name, id=sid)
        facts = span["attributes"]
        found |= {
            (facts["socketio.disconnect.reason"], facts.get("socketio.close_code"), "accepted")
        }
    (found_one,) = found
    return found_one


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("how", ENDINGS)
def test_client_that_leaves_is_counted_by_its_reason(site: Site, server: str, how: str) -> None:
    """The same in the metrics, the log line and the spans."""
    act, reason, code = ENDINGS[how]
    if code is None and not IS_TOLD:
        reason = "unknown"
    numbers = Since(site)
    with closing(RawSocketIO(site, server)) as raw:
        sid = raw.enter()
        act(raw, sid)
        wait_until(lambda: numbers(ENDS))
    assert (reason, code, "accepted") == ending(site, sid)
    assert 1 == numbers(ENDS, reason=reason, namespace="/") == numbers(ENDS)


@pytest.mark.parametrize("server", SERVERS)
def test_client_that_breaks_the_protocol_is_an_error(site: Site, server: str) -> None:
    """Where somebody says so: without the middleware, legacy says only that it is gone."""
    with closing(RawSocketIO(site, server)) as raw:
        sid = raw.enter()
        raw.send(frame(TEXT, b"42", masked=False))
        raw.read_to_end()
    reason, code, _ = ending(site, sid)
    expected = {"transport_error"} if server == "quick" else {"transport_error", "transport_lost"}
    assert reason in expected
    # wsproto tells the application of a code that it does not send.
    assert code in (1002, 1006)


def poll(site: Site, server: str) -> str:
    """Connect a client by polling and return who it is; it never asks again."""
    address = f"http://{site.server.address}{PATHS[server]}?EIO=4&transport=polling"
    found = re.search(r'"sid":"([^"]+)"', httpx.get(address).text)
    assert found is not None
    httpx.post(f"{address}&sid={found[1]}", content="40")
    mine = re.search(r'40{"sid":"([^"]+)"', httpx.get(f"{address}&sid={found[1]}").text)
    assert mine is not None
    return mine[1]


def test_silent_client_is_a_ping_timeout(site: Site) -> None:
    """By WebSocket, which the library calls a closed transport at times, and by polling."""
    numbers = Since(site)
    with ExitStack() as stack:
        raws = [stack.enter_context(closing(RawSocketIO(site, each))) for each in SERVERS]
        silent = [raw.enter() for raw in raws]
        silent += [poll(site, each) for each in SERVERS if IS_TOLD]
        assert len(silent) == numbers(ACTIVE)
        for sid in silent:
            assert "ping_timeout" == ending(site, sid)[0]
    assert len(silent) == numbers(ENDS, reason="ping_timeout") == numbers(ENDS)
    wait_until(lambda: 0 == numbers(ACTIVE))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
async def test_server_that_ends_is_the_reason(implementation: str, tmp_path: Path) -> None:
    """Its clients are told so by 1012; the metrics have it until the very end."""
    with node(tmp_path, ws=implementation) as site:
        async with client(site, "main") as one, client(site, "bare") as other:
            sids = [one.sid, other.sid]
            site.server.process.send_signal(signal.SIGTERM)
            await until(lambda: site.server.process.poll() is not None)
        assert [("server_shutdown", 1012, "accepted")] * 2 == [ending(site, sid) for sid in sids]
        last = Exposition(site.last.read_text())
    assert 2 == last.total(ENDS, reason="server_shutdown") == last.total(ENDS)
    assert 0 == last.total(ACTIVE)
