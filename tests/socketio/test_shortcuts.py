"""What is kept or left out for speed changes nothing that anybody sees."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
from engineio import packet
from opentelemetry import trace
from prometheus_client import CollectorRegistry

from asgi_ws_observe.socketio import instrument_server
from asgi_ws_observe.socketio.steps import Step
from tests.socketio.conftest import Make
from tests.socketio.peers import Peer
from tests.support import Spans, sample


class _Failing(Step):
    """Fails where it is told to."""

    def __init__(self, observer: Any, where: str) -> None:
        super().__init__(observer)
        self._where = where
        self.has_ended = False

    def _begin(self) -> None:
        if self._where == "begin":
            raise ZeroDivisionError

    def _end(self, error: BaseException | None) -> None:
        self.has_ended = True
        if self._where == "end":
            raise ZeroDivisionError


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize(("where", "ends"), [("begin", False), ("end", True)])
def test_failing_step_is_reported_and_goes_no_further(
    threaded: bool, where: str, ends: bool
) -> None:
    """With threads or without; what has not begun does not end."""
    failures: list[Exception] = []

    def safely(culprit: object, action: Callable[..., Any], *args: Any) -> bool:
        try:
            action(*args)
        except ZeroDivisionError as error:
            failures.append(error)
            return False
        return True

    observer = types.SimpleNamespace(
        active=True, threaded=threaded, safely=safely, failed=lambda e, _: failures.append(e)
    )
    with pytest.raises(KeyError), _Failing(observer, where) as step:
        raise KeyError
    assert 1 == len(failures)
    assert ends == step.has_ended


async def test_namespace_that_loses_its_handlers_loses_its_label(
    make: Make, registry: CollectorRegistry
) -> None:
    """Its numbers are kept for as long as the application knows it."""
    sio = make()
    sio.on("say", lambda sid: None, namespace="/chat")
    peer = await Peer.join(sio, "/chat")
    known = sample(registry, "socketio_bytes_total", namespace="/chat", direction="in")
    assert known
    del sio.handlers["/chat"]
    await peer.emit("say", namespace="/chat")

    assert known == sample(registry, "socketio_bytes_total", namespace="/chat", direction="in")
    assert sample(registry, "socketio_bytes_total", namespace="_other", direction="in")


@pytest.mark.parametrize("name", ["_TRACER_PROVIDER", "_ANOTHER_NAME"])
async def test_global_provider_that_comes_late_is_used(
    monkeypatch: pytest.MonkeyPatch, make: Make, spans: Spans, name: str
) -> None:
    """Events have spans from then on, wherever opentelemetry-api keeps it."""
    monkeypatch.setattr("asgi_ws_observe.tracing.provider._GLOBAL", name)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    sio = make(traced=False)
    sio.on("say", lambda sid: None)
    peer = await Peer.join(sio)
    await peer.emit("say")
    assert not spans.all()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    await peer.emit("say")

    assert ["process say"] == [span.name for span in spans.all()]


async def test_session_keeps_what_it_has(make: Make) -> None:
    """Another class and another dictionary, but the same attributes; and all of it back."""
    sio = make()
    before = Peer(sio, {}).session
    kind, attributes = type(before), dict(vars(before))
    await sio.eio.handlers["connect"](before.sid, {})
    assert type(before) is not kind
    assert attributes == vars(before)
    instrument_server(sio).uninstrument()
    assert (kind, attributes) == (type(before), vars(before))


async def test_session_that_ends_leaves_no_ping_behind(
    make: Make, registry: CollectorRegistry
) -> None:
    """A pong that comes after the end is the answer to nothing that is known."""
    sio = make()
    peer = await Peer.join(sio)
    session = peer.session
    session.last_ping = 1.0
    await session.queue.put(packet.Packet(packet.PING))
    for each in await session.poll():
        each.encode()
    await session.close(wait=False, abort=True)
    await session.receive(packet.Packet(packet.PONG))

    delay, rtt = (f"engineio_ping_{each}_seconds_count" for each in ("queue_delay", "rtt"))
    assert 1 == sample(registry, delay, transport="polling")
    assert 0 == sample(registry, rtt, transport="polling")
