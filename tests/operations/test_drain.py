"""Draining: every connection is closed with 1001, at the pace that was asked for."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from asgi_ws_observe import Settings, SettingsError, WebSocketObserveMiddleware
from asgi_ws_observe.drain import Drain
from tests.operations.drained_app import make_app
from tests.servers.harness import IMPLEMENTATIONS, serving
from tests.servers.processes import Exposition, Process, free_port, started
from tests.servers.raw import RawClient
from tests.support import (
    ACCEPT,
    CONNECT,
    counted,
    disconnect,
    get_from,
    sample,
    scope,
    until,
    wait_until,
)

# Of uvicorn's default implementation of old.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
]

PATHS: Final = ("/echo", "/feed", "/last-words")
APPLICATION: Final = "tests.operations.drained_app:app"


class Reader(RawClient):
    """A client that reads until its end in a thread of its own.

    Attributes:
        ended_at: When the server ended it, of `time.monotonic()`; 0.0 before.
    """

    def __init__(self, address: str, path: str) -> None:
        super().__init__(address, path)
        self.ended_at = 0.0
        self.opened()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.read_to_end(60)
        self.ended_at = time.monotonic()

    def close(self) -> None:
        """Give the socket back; the server has ended the connection."""
        self._thread.join()
        super().close()


@contextmanager
def readers(address: str, number: int) -> Iterator[list[Reader]]:
    """Connect so many clients to each path."""
    with ExitStack() as opened:
        yield [
            opened.enter_context(closing(Reader(address, path)))
            for path in PATHS
            for _ in range(number)
        ]


def drain(address: str, **arguments: Any) -> int:
    """Let an application drain, and return how many connections are left."""
    answer = httpx.post(f"http://{address}/drain", params=arguments, timeout=60)
    return int(answer.text)


def closes(address: str) -> dict[tuple[str, str, str], float]:
    """Return what an application counted of closes, by code, author and cause."""
    found: dict[tuple[str, str, str], float] = {}
    for labels, value in Exposition(get_from(address, "/metrics")).samples("ws_closes_total"):
        key = (labels["code"], labels["closed_by"], labels["reason"])
        found[key] = found.get(key, 0) + value
    return {key: value for key, value in found.items() if value}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_drain_closes_everything_with_1001_at_its_pace(implementation: str) -> None:
    """Clients see 1001, one after the other; the handlers' own mistakes are none."""
    with serving(make_app(), implementation) as address:
        before = Exposition(get_from(address, "/metrics"))
        with readers(address, 4) as clients:
            assert "false" == get_from(address, "/draining")
            began = time.monotonic()
            assert 0 == drain(address, per_second=20)
            took = time.monotonic() - began
            wait_until(lambda: all(each.ended_at for each in clients))
            ends = sorted(each.ended_at - began for each in clients)
            assert {1001} == {each.close_code for each in clients}
        after = Exposition(get_from(address, "/metrics"))
        counted = {
            name: after.total(name) - before.total(name)
            for name in ("ws_closes_total", "ws_errors_total", "ws_observe_errors_total")
        }
        wait_until(lambda: "true" == get_from(address, "/draining"))

    assert {"ws_closes_total": 12, "ws_errors_total": 0, "ws_observe_errors_total": 0} == counted
    # Twelve at twenty a second are never all at once, however slow the machine is.
    assert 11 / 20 <= took
    assert 11 / 20 <= ends[-1] + 0.02
    assert ends[5] < ends[-1]


def test_connection_that_comes_while_draining_is_closed_too() -> None:
    """It comes from a load balancer that has not heard of it yet."""
    with serving(make_app(), IMPLEMENTATIONS[0]) as address, readers(address, 2) as clients:
        draining = threading.Thread(target=drain, args=(address,), kwargs={"per_second": 8})
        draining.start()
        wait_until(lambda: "true" == get_from(address, "/draining"))
        with closing(Reader(address, "/echo")) as late:
            # Asked for again it waits for the first, and has nothing left to do.
            assert 0 == drain(address, per_second=8)
            wait_until(lambda: late.ended_at)
            assert {1001} == {each.close_code for each in [*clients, late]}
        draining.join()


def test_client_that_reads_nothing_is_left_at_the_timeout() -> None:
    """The others are closed meanwhile; what is left is for the server's own shutdown."""
    with (
        serving(make_app(), IMPLEMENTATIONS[0]) as address,
        closing(RawClient(address, "/feed")) as silent,
        readers(address, 1) as clients,
    ):
        silent.opened()
        assert 1 == drain(address, per_second=100, timeout=1)
        wait_until(lambda: all(each.ended_at for each in clients))
        silent.reset()


def test_client_that_leaves_meanwhile_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged, and nothing is left."""
    with (
        caplog.at_level(logging.WARNING, "asgi_ws_observe"),
        serving(make_app(), IMPLEMENTATIONS[0]) as address,
        readers(address, 2),
        ExitStack() as opened,
    ):
        leaving = [opened.enter_context(closing(RawClient(address, path))) for path in PATHS]
        for each in leaving:
            each.opened()
        draining = threading.Thread(target=drain, args=(address,), kwargs={"per_second": 20})
        draining.start()
        for each in leaving:
            each.reset()
        draining.join()
    assert [] == [record for record in caplog.records if record.name == "asgi_ws_observe"]


async def test_pace_has_to_be_above_zero() -> None:
    """Otherwise it would wait for ever."""
    with pytest.raises(SettingsError, match="per_second: got 0; accepted: a number above 0"):
        await Drain().close_all(0)


@contextmanager
def other_server(server: str, log: Path) -> Iterator[Process]:
    """Run the application under a server that is not uvicorn."""
    port = free_port()
    commands = {
        "hypercorn": ["-b", f"127.0.0.1:{port}"],
        "daphne": ["-b", "127.0.0.1", "-p", str(port)],
        "granian": ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)],
    }
    arguments = [sys.executable, "-m", server, *commands[server], APPLICATION]
    with started(arguments, port, log) as process:
        yield Process(f"127.0.0.1:{port}", process, log)


@pytest.mark.parametrize(("server", "code"), [("hypercorn", 1001), ("daphne", 4001)])
def test_other_server_closes_with_what_it_can(server: str, code: int, tmp_path: Path) -> None:
    """daphne has no 1001: it sends 1000 and what is above 3000."""
    with (
        other_server(server, tmp_path / "log") as process,
        readers(process.address, 2) as clients,
    ):
        assert 0 == drain(process.address, per_second=50, code=code)
        wait_until(lambda: all(each.ended_at for each in clients))
        assert {code} == {each.close_code for each in clients}
        (ending,) = closes(process.address)
        assert (str(code) if code < 4000 else "4xxx", "server") == ending[:2]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no such code"), ["the server cannot close with 1001: no such code"]),
        (ConnectionResetError("the client has left"), []),
    ],
)
async def test_close_that_the_server_refuses_is_logged_once(
    error: Exception,
    expected: list[str],
    registry: CollectorRegistry,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The connections stay as they were, and the answer says how many they are."""
    drain, leave = Drain(), asyncio.Event()

    async def application(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()

    async def serve() -> None:
        events = iter([CONNECT])

        async def receive() -> Message:
            if event := next(events, None):
                return event
            await leave.wait()
            return disconnect()

        async def send(message: Message) -> None:
            if message["type"] == "websocket.close":
                raise error

        await app(scope(), receive, send)

    app = WebSocketObserveMiddleware(
        application, hooks=[drain], registry=registry, settings=settings
    )
    connections = [asyncio.create_task(serve()) for _ in range(2)]
    await until(lambda: 2 == sample(registry, "ws_connects_total", route="unmatched"))
    with caplog.at_level(logging.WARNING, "asgi_ws_observe"):
        assert 2 == await drain.close_all(100, timeout=0.1)
    assert expected == [record.getMessage() for record in caplog.records]
    leave.set()
    await asyncio.gather(*connections)
    assert {"1000": 2} == counted(registry, "ws_closes_total", "code")


def test_granian_cannot_close_behind_a_handler_that_receives(tmp_path: Path) -> None:
    """A send waits there until the pending receive is over."""
    with (
        other_server("granian", tmp_path / "log") as process,
        closing(RawClient(process.address, "/echo")) as client,
    ):
        client.opened()
        assert 1 == drain(process.address, per_second=50, timeout=0.5)
