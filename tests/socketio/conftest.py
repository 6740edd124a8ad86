"""What the tests of Socket.IO share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
import socketio
from prometheus_client import CollectorRegistry

from asgi_ws_observe import JSONFormatter
from asgi_ws_observe.socketio import Instrumentation, instrument_server
from tests.support import Spans

#: Makes a server that is observed; what it is given beside `options` is the server's own.
Make = Callable[..., socketio.AsyncServer]


@pytest.fixture
def make(registry: CollectorRegistry, spans: Spans) -> Iterator[Make]:
    """Return what makes observed servers: every event has a span unless told otherwise."""
    made: list[Instrumentation] = []

    def server(
        *,
        traced: bool = True,
        server: Any = None,
        options: dict[str, Any] | None = None,
        **own: Any,
    ) -> Any:
        found = server or socketio.AsyncServer(async_mode="asgi", **own)
        usual: dict[str, Any] = {"event_spans": "all"} | (options or {})
        provider = spans.provider if traced else None
        made.append(instrument_server(found, registry=registry, tracer_provider=provider, **usual))
        return found

    yield server
    for each in made:
        each.uninstrument()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[..., list[dict[str, Any]]]:
    """Return what returns the log lines, all or those of one event, as their fields."""
    caplog.set_level(logging.INFO, "asgi_ws_observe.socketio")
    formatter = JSONFormatter()

    def found(event: str = "") -> list[dict[str, Any]]:
        every = [orjson.loads(formatter.format(record)) for record in caplog.records]
        return [each for each in every if event in ("", each.get("event"))]

    return found
