"""Trace context for clients, in what managers of other versions publish."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi_ws_observe.socketio import hooks
from asgi_ws_observe.socketio.hooks import with_trace
from asgi_ws_observe.socketio.observer import Observer
from asgi_ws_observe.socketio.options import ServerSettings
from tests.socketio.conftest import Make
from tests.support import total

PLACE: Any = {"_placeholder": True, "num": 0}
BYTES = base64.b64encode(b"x").decode()


@pytest.fixture
def observer(make: Make, registry: CollectorRegistry) -> Observer:
    """What observes a server whose event ``news`` carries trace context."""
    server = make()
    settings = ServerSettings(inject_events=["news"])
    return Observer(server, server.manager, settings, registry, None)


@pytest.mark.parametrize(
    ("are_lists", "message", "expected"),
    [
        (True, {"data": ["a", 1], "binary": False}, {"data": ["a", 1, "C"], "binary": False}),
        (True, {"data": "ab", "binary": False}, {"data": ["ab", "C"], "binary": False}),
        (True, {"data": {"a": 1}}, {"data": [{"a": 1}, "C"]}),
        (True, {"data": [[PLACE], BYTES], "binary": 1}, {"data": [[PLACE, "C"], BYTES]}),
        (True, {"data": [PLACE, BYTES], "binary": 1}, {"data": [[PLACE, "C"], BYTES]}),
        (False, {"data": "ab", "binary": False}, {"data": ("ab", "C")}),
        (False, {"data": ["a", 1], "binary": False}, {"data": (["a", 1], "C")}),
        (False, {"data": ("a", 1)}, {"data": ("a", 1, "C")}),
        (False, {"data": None, "binary": False}, {"data": ("C",)}),
        (False, {"data": [PLACE, BYTES], "binary": 1}, {"data": (b"x", "C"), "binary": False}),
        (False, {"data": [[PLACE], BYTES], "binary": 1}, {"data": ([b"x"], "C"), "binary": False}),
    ],
)
def test_carrier_is_one_more_argument(
    observer: Observer,
    monkeypatch: pytest.MonkeyPatch,
    are_lists: bool,
    message: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    """Whether managers make a list of what `emit` is given, or publish it as it is."""
    monkeypatch.setattr(hooks, "_LISTS", are_lists)
    monkeypatch.setattr(hooks, "carrier_of", lambda: "C")
    news = {"event": "news"} | message
    assert news | expected == with_trace(observer, news)


def test_message_that_nobody_can_read_is_passed_on(
    observer: Observer, registry: CollectorRegistry
) -> None:
    """The manager says what is wrong with it."""
    nonsense = {"event": ["news"], "data": None}
    assert nonsense is with_trace(observer, nonsense)
    assert 1 == total(registry, "ws_observe_errors_total", part="socketio")
