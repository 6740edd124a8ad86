"""Applications whose tests put mocks, and values of any kind, where the library has its own."""

from __future__ import annotations

from unittest import mock

import socketio
from prometheus_client import CollectorRegistry

from tests.socketio.conftest import Make
from tests.support import total


def test_mocked_engine_leaves_the_server_as_it_is(make: Make, registry: CollectorRegistry) -> None:
    """A mock in the place of a class is none that anything can be an instance of."""
    with mock.patch("socketio.server.engineio.AsyncServer"):
        server = make(server=socketio.AsyncServer())
        handler = mock.Mock()
        server.on("connect", handler)
    assert {"connect": handler} == server.handlers["/"]
    assert 0 == total(registry, "ws_observe_errors_total", part="socketio")
