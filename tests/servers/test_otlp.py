"""Every placement of another tracer on a real server, by what a real OTLP receiver gets."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from websockets.sync.client import connect

from tests.servers.otlp import received
from tests.servers.processes import free_port, started
from tests.tracing.placements import CHAT, PLACEMENTS, QUERY, Seen, drawn

#: OpenTelemetry's packages write their attributes in the old way and in the new one.
CONVENTIONS: Final = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}

Exported = dict[str, list[Seen]]


def serve(name: str, endpoint: str, log: Path) -> int:
    """Let a client say two things to one placement's server and leave; return its exit status."""
    port = free_port()
    arguments = [sys.executable, "-m", "uvicorn", "tests.servers.otlp_app:app"]
    environment = {"PLACEMENT": name, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint, **CONVENTIONS}
    with started([*arguments, "--port", str(port)], port, log, **environment) as process:
        address = f"ws://127.0.0.1:{port}{PLACEMENTS[name].prefix}/rooms/7?{QUERY}"
        with connect(address) as websocket:
            for _ in range(2):
                websocket.send(CHAT)
                assert CHAT == websocket.recv(10)
        # A SIGTERM would kill the process before anything is flushed: uvicorn raises it again.
        process.send_signal(signal.SIGINT)
        return process.wait(20)


async def receive(names: Iterable[str], logs: Path) -> Exported:
    """Run the servers of these placements, some at a time, and return what they exported."""

    async def export(endpoint: str) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(4) as pool:
            statuses = await asyncio.gather(
                *(loop.run_in_executor(pool, serve, name, endpoint, logs / name) for name in names)
            )
        assert {0} == set(statuses)

    exported: Exported = {}
    for each in await received(export):
        exported.setdefault(each.attributes["test.placement"], []).append(each)
    return exported


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers' output goes, a file for each placement."""
    return tmp_path_factory.mktemp("otlp")


@pytest.fixture(scope="module")
def exported(request: pytest.FixtureRequest, logs: Path) -> Exported:
    """What the servers of all placements that are to be tested exported."""
    chosen = {
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    }
    return asyncio.run(receive(sorted(chosen), logs))


@pytest.mark.parametrize("name", PLACEMENTS)
def test_real_server_exports_the_whole_tree(name: str, exported: Exported) -> None:
    """Names, kinds, parents, links and status of all spans, in one trace."""
    assert PLACEMENTS[name].tree == drawn(exported[name])
    assert 1 == len({span.trace for span in exported[name]})


@pytest.mark.parametrize("name", PLACEMENTS)
def test_real_server_exports_how_the_connection_went(name: str, exported: Exported) -> None:
    """The attributes of its only span; the others' conventions write 200 where 101 is true."""
    placement = PLACEMENTS[name]
    (span,) = (each for each in exported[name] if " SERVER" in each.label)
    expected = {
        "ws.outcome": "normal",
        "ws.close_code": 1000,
        "ws.closed_by": "client",
        "ws.close_reason": "normal",
        "ws.messages.in": 2,
        "ws.messages.out": 2,
        "ws.messages.untraced": 0,
        "http.route": placement.route,
        "http.response.status_code": 101,
        "client.address": "127.0.0.1",
        "server.address": "127.0.0.1",
        "url.path": f"{placement.prefix}/rooms/7",
    }
    assert expected == {key: span.attributes.get(key) for key in expected}
    assert 0 < span.attributes["ws.handler_time.max"] < 10


@pytest.mark.parametrize("name", PLACEMENTS)
def test_real_server_complains_about_nothing(name: str, exported: Exported, logs: Path) -> None:
    """No context that could not be given back, no span that had ended, no traceback."""
    assert exported[name]
    said = (logs / name).read_text()
    assert [] == re.findall(r".*(?:detach|ended span|different Context|Traceback|ERROR).*", said)
