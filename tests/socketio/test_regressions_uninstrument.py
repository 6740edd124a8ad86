"""What was there before is there again, and not only something equal."""

from __future__ import annotations

import socketio
from prometheus_client import CollectorRegistry

from asgi_ws_observe.socketio import instrument_server


def test_handlers_of_the_engine_are_the_same_objects_again(registry: CollectorRegistry) -> None:
    """A bound method is made anew whenever it is looked up."""
    server = socketio.AsyncServer(async_mode="asgi")
    before = dict(server.eio.handlers)
    observed = instrument_server(server, registry=registry)
    assert before["connect"] != server.eio.handlers["connect"]
    observed.uninstrument()
    found = server.eio.handlers
    assert {name: id(each) for name, each in before.items()} == {
        name: id(each) for name, each in found.items()
    }
