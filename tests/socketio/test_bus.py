"""The bus: published, heard, lost; and one trace from node to node."""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import types
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
import socketio
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from asgi_ws_observe.socketio import instrument_manager, instrument_server
from asgi_ws_observe.socketio.deliveries import BUS_KEY
from tests.socketio.conftest import Make
from tests.socketio.memory import AsyncMemoryManager, MemoryBus
from tests.socketio.peers import Peer
from tests.support import Spans, sample, total, until

#: Makes a node: a server with a manager on the test's bus.
Node = Callable[..., Any]


@pytest.fixture
def bus() -> MemoryBus:
    """Return a new bus."""
    return MemoryBus()


@pytest_asyncio.fixture
async def node(make: Make, bus: MemoryBus) -> AsyncIterator[Node]:
    """Return what makes nodes; their listeners end with the test."""
    made: list[Any] = []

    async def start(*, observed: bool = True, listens: bool = True, **arguments: Any) -> Any:
        manager = AsyncMemoryManager(bus)
        sio = socketio.AsyncServer(async_mode="asgi", client_manager=manager)
        if observed:
            make(server=sio, **arguments)
        if listens:
            listeners = len(bus.queues)
            manager.initialize()
            sio.manager_initialized = True
            await until(lambda: len(bus.queues) > listeners)
        made.append(manager)
        return sio

    yield start
    threads = [each.thread for each in made if hasattr(each, "thread")]
    for each in threads:
        each.cancel()
    await asyncio.gather(*threads, return_exceptions=True)


def received(registry: CollectorRegistry, method: str, origin: str) -> float:
    """Return how many messages came over the bus."""
    return sample(registry, "socketio_bus_received_total", method=method, origin=origin) or 0


async def test_emit_crosses_the_bus_in_one_trace(
    node: Node, registry: CollectorRegistry, spans: Spans
) -> None:
    """From the emit on one node to the delivery on the other, and to the client that carries on."""
    options = {"inject_events": ["news"]}
    first, second = await node(options=options), await node(options=options)
    peer = await Peer.join(second)
    await second.enter_room(peer.sids["/"], "room:1")

    await first.emit("news", {"text": "hello"}, room="room:1")

    ((name, data, carrier),) = await peer.got(1)
    assert ("news", {"text": "hello"}) == (name, data)
    await until(lambda: spans.named("deliver"))
    (sent,), (delivered,) = spans.named("send"), spans.named("deliver")
    assert sent.context is not None
    assert delivered.context is not None
    assert delivered.parent is not None
    assert ("deliver news", SpanKind.CONSUMER) == (delivered.name, delivered.kind)
    assert sent.context.span_id == delivered.parent.span_id
    assert f"{delivered.context.trace_id:032x}-{delivered.context.span_id:016x}" in str(carrier)
    attributes = delivered.attributes or {}
    expected = {
        "messaging.operation.type": "process",
        "messaging.destination.template": "room:{id}",
        "messaging.socket.io.event_name": "news",
        "socketio.bus": "asyncmemory",
        "socketio.bus.method": "emit",
        "socketio.recipients": 1,
        "socketio.target": "room",
    }
    assert expected == {key: attributes[key] for key in expected}
    assert attributes["socketio.bus.lag"] >= 0  # type: ignore[operator]
    assert 0 == (sent.attributes or {})["socketio.recipients"]
    labels = {"event": "news", "target": "room", "category": "room:{id}", "namespace": "/"}
    for origin in ("own", "other"):
        assert 1 == sample(registry, "socketio_emits_total", origin=origin, **labels)


async def test_lag_and_origin_are_told_apart(node: Node, registry: CollectorRegistry) -> None:
    """Each node hears itself: its own lag is by one clock."""
    first, _ = await node(), await node()
    await first.emit("news")
    await until(lambda: received(registry, "emit", "own") and received(registry, "emit", "other"))
    for origin in ("own", "other"):
        assert 1 == sample(registry, "socketio_bus_lag_seconds_count", origin=origin)
    assert 1 == sample(registry, "socketio_bus_published_total", method="emit", outcome="ok")
    assert 1 == sample(registry, "socketio_bus_listener_up")


async def test_node_with_nobody_concerned_has_no_part_in_the_trace(
    node: Node, registry: CollectorRegistry, spans: Spans
) -> None:
    """With twenty nodes an emit to one room would be twenty deliveries."""
    first, second = await node(), await node()
    await Peer.join(second)
    await first.emit("news", room="room:1")
    await first.emit("news", room=["room:1", "room:2"])
    await until(lambda: received(registry, "emit", "other") == 2)
    assert [] == spans.named("deliver")
    await first.emit("news")
    await until(lambda: spans.named("deliver"))


async def test_call_crosses_nodes(node: Node, registry: CollectorRegistry, spans: Spans) -> None:
    """The acknowledgement comes back over the bus; its latency is that of both ways."""
    first, second = await node(), await node()
    peer = await Peer.join(second)
    call = asyncio.create_task(first.call("question", "colour?", to=peer.sids["/"], timeout=5))
    assert [["question", "colour?"]] == [
        json.loads(each[each.index("[") :]) for each in (await _packets(peer))
    ]
    await peer.acknowledge(1, "blue")

    assert "blue" == await call
    assert 1 == sample(
        registry, "socketio_acks_total", namespace="/", event="question", outcome="ok"
    )
    assert 1 == sample(registry, "socketio_bus_published_total", method="callback", outcome="ok")
    (called,), (delivered,) = spans.named("call"), spans.named("deliver")
    assert called.context is not None
    assert delivered.context is not None
    assert called.context.trace_id == delivered.context.trace_id


async def _packets(peer: Peer) -> list[str]:
    """Return the events that want an acknowledgement, when there is one."""

    def found() -> list[str]:
        return [each for each in peer.all() if each[:1] == "2"]

    await until(found)
    return found()


async def test_other_methods_are_delivered_by_name(
    node: Node, registry: CollectorRegistry, spans: Spans
) -> None:
    """Rooms and ends of clients of other nodes."""
    first, second = await node(), await node()
    sid = (await Peer.join(second)).sids["/"]
    with spans.provider.get_tracer("application").start_as_current_span("work"):
        await first.enter_room(sid, "room:1")
        await until(lambda: second.rooms(sid) == [sid, "room:1"] or "room:1" in second.rooms(sid))
        await first.leave_room(sid, "room:1")
        await until(lambda: "room:1" not in second.rooms(sid))
        await first.close_room("room:1")
        await first.disconnect(sid)
        await until(lambda: not second.manager.is_connected(sid, "/"))

    for method in ("enter_room", "leave_room", "close_room", "disconnect"):
        assert 1 == received(registry, method, "other")
    names = [span.name for span in spans.named("deliver")]
    assert ["deliver enter_room", "deliver leave_room", "deliver disconnect"] == names
    (entered, *_) = spans.named("deliver")
    assert "messaging.socket.io.event_name" not in (entered.attributes or {})


async def test_what_is_lost_is_counted_when_its_time_is_over(
    node: Node, bus: MemoryBus, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the gap in the numbers; no further message is needed to see it."""
    monkeypatch.setattr("asgi_ws_observe.socketio.bus.GRACE", 0.05)
    first, _ = await node(), await node()
    await first.emit("one")
    await until(lambda: received(registry, "emit", "other") == 1)
    bus.loses = True
    await first.emit("lost")
    await first.emit("lost")
    bus.loses = False
    await first.emit("two")
    # The node's own have reached its clients without the bus.
    await until(lambda: sample(registry, "socketio_bus_lost_messages_total") == 2)


async def test_loss_is_counted_by_later_messages(
    node: Node, bus: MemoryBus, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is traffic nobody waits for the timer."""
    monkeypatch.setattr("asgi_ws_observe.socketio.bus.GRACE", 0.01)
    first, _ = await node(), await node()
    for loses in (False, True, False):
        bus.loses = loses
        await first.emit("news")

    async def traffic() -> None:
        while not sample(registry, "socketio_bus_lost_messages_total"):
            await first.emit("news")
            await asyncio.sleep(0)

    await asyncio.wait_for(traffic(), 10)
    assert 1 == sample(registry, "socketio_bus_lost_messages_total")


@pytest.mark.parametrize("manager_name", ["aioredis", "asyncmemory"])
async def test_silently_dropped_message_is_no_success(
    node: Node,
    bus: MemoryBus,
    registry: CollectorRegistry,
    spans: Spans,
    monkeypatch: pytest.MonkeyPatch,
    manager_name: str,
) -> None:
    """Redis' manager gives up without a word, and returns nothing where it returned a number."""
    monkeypatch.setattr(AsyncMemoryManager, "name", manager_name)
    sio = await node()
    is_redis = manager_name == "aioredis"
    bus.result = 2 if is_redis else None
    await sio.emit("taken")
    bus.result = None
    await sio.emit("dropped")

    found = {
        outcome: sample(registry, "socketio_bus_published_total", method="emit", outcome=outcome)
        for outcome in ("ok", "dropped", "failed")
    }
    assert {"ok": 2 - is_redis, "dropped": int(is_redis), "failed": 0} == found
    taken, dropped = (dict(span.attributes or {}) for span in spans.named("send"))
    assert (2 if is_redis else None) == taken.get("socketio.bus.subscribers")
    assert ("dropped" if is_redis else None) == dropped.get("socketio.bus.outcome")


async def test_publishing_that_fails_is_counted_and_raised(
    node: Node, bus: MemoryBus, registry: CollectorRegistry, spans: Spans
) -> None:
    """The application learns of it as ever."""
    sio = await node()
    bus.failure = OSError("no broker")
    with pytest.raises(OSError, match="no broker"):
        await sio.emit("news")
    with pytest.raises(OSError, match="no broker"):
        await sio.enter_room("x" * 20, "room:1")
    published = "socketio_bus_published_total"
    assert 1 == sample(registry, published, method="emit", outcome="failed")
    assert 1 == sample(registry, published, method="enter_room", outcome="failed")
    (span,) = spans.named("send")
    assert StatusCode.ERROR is span.status.status_code
    assert "failed" == (span.attributes or {})["socketio.bus.outcome"]


async def test_handler_of_a_delivery_that_fails_marks_its_span(
    node: Node, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library logs it; the trace has it as well."""
    first, second = await node(), await node()
    await Peer.join(second)

    async def fail(*args: Any, **kwargs: Any) -> None:
        raise LookupError("broken")

    # What the manager looks up on its class, below what is observed.
    monkeypatch.setattr(socketio.AsyncManager, "emit", fail)
    with pytest.raises(LookupError):
        await first.emit("news")
    second.manager.bus.publish(
        {"method": "emit", "event": "news", "data": [1], "host_id": "another", "namespace": "/"}
        | {BUS_KEY: {"traceparent": f"00-{7:032x}-{7:016x}-01", "time": "never"}}
    )
    await until(lambda: spans.named("deliver"))
    (span,) = spans.named("deliver")
    assert (StatusCode.ERROR, "LookupError") == (
        span.status.status_code,
        (span.attributes or {})["error.type"],
    )
    assert "socketio.bus.lag" not in (span.attributes or {})


async def test_node_without_this_library_takes_part(
    node: Node, registry: CollectorRegistry, spans: Spans
) -> None:
    """Both ways: ours is understood, and theirs is counted."""
    ours, theirs = await node(), await node(observed=False)
    here, there = await Peer.join(ours), await Peer.join(theirs)

    await ours.emit("news", "from ours")
    assert [["news", "from ours"]] == await there.got(1)
    await theirs.emit("news", "from theirs")
    assert [["news", "from ours"], ["news", "from theirs"]] == await here.got(2)

    assert (1, 1) == (received(registry, "emit", "own"), received(registry, "emit", "other"))
    assert 0 == sample(registry, "socketio_bus_lag_seconds_count", origin="other")
    assert [] == spans.named("deliver")


@pytest.mark.parametrize("raw", [b"\xff", "no json", "[]", '{"other": 1}', None])
async def test_what_is_no_message_is_left_to_the_manager(
    node: Node, bus: MemoryBus, registry: CollectorRegistry, raw: Any
) -> None:
    """It ignores what it does not understand, and goes on."""
    first, second = await node(), await node()
    peer = await Peer.join(second)
    bus.inject(raw)
    await first.emit("news")
    assert [["news"]] == [each[:1] for each in await peer.got(1)]
    assert 0 == sample(registry, "ws_observe_errors_total", part="socketio")


@pytest.mark.parametrize(
    "mark", [7, {}, {"publisher": 7, "sequence": "x"}, {"publisher": "p", "sequence": -1}]
)
async def test_strange_mark_does_no_harm(
    node: Node, bus: MemoryBus, registry: CollectorRegistry, mark: Any
) -> None:
    """Anybody can publish on a bus."""
    sio = await node()
    peer = await Peer.join(sio)
    message = {"method": "emit", "event": "news", "data": [1], "host_id": "x", "namespace": "/"}
    bus.inject(json.dumps(message | {BUS_KEY: mark}))
    assert [["news", 1]] == await peer.got(1)
    bus.inject({"method": "something new", "host_id": "x"})
    await until(lambda: received(registry, "other", "other") == 1)
    assert 0 == sample(registry, "ws_observe_errors_total", part="socketio")


async def test_binary_event_carries_its_trace_to_the_client(node: Node, spans: Spans) -> None:
    """The manager has taken the attachments out before."""
    options = {"inject_events": ["file"]}
    first, second = await node(options=options), await node(options=options)
    peer = await Peer.join(second)
    await first.emit("file", b"12345")
    await until(lambda: b"12345" in peer.all())
    (head,) = [each for each in peer.all() if str(each).startswith("5")]
    name, placeholder, carrier = json.loads(head[head.index("[") :])
    assert ("file", {"_placeholder": True, "num": 0}) == (name, placeholder)
    assert ["traceparent"] == list(carrier)


async def test_injected_event_without_a_span_carries_nothing(node: Node) -> None:
    """There is nothing to carry."""
    sio = await node(traced=False, options={"inject_events": ["news"]})
    peer = await Peer.join(sio)
    await sio.emit("news", "a")
    assert [["news", "a"]] == peer.events()


async def test_own_clients_get_the_carrier_of_the_emit(node: Node, spans: Spans) -> None:
    """There is no delivery in between, and what is published carries nothing of it."""
    sio = await node(options={"inject_events": ["news"]})
    peer = await Peer.join(sio)
    await sio.emit("news", "a")
    ((*event, carrier),) = peer.events()
    (sent,) = spans.named("send")
    assert sent.context is not None
    assert ["news", "a"] == event
    assert f"{sent.context.span_id:016x}" in carrier["traceparent"]
    assert ["a"] == sio.manager.bus.published[0]["data"]
    await sio.emit("news", "b", ignore_queue=True)
    assert ["news", "b"] == peer.events()[1][:2]
    assert 3 == len(peer.events()[1])


async def test_local_emit_of_another_task_is_no_part_of_it(
    node: Node, bus: MemoryBus, spans: Spans
) -> None:
    """What has no span carries no trace, were there any around it."""
    sio = await node(options={"event_spans": "slow"})
    await sio.emit("news")
    assert "traceparent" not in bus.published[0][BUS_KEY]
    with spans.provider.get_tracer("application").start_as_current_span("work"):
        await sio.emit("news")
        await sio.enter_room("x" * 20, "room:1")
    assert "traceparent" in bus.published[1][BUS_KEY]
    assert "traceparent" in bus.published[2][BUS_KEY]


async def test_manager_that_pickles_is_read_as_it_reads(
    node: Node, bus: MemoryBus, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 5.14 the library pickles; it would load the very same bytes next."""
    module = types.ModuleType("socketio.async_pubsub_manager")
    module.pickle = pickle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "socketio.async_pubsub_manager", module)
    sio = await node()
    peer = await Peer.join(sio)
    message = {"method": "emit", "event": "news", "data": [1], "host_id": "x", "namespace": "/"}
    bus.inject(pickle.dumps(message))
    assert [["news", 1]] == await peer.got(1)
    assert 1 == received(registry, "emit", "other")


async def test_old_message_carries_its_trace_to_the_client(
    node: Node, bus: MemoryBus, spans: Spans
) -> None:
    """Before 5.14 its data is what `emit` was given."""
    sio = await node(options={"inject_events": ["news"]})
    peer = await Peer.join(sio)
    message = {"method": "emit", "event": "news", "data": "a", "host_id": "x", "namespace": "/"}
    bus.inject(message | {BUS_KEY: {"traceparent": f"00-{7:032x}-{7:016x}-01"}})
    ((*event, carrier),) = await peer.got(1)
    assert ["news", "a"] == event
    assert f"{7:032x}" in carrier["traceparent"]


async def test_listener_from_before_is_seen_by_what_it_hands_over(
    make: Make, bus: MemoryBus, registry: CollectorRegistry
) -> None:
    """A server that is observed late has its listener already; own messages are not seen then."""
    manager = AsyncMemoryManager(bus)
    sio = socketio.AsyncServer(async_mode="asgi", client_manager=manager)
    manager.initialize()
    await until(lambda: bus.queues)
    make(server=sio)
    peer = await Peer.join(sio)
    message = {"method": "emit", "event": "news", "data": [1], "host_id": "x", "namespace": "/"}
    bus.inject(json.dumps(message))
    assert [["news", 1]] == (await peer.got(1))[:1]
    assert 1 == received(registry, "emit", "other")
    manager.thread.cancel()
    await asyncio.wait([manager.thread])


async def test_listener_that_ended_is_down(node: Node, registry: CollectorRegistry) -> None:
    """It starts with the first client, and may end silently."""
    sio = await node(listens=False)
    up = [sample(registry, "socketio_bus_listener_up")]
    await Peer.join(sio)
    up.append(sample(registry, "socketio_bus_listener_up"))
    sio.manager.thread.cancel()
    await asyncio.wait([sio.manager.thread])
    up.append(sample(registry, "socketio_bus_listener_up"))
    assert [0, 1, 0] == up


@pytest.mark.parametrize(
    ("connection", "subscribed", "expected"),
    [(True, True, 1), (False, True, 0), (None, True, 0), (True, False, 0)],
)
async def test_listener_of_redis_is_up_while_it_is_subscribed(
    node: Node, registry: CollectorRegistry, connection: Any, subscribed: bool, expected: int
) -> None:
    """One that waits to try again is alive and deaf."""
    sio = await node()
    link = None if connection is None else types.SimpleNamespace(is_connected=connection)
    sio.manager.pubsub = types.SimpleNamespace(connection=link, subscribed=subscribed)
    assert expected == sample(registry, "socketio_bus_listener_up")


async def test_manager_that_only_writes_is_observed_by_itself(
    node: Node, bus: MemoryBus, registry: CollectorRegistry, spans: Spans
) -> None:
    """In a worker process without a server: its emits reach the nodes in one trace."""
    sio = await node()
    peer = await Peer.join(sio)
    other = CollectorRegistry()
    manager = AsyncMemoryManager(bus, write_only=True)
    instrumentation = instrument_manager(
        manager, registry=other, tracer_provider=spans.provider, event_spans="all"
    )
    assert instrumentation is instrument_manager(manager)
    await manager.emit("news", "a", room="room:1")
    await manager.emit("news", "b")

    assert [["news", "b"]] == await peer.got(1)
    await until(lambda: spans.named("deliver"))
    assert 2 == total(other, "socketio_emits_total", event="news")
    assert 2 == sample(other, "socketio_bus_published_total", method="emit", outcome="ok")
    assert None is sample(other, "socketio_bus_listener_up")
    _, sent = spans.named("send")
    (delivered,) = spans.named("deliver")
    assert sent.context is not None
    assert delivered.context is not None
    assert sent.context.trace_id == delivered.context.trace_id
    instrumentation.uninstrument()
    await manager.emit("news", "c")
    assert 2 == total(other, "socketio_emits_total", event="news")
    assert BUS_KEY not in bus.published[-1]


async def test_uninstrumented_node_goes_on_untouched(
    node: Node, bus: MemoryBus, registry: CollectorRegistry, make: Make
) -> None:
    """Its listener runs through what is left of ours until it ends."""
    sio = await node()
    peer = await Peer.join(sio)
    publish = sio.manager._publish
    instrument_server(sio).uninstrument()
    await publish({"method": "emit", "host_id": sio.manager.host_id})
    assert BUS_KEY not in bus.published[-1]
    message = {"method": "emit", "event": "news", "data": [1], "host_id": "x", "namespace": "/"}
    bus.inject(json.dumps(message))
    assert [["news", 1]] == await peer.got(1)
    assert 0 == received(registry, "emit", "other")


async def test_failure_of_ours_on_the_bus_changes_nothing(
    node: Node, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing, hearing and delivering go on, and the failures are counted."""
    first, second = await node(), await node()
    peer = await Peer.join(second)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("bug")

    for name in ("marked", "heard", "delivering", "published"):
        monkeypatch.setattr(f"asgi_ws_observe.socketio.bus.Bus.{name}", fail)
    await first.emit("news", "a")
    assert [["news", "a"]] == await peer.got(1)
    assert (sample(registry, "ws_observe_errors_total", part="socketio") or 0) >= 4


async def test_listener_that_starts_when_nobody_observes_any_more_is_the_librarys(
    node: Node, bus: MemoryBus, registry: CollectorRegistry
) -> None:
    """Somebody kept what was there."""
    sio = await node(listens=False)
    listen = sio.manager._listen
    instrument_server(sio).uninstrument()
    messages = listen()
    waiting = asyncio.ensure_future(anext(messages))
    await until(lambda: bus.queues)
    bus.inject("raw")
    assert "raw" == await waiting
    assert 0 == total(registry, "socketio_bus_received_total")
    await messages.aclose()
