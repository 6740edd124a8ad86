"""python-socketio's Admin UI beside ours: it wraps the same methods, and those of classes too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import socketio
from engineio.async_socket import AsyncSocket
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings
from asgi_ws_observe.socketio import Instrumentation, instrument_server
from tests.servers.harness import serving
from tests.servers.socketio_nodes import reading
from tests.servers.socketio_talk import SAYINGS, Desk, seen_by_both, talking
from tests.support import Spans, total, until

#: What the client says in ``/``, with what fails, what is nobody's, and the two last words.
EVENTS = len(SAYINGS) + 4
#: What the handlers emit there: to the room, with one too many, to all, to the client, and twice
#: a question.
EMITS = {"room": 6, "broadcast": 1, "sid": 3}


@pytest.fixture(autouse=True)
def _classes() -> Iterator[None]:
    """Take back what the Admin UI does to a class."""
    before = dict(vars(AsyncSocket))
    yield
    for name, found in list(vars(AsyncSocket).items()):
        if name not in before:
            delattr(AsyncSocket, name)
        elif found is not before[name]:
            setattr(AsyncSocket, name, before[name])


def observe(server: Any, registry: CollectorRegistry, spans: Spans) -> Instrumentation:
    """Observe a server."""
    return instrument_server(
        server,
        registry=registry,
        tracer_provider=spans.provider,
        event_spans="all",
        settings=Settings(log_handler="off"),
    )


def counted(registry: CollectorRegistry) -> dict[str, float]:
    """Return what is counted of the namespace ``/``."""
    names = ("events_total", "emits_total", "emit_recipients_sum", "connects_total")
    return {each: total(registry, f"socketio_{each}", namespace="/") for each in names}


async def plain() -> dict[str, Any]:
    """Return what both sides see without anybody who watches."""
    desk = Desk(socketio.AsyncServer(async_mode="asgi", serializer="msgpack"))
    with serving(socketio.ASGIApp(desk.server), "websockets-sansio") as address:
        async with talking(address, "websocket", serializer="msgpack") as client:
            return await seen_by_both(desk, client)


@pytest.mark.parametrize("is_first", [True, False], ids=["before ours", "after ours"])
async def test_admin_ui_and_ours_leave_each_other_alone(
    is_first: bool, registry: CollectorRegistry, spans: Spans
) -> None:
    """Whichever came first: each sees everything once, and goes on without the other."""
    # By itself the Admin UI fails at events with bytes, unless they are packed so.
    server = socketio.AsyncServer(async_mode="asgi", serializer="msgpack", ping_interval=0.2)
    desk = Desk(server)
    observed = None if is_first else observe(server, registry, spans)
    admin = server.instrument(auth=False, mode="development", server_stats_interval=0.05)
    observed = observed or observe(server, registry, spans)
    expected = await plain()
    told: Counter[str] = Counter()
    app = socketio.ASGIApp(server, on_shutdown=admin.shutdown)
    async with reading() as session:
        watching = socketio.AsyncClient(
            reconnection=False, http_session=session, serializer="msgpack"
        )
        watching.on("*", lambda event, *_: told.update([event]), namespace="/admin")
        with serving(app, "websockets-sansio") as address:
            await watching.connect(f"http://{address}", namespaces=["/admin"], wait_timeout=10)
            async with talking(address, "websocket", serializer="msgpack") as client:
                assert expected == await seen_by_both(desk, client)
            await until(lambda: told["room_joined"] and told["server_stats"])
            # The Admin UI tells of events in every namespace.
            events, sent = told["event_received"], told["event_sent"]
            assert EVENTS + 2 == events
            assert sum(EMITS.values()) - 1 == sent
            numbers = counted(registry)
            assert {
                "events_total": EVENTS,
                "emits_total": sum(EMITS.values()),
                "emit_recipients_sum": sum(EMITS.values()) - 1,
                "connects_total": 1,
            } == numbers
            await until(lambda: total(registry, "engineio_ping_rtt_seconds_count"))
            observed.uninstrument()
            desk.seen.clear()
            async with talking(address, "websocket", serializer="msgpack") as client:
                assert expected == await seen_by_both(desk, client)
            await until(lambda: 2 * sent == told["event_sent"])
            assert 2 * events == told["event_received"]
            await watching.disconnect()
    assert numbers == counted(registry)
    assert 0 == total(registry, "ws_observe_errors_total", part="socketio")
    assert EVENTS + 2 == len(spans.named("process "))
    admin.uninstrument()
