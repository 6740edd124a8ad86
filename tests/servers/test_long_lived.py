"""A connection that lasts: signs of life, and spans that follow one another."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tests.servers.otlp import received
from tests.servers.processes import free_port, started
from tests.support import wait_until
from tests.tracing.placements import CHAT

SETTINGS = {"ASGI_WS_OBSERVE_MAX_SPAN_SECONDS": "1", "ASGI_WS_OBSERVE_HEARTBEAT_LOG_SECONDS": "1"}


def lines(log: Path, event: str) -> list[dict[str, Any]]:
    """Return the log lines of an event."""
    every = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return [line for line in every if line.get("event") == event]


def serve(endpoint: str, log: Path) -> None:
    """Let a client say something, stay until its second span has begun, and say it again."""
    port = free_port()
    arguments = [sys.executable, "-m", "uvicorn", "tests.servers.traced_app:app"]
    environment = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint, **SETTINGS}
    with started([*arguments, "--port", str(port)], port, log, **environment) as process:
        with connect(f"ws://127.0.0.1:{port}/rooms/7") as websocket:
            websocket.send(CHAT)
            assert CHAT == websocket.recv(10)
            wait_until(lambda: len({each["trace_id"] for each in lines(log, "ws_alive")}) > 1, 30)
            websocket.send(CHAT)
            assert CHAT == websocket.recv(10)
        wait_until(lambda: lines(log, "ws_close"))
        process.send_signal(signal.SIGINT)
        process.wait(20)


def test_long_lived_connection_shows_itself_and_rolls_over(tmp_path: Path) -> None:
    """Each span ends in time, links to the one before, and has the messages of its time."""
    log = tmp_path / "log"
    spans = asyncio.run(received(lambda endpoint: asyncio.to_thread(serve, endpoint, log)))
    parts = [span for span in spans if span.label.startswith("ws.upgrade /rooms/{room} SERVER")]
    messages = [span for span in spans if span.label.startswith("ws.message chat CONSUMER")]
    parts.sort(key=lambda span: span.start)
    messages.sort(key=lambda span: span.start)
    assert len(parts) > 1
    assert len(parts) == len({part.trace for part in parts})
    for number, (before, after) in enumerate(itertools.pairwise(parts), 2):
        assert (before.id,) == after.links
        assert number == after.attributes["ws.connection.part"]
        assert "accepted" == before.attributes["ws.outcome"]
    assert [("normal", 2)] == [
        (part.attributes["ws.outcome"], part.attributes["ws.messages.in"]) for part in parts[-1:]
    ]
    first, second = messages
    assert (parts[0].trace, parts[0].id) == (first.trace, first.parent)
    assert second.parent in {part.id for part in parts[1:]}

    (opened,), (closed,) = lines(log, "ws_open"), lines(log, "ws_close")
    assert f"{parts[0].trace:032x}" == opened["trace_id"]
    assert f"{parts[-1].trace:032x}" == closed["trace_id"]
    alive = lines(log, "ws_alive")
    assert {opened["connection_id"]} == {line["connection_id"] for line in alive}
    assert all(line["duration"] >= 1 and line["messages_in"] == 1 for line in alive[:1])
