"""Two uvicorn processes and a real broker: one trace, true numbers, no silent death."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection

from tests.servers.nodes import BUSES, Broker, Node, broker, nodes
from tests.support import until

#: How long the broker is away at least, seconds.
AWAY: Final = float(os.environ.get("ASGI_WS_OBSERVE_TEST_AWAY", "1"))


@pytest.fixture(params=BUSES)
def bus(request: pytest.FixtureRequest) -> str:
    """Return the kind of broker."""
    return str(request.param)


async def hear(client: ClientConnection, within: float = 10.0) -> Any:
    """Return the next text that a client hears."""
    return json.loads(await asyncio.wait_for(client.recv(), within))["text"]


async def test_message_is_one_trace_from_a_handler_to_every_delivery(
    bus: str, tmp_path: Path
) -> None:
    """Published on A, delivered on both, in the trace of the message of A's client."""
    with broker(bus, tmp_path) as found, nodes(bus, found.url, tmp_path) as (a, b):
        async with a.connect() as speaker, b.connect() as listener:
            await until(lambda: b.number("ws_connections_active"))
            await speaker.send("hello")
            assert "hello" == await hear(listener) == await hear(speaker)
        await until(lambda: a.named("ws.upgrade /ws") and b.named("ws.deliver"))
        (upgrade,), (message,) = a.named("ws.upgrade /ws"), a.named("ws.message")
        (publish,) = a.named(f"{'nats' if bus == 'nats' else 'redis'}.publish")
        here, there = a.named("ws.deliver"), b.named("ws.deliver")
    traces = {span["trace"] for span in (upgrade, message, publish, *here, *there)}
    assert 1 == len(traces)
    assert (upgrade["span"], message["span"]) == (message["parent"], publish["parent"])
    assert [publish["span"]] * 2 == [span["parent"] for span in (*here, *there)]
    assert [("own", 1), ("other", 1)] == [
        (span["attributes"]["ws.fanout.origin"], span["attributes"]["ws.fanout.recipients"])
        for span in (*here, *there)
    ]


async def test_lag_is_what_a_clock_outside_says(bus: str, tmp_path: Path) -> None:
    """Within a tenth, while the broker is stopped for half a second and goes on."""
    with broker(bus, tmp_path) as found, nodes(bus, found.url, tmp_path) as (a, b):
        async with a.connect() as speaker:
            for round_ in range(4):
                found.pause()
                try:
                    await speaker.send(f"while it is stopped {round_}")
                    await asyncio.sleep(0.3)
                finally:
                    found.resume()
                await until(
                    lambda number=round_ + 1: b.number("ws_fanout_delivered_total") == number  # type: ignore[misc]
                )
        for node, origin in ((a, "own"), (b, "other")):
            truth = json.loads(node.server.get("/truth"))
            assert 4 == len(truth) == node.number("ws_fanout_lag_seconds_count", origin=origin)
            lag = node.number("ws_fanout_lag_seconds_sum", origin=origin)
            assert sum(truth) == pytest.approx(lag, rel=0.1)


async def says_until_heard(speaker: ClientConnection, listener: ClientConnection) -> int:
    """Say something new until the other one hears it; return how often that took."""
    for number in range(100):
        await speaker.send(f"again {number}")
        try:
            while await hear(listener, 0.3) != f"again {number}":
                pass
        except asyncio.TimeoutError:
            continue
        return number + 1
    raise AssertionError("nothing is delivered any more")


async def outage(
    bus: str, folder: Path, begin: Callable[[Broker], None], end: Callable[[Broker], None]
) -> tuple[Node, Node]:
    """Talk from A to B before, during and after an outage, and hold what everybody has to hold."""
    with broker(bus, folder) as found, nodes(bus, found.url, folder) as (a, b):
        async with a.connect() as speaker, b.connect() as listener:
            await until(lambda: b.number("ws_connections_active"))
            await speaker.send("before")
            assert "before" == await hear(listener)
            tasks = [node.server.get("/tasks") for node in (a, b)]
            begin(found)
            ends = time.monotonic() + AWAY
            await until(lambda: all(not each.number("ws_fanout_listener_up") for each in (a, b)))
            await until(
                lambda: all(each.number("ws_fanout_probe_age_seconds") > 0.5 for each in (a, b))
            )
            for number in range(3):
                await speaker.send(f"during {number}")
            await until(lambda: time.monotonic() > ends, AWAY + 1)
            end(found)
            await until(lambda: all(each.number("ws_fanout_listener_up") for each in (a, b)), 30)
            if bus == "streams":
                assert [f"during {number}" for number in range(3)] == [
                    await hear(listener, 20) for _ in range(3)
                ]
            await says_until_heard(speaker, listener)
            await until(lambda: b.number("ws_fanout_probe_age_seconds") < 2)
            await until(lambda: a.number("ws_fanout_outbox_messages") == 0)
            said = a.number("ws_messages_total", direction="in")
            heard = b.number("ws_fanout_delivered_total")
            published = a.number("ws_fanout_published_total")
            assert said == published
            await until(lambda: b.number("ws_fanout_lost_total") == said - heard)
            assert bus != "streams" or said == heard
            assert 1 <= b.number("ws_fanout_reconnects_total")
            assert tasks == [node.server.get("/tasks") for node in (a, b)]
            for node in (a, b):
                downs = [line["event"] for line in node.server.lines() if "away" in line]
                assert downs
        return a, b


async def test_broker_that_is_killed_and_started_again(bus: str, tmp_path: Path) -> None:
    """Streams lose nothing; what Pub/Sub loses is counted exactly; nothing dies."""
    await outage(bus, tmp_path, lambda found: found.kill(), lambda found: found.start())


async def test_network_that_pauses(bus: str, tmp_path: Path) -> None:
    """The same where the broker does not even say that it is gone."""
    await outage(bus, tmp_path, lambda found: found.pause(), lambda found: found.resume())
