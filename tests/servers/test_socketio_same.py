"""What an application and its clients see is the same, observed or not; in every configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Final

import pytest
import socketio
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings
from asgi_ws_observe.socketio import instrument_server
from tests.servers.harness import serving
from tests.servers.socketio_talk import SAYINGS, Desk, by_aiohttp, seen_by_both, talking, threads
from tests.support import Spans, total

#: Configuration -> the server's options, and the client's transport.
CONFIGURATIONS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "usual": ({}, "websocket"),
    "polling": ({}, "polling"),
    "msgpack": ({"serializer": "msgpack"}, "websocket"),
    "handlers in the reader": ({"async_handlers": False}, "websocket"),
    "connected before the handler": ({"always_connect": True}, "websocket"),
    "every namespace": ({"namespaces": "*"}, "websocket"),
    "aiohttp": ({"async_mode": "aiohttp"}, "websocket"),
    "threads": ({"async_mode": "threading"}, "polling"),
    "threads, msgpack": ({"async_mode": "threading", "serializer": "msgpack"}, "polling"),
    "threads, handlers in the reader": (
        {"async_mode": "threading", "async_handlers": False},
        "polling",
    ),
}
#: Of the namespaces ``/``, ``/own`` and ``/any``.
EVENTS: Final = len(SAYINGS) + 2 + 2 + 1 + 1


@pytest.fixture
def served() -> Iterator[ExitStack]:
    """What ends the servers."""
    with ExitStack() as stack:
        yield stack


def made(options: dict[str, Any]) -> Any:
    """Return a server."""
    # A poll is waited for, by the client that leaves as well, until there is a ping.
    usual = {"async_mode": "asgi", "ping_interval": 0.2, "ping_timeout": 2} | options
    threaded = usual["async_mode"] == "threading"
    return (socketio.Server if threaded else socketio.AsyncServer)(**usual)


def serve(server: Any) -> AbstractContextManager[str]:
    """Return what serves a server."""
    if isinstance(server, socketio.Server):
        return threads(server)
    if server.async_mode == "aiohttp":
        return by_aiohttp(server)
    return serving(socketio.ASGIApp(server), "websockets-sansio")


def observe(server: Any, registry: CollectorRegistry, spans: Spans) -> None:
    """Observe a server."""
    instrument_server(
        server,
        registry=registry,
        tracer_provider=spans.provider,
        event_spans="all",
        settings=Settings(log_handler="off"),
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", CONFIGURATIONS)
async def test_everybody_sees_the_same(
    name: str, served: ExitStack, registry: CollectorRegistry, spans: Spans
) -> None:
    """Arguments, answers, exceptions, reasons and their order; and each is counted once."""
    options, transport = CONFIGURATIONS[name]
    found = []
    for is_observed in (False, True):
        server = made(options)
        desk = Desk(server)
        if is_observed:
            observe(server, registry, spans)
        address = served.enter_context(serve(server))
        serializer = options.get("serializer", "default")
        async with talking(address, transport, serializer=serializer) as client:
            found.append(await seen_by_both(desk, client))
    plain, observed = found
    assert plain == observed
    assert 0 == total(registry, "ws_observe_errors_total", part="socketio")
    outcomes = {"ok": EVENTS - 2, "error": 1, "unhandled": 1}
    assert outcomes == {
        each: total(registry, "socketio_events_total", outcome=each) for each in outcomes
    }
    assert EVENTS == len(spans.named("process "))
    connects = {"accepted": 3, "refused": 1}
    assert connects == {
        each: total(registry, "socketio_connects_total", outcome=each) for each in connects
    }
    assert 0 == total(registry, "socketio_connections_active")
    assert 3 == total(registry, "socketio_disconnects_total")


@pytest.mark.parametrize("number", [1, 2], ids=["one registry", "two registries"])
async def test_servers_of_one_process_are_apart(
    number: int, served: ExitStack, spans: Spans
) -> None:
    """At the same time, on different event loops; a registry has all that was observed for it."""
    registries = [CollectorRegistry() for _ in range(number)]
    desks = [Desk(made({})) for _ in range(3)]
    addresses = []
    for place, desk in enumerate(desks):
        if place > 0:
            observe(desk.server, registries[place % number], spans)
        addresses.append(served.enter_context(serve(desk.server)))

    async def talk(desk: Desk, address: str) -> dict[str, Any]:
        async with talking(address, "websocket") as client:
            return await seen_by_both(desk, client)

    plain, *observed = await asyncio.gather(*map(talk, desks, addresses))
    assert [plain] * 2 == observed
    for registry in registries:
        assert EVENTS * 2 / number == total(registry, "socketio_events_total")
        assert 3 * 2 / number == total(registry, "socketio_disconnects_total")
        assert 0 == total(registry, "socketio_connections_active")
        assert 0 == total(registry, "ws_observe_errors_total", part="socketio")
