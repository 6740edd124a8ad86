"""The threaded server: the same numbers, spans and lines, as far as its hooks are the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import socketio
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry

from asgi_ws_observe.socketio import instrument_manager, instrument_server
from asgi_ws_observe.socketio.deliveries import BUS_KEY
from tests.socketio.conftest import Make
from tests.socketio.memory import MemoryBus, MemoryManager
from tests.socketio.peers import ThreadPeer
from tests.support import Spans, sample, total, wait_until

CARRIER = {"traceparent": f"00-{'0af7651916cd43dd8448eb211c80319c'}-b7ad6b7169203331-01"}


def server(make: Make, options: dict[str, Any] | None = None, **own: Any) -> Any:
    """Return a threaded server that is observed."""
    return make(server=socketio.Server(async_mode="threading", **own), options=options)


@pytest.fixture
def bus() -> Iterator[MemoryBus]:
    """Return a new bus; what listens to it ends with the test."""
    found = MemoryBus()
    yield found
    found.inject(None)


def node(make: Make, bus: MemoryBus, **options: Any) -> Any:
    """Return a server with a manager that listens to the bus."""
    sio = server(make, options, client_manager=MemoryManager(bus))
    listeners = len(bus.queues)
    sio.manager.initialize()
    sio.manager_initialized = True
    wait_until(lambda: len(bus.queues) > listeners)
    return sio


def test_life_of_a_client_is_observed(
    make: Make, registry: CollectorRegistry, spans: Spans, lines: Callable[..., Any]
) -> None:
    """Connect, event with acknowledgement, room, emit, disconnect."""
    sio = server(make, {"trust_client": True})

    @sio.event
    def connect(sid: str, environ: Any, auth: Any) -> None:
        sio.save_session(sid, {"user": 7})

    @sio.event
    def chat(sid: str, text: str) -> str:
        sio.enter_room(sid, "room:1")
        sio.emit("said", text, room="room:1")
        return "thanks"

    peer = ThreadPeer(sio)
    sid = peer.connect()
    peer.emit("chat", "hello", CARRIER, ack=1)
    wait_until(lambda: '31["thanks"]' in peer.all())
    wait_until(lambda: spans.named("process"))
    peer.leave()

    assert [["said", "hello"]] == peer.events()
    expected = {
        ("socketio_connects_total", ("outcome", "accepted")): 1,
        ("socketio_events_total", ("outcome", "ok")): 1,
        ("socketio_emits_total", ("category", "room:{id}")): 1,
        ("socketio_emit_recipients_sum", ("target", "room")): 1,
        ("socketio_room_joins_total", ("category", "room:{id}")): 1,
        ("socketio_room_leaves_total", ("category", "room:{id}")): 1,
        ("socketio_disconnects_total", ("reason", "client_disconnect")): 1,
    }
    found = {key: total(registry, key[0], **dict([key[1]])) for key in expected}
    assert expected == found
    (event,), (sent,) = spans.named("process chat"), spans.named("send said")
    assert event.context is not None
    assert sent.parent is not None
    assert event.context.span_id == sent.parent.span_id
    assert CARRIER["traceparent"][3:35] == f"{event.context.trace_id:032x}"
    assert ["socketio_open", "socketio_close"] == [line["event"] for line in lines()]
    assert [sid, sid] == [line["sid"] for line in lines()]


def test_refused_and_exploding_connects_are_told_apart(
    make: Make, registry: CollectorRegistry, lines: Callable[..., Any]
) -> None:
    """As for asyncio."""
    sio = server(make)
    answers: list[Any] = [False, LookupError("bug")]

    @sio.event
    def connect(sid: str, environ: Any, auth: Any) -> Any:
        answer = answers.pop(0)
        if answer is False:
            return answer
        raise answer

    assert None is ThreadPeer(sio).connect()
    with pytest.raises(LookupError):
        ThreadPeer(sio).connect()
    assert 1 == total(registry, "socketio_connects_total", outcome="refused")
    assert 1 == total(registry, "socketio_connects_total", outcome="error")
    assert ["connect"] == [line["operation"] for line in lines("socketio_error")]


def test_handler_that_raises_is_logged(
    make: Make,
    registry: CollectorRegistry,
    spans: Spans,
    lines: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread's exception is otherwise only printed."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    sio = server(make)

    @sio.event
    def boom(sid: str) -> None:
        raise LookupError("bug")

    peer = ThreadPeer(sio)
    peer.connect()
    peer.emit("boom")
    wait_until(lambda: lines("socketio_error"))
    assert 1 == total(registry, "socketio_events_total", event="boom", outcome="error")
    (span,) = spans.named("process boom")
    assert StatusCode.ERROR is span.status.status_code


def test_trigger_that_is_no_client_is_passed_on(make: Make, registry: CollectorRegistry) -> None:
    """Applications may call it themselves."""
    sio = server(make)
    assert sio.not_handled is sio._trigger_event("chat", "/", "sid")
    assert 0 == total(registry, "socketio_events_total")


def test_call_and_its_timeout_are_observed(
    make: Make, registry: CollectorRegistry, spans: Spans
) -> None:
    """In the thread that waits."""
    sio = server(make)
    peer = ThreadPeer(sio)
    sid = peer.connect()
    answers: list[Any] = []
    caller = threading.Thread(
        target=lambda: answers.append(sio.call("question", "colour?", to=sid, timeout=5))
    )
    caller.start()
    wait_until(lambda: any("question" in str(each) for each in peer.all()))
    peer.acknowledge(1, "blue")
    caller.join()
    with pytest.raises(socketio.exceptions.TimeoutError):
        sio.call("question", to=sid, timeout=0.01)

    assert ["blue"] == answers
    for outcome in ("ok", "timeout"):
        assert 1 == total(registry, "socketio_acks_total", outcome=outcome)
    assert ["call question"] * 2 == [span.name for span in spans.named("call")]


def test_counts_of_many_threads_add_up(make: Make, registry: CollectorRegistry) -> None:
    """Each event has a thread of its own; none is lost in counting."""
    sio = server(make, {"event_spans": "off"})
    sio.on("chat", lambda sid: sio.emit("news"))
    peer = ThreadPeer(sio)
    peer.connect()
    for _ in range(300):
        peer.emit("chat")
    wait_until(lambda: total(registry, "socketio_events_total", outcome="ok") == 300)
    assert 300 == total(registry, "socketio_emits_total", event="news")
    assert 300 == total(registry, "socketio_emit_recipients_sum")


def test_bus_is_observed(
    make: Make, bus: MemoryBus, registry: CollectorRegistry, spans: Spans
) -> None:
    """One trace from node to node, as Kafka's and AMQP's managers have it."""
    first = node(make, bus, inject_events=["news"])
    second = node(make, bus, inject_events=["news"])
    peer = ThreadPeer(second)
    peer.connect()
    first.emit("news", "hello")

    wait_until(lambda: peer.events() and spans.named("deliver"))
    ((*event, carrier),) = peer.events()
    (sent,), (delivered,) = spans.named("send"), spans.named("deliver")
    assert sent.context is not None
    assert delivered.parent is not None
    assert delivered.context is not None
    assert ["news", "hello"] == event
    assert sent.context.span_id == delivered.parent.span_id
    assert f"{delivered.context.span_id:016x}" in carrier["traceparent"]
    wait_until(lambda: total(registry, "socketio_bus_received_total", origin="own"))
    wait_until(lambda: total(registry, "socketio_bus_received_total", origin="other"))
    assert 1 == sample(registry, "socketio_bus_listener_up")
    bus.inject(None)
    threads = [each.manager.thread for each in (first, second)]
    wait_until(lambda: not any(each.is_alive() for each in threads))
    assert 0 == sample(registry, "socketio_bus_listener_up")


def test_lost_messages_are_counted_by_later_ones(
    make: Make, bus: MemoryBus, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread has no timer to wait with."""
    monkeypatch.setattr("asgi_ws_observe.socketio.bus.GRACE", 0.0)
    sio, _ = node(make, bus), node(make, bus)
    for loses in (False, True, False, False):
        bus.loses = loses
        sio.emit("news")
    wait_until(lambda: sample(registry, "socketio_bus_lost_messages_total") == 1)


def test_publishing_that_fails_is_counted_and_raised(
    make: Make, bus: MemoryBus, registry: CollectorRegistry
) -> None:
    """As for asyncio."""
    sio = node(make, bus)
    bus.failure = OSError("no broker")
    with pytest.raises(OSError, match="no broker"):
        sio.emit("news")
    assert 1 == total(registry, "socketio_bus_published_total", outcome="failed")


def test_everything_passes_on_after_uninstrument(
    make: Make, bus: MemoryBus, registry: CollectorRegistry
) -> None:
    """A listener that runs goes through what is left of ours."""
    sio = node(make, bus)
    peer = ThreadPeer(sio)
    peer.connect()
    publish = sio.manager._publish
    instrument_server(sio).uninstrument()
    publish({"method": "emit", "event": "news", "data": [1], "host_id": "x", "namespace": "/"})
    wait_until(lambda: [["news", 1]] == peer.events())
    assert BUS_KEY not in bus.published[-1]
    assert 0 == total(registry, "socketio_bus_received_total")


def test_manager_that_only_writes_is_observed(bus: MemoryBus, spans: Spans) -> None:
    """In a worker process, such as Celery's."""
    registry = CollectorRegistry()
    manager = MemoryManager(bus, write_only=True)
    instrumentation = instrument_manager(manager, registry=registry, tracer_provider=spans.provider)
    manager.emit("news", "a", room="room:1")
    assert 1 == total(registry, "socketio_emits_total", event="news", target="room")
    assert "traceparent" in json.dumps(bus.published)
    instrumentation.uninstrument()
