"""The line `ws_alive`: when it is written, and what it says."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from time import perf_counter
from typing import Any

import pytest

from asgi_ws_observe import JSONFormatter, Settings, rounds
from asgi_ws_observe.logs import ConnectionLog, LivingLog
from tests.support import ACCEPT, disconnect, scope, text, until
from tests.test_connection import Life
from tests.test_probe import Told, Watch
from tests.test_rounds import Referable
from tests.tracing.test_spans import echo, observe, run


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    """Have the package's lines kept."""
    caplog.set_level(logging.INFO, "asgi_ws_observe")


def named(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    """Return what the JSON lines of an event say."""
    said = [json.loads(JSONFormatter().format(record)) for record in caplog.records]
    return [line for line in said if line.get("event") == event]


def times(caplog: pytest.LogCaptureFixture) -> list[float]:
    """Return when the lines were written, seconds since the handshake."""
    return [line["duration"] for line in named(caplog, "ws_alive")]


class Logged(Life):
    """A life whose signs of life are logged every ten seconds, by a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
        self.log = LivingLog(Settings(log_handler="off", **more), 10.0)
        super().__init__(hooks=(self.log,), connection_id=lambda _: "id-1")
        monkeypatch.setattr("asgi_ws_observe.logs.perf_counter", lambda: self.now)

    def at(self, *seconds: float) -> None:
        """Let rounds pass at these times since the handshake, seconds."""
        for each in seconds:
            self.now = 100.0 + each
            self.observation.hooks.call("alive", self.connection)


def test_line_says_what_was_until_then(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Counts, times, and what a probe sees; nothing about an end that is not there."""
    life = Logged(monkeypatch, node="a").opened()
    life.receive(text("hello"))
    life.now += 0.25
    life.receive(text("é"))
    life.send({"type": "websocket.send", "bytes": b"abc"})
    life.connection.set("tenant", "acme")
    probe = life.connection.probe = Told(life.connection, Watch())
    monkeypatch.setattr(type(probe), "write_buffer", lambda _: 0)
    life.connection.heartbeat_rtt, life.connection.sending_since = 0.5, 1.0
    life.connection.waits_too(2.0)
    life.at(10.0)

    (line,) = named(caplog, "ws_alive")
    assert {
        *("time", "level", "logger", "event", "connection_id", "node", "route", "client_address"),
        *("duration", "messages_in", "messages_out", "bytes_in", "bytes_out", "handler_time_max"),
        *("heartbeat_rtt", "write_buffer_bytes", "sending", "tenant"),
    } == set(line)
    assert ("INFO", "id-1", 10.0, 2, 1, 7, 3, 0.25, 0.5, 0, 2) == (
        *(line["level"], line["connection_id"], line["duration"], line["messages_in"]),
        *(line["messages_out"], line["bytes_in"], line["bytes_out"], line["handler_time_max"]),
        *(line["heartbeat_rtt"], line["write_buffer_bytes"], line["sending"]),
    )


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([1.0, 5.0, 9.99], []),
        ([9.0, 10.0, 11.0, 19.9, 20.0], [10.0, 20.0]),
        ([10.7, 11.7, 20.2, 29.9, 30.4], [10.7, 20.2, 30.4]),
        ([47.0, 48.0, 50.0], [47.0, 50.0]),
    ],
)
def test_lines_come_in_the_interval(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rounds: list[float],
    expected: list[float],
) -> None:
    """Counted from the handshake: a late round makes no later line late, nor two at once."""
    Logged(monkeypatch).opened().at(*rounds)

    assert expected == times(caplog)


def test_connections_have_their_own_intervals(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And what has closed is remembered by nobody."""
    life = Logged(monkeypatch).opened()
    other = Referable(life.observation, scope(), 100.0)
    reference = weakref.ref(other)
    other.sent(ACCEPT, 105.0, 105.0)
    for now in (110.0, 114.0, 115.0):
        life.at(now - 100.0)
        life.observation.hooks.call("alive", other)
    other.received(disconnect(), 116.0)
    other.ended(None, 116.0)
    del other
    gc.collect()

    assert [10.0, 10.0] == times(caplog)
    assert 1 == len(named(caplog, "ws_close"))
    assert reference() is None


def test_probe_that_fails_costs_no_line(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that has changed is no reason to say nothing any more."""

    def fail(probe: Any) -> int:
        raise AttributeError("no such buffer")

    life = Logged(monkeypatch).opened()
    probe = life.connection.probe = Told(life.connection, Watch())
    monkeypatch.setattr(type(probe), "write_buffer", fail)
    life.at(10.0, 20.0)

    assert [10.0, 20.0] == times(caplog)
    assert 0 == life.store.own_errors["logs"]


def test_setting_chooses_the_log() -> None:
    """Off by default."""
    plain, living = (
        ConnectionLog.of(Settings(heartbeat_log_seconds=seconds)) for seconds in (None, 30)
    )
    assert [ConnectionLog, LivingLog] == [type(plain), type(living)]


async def test_line_is_written_for_an_open_connection(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Through the middleware, by the rounds."""
    monkeypatch.setattr("asgi_ws_observe.logs.perf_counter", lambda: perf_counter() + 3600)
    monkeypatch.setattr(rounds, "INTERVAL", 0.001)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await until(lambda: named(caplog, "ws_alive"))
        await receive()

    await run(observe(app, None, heartbeat_log_seconds=1, probe="off"), disconnect())
    await run(observe(echo, None), disconnect())

    assert [2, 2] == [len(named(caplog, event)) for event in ("ws_open", "ws_close")]
    assert "unmatched" == named(caplog, "ws_alive")[0]["route"]
