"""What the application emits: whom it goes to, how it is traced, who acknowledges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import socketio
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings
from tests.socketio.conftest import Make
from tests.socketio.peers import Peer
from tests.support import Spans, counted, sample, total, until

Emit = Callable[[Any, list[str]], Any]


def emits(registry: CollectorRegistry) -> dict[tuple[str, str, str], float]:
    """Return how many events were emitted, by event, target and category."""
    return counted(registry, "socketio_emits_total", "event", "target", "category")


@pytest.mark.parametrize(
    ("emit", "target", "category", "recipients"),
    [
        (lambda sio, sids: sio.emit("news", 1), "broadcast", "_all", 3),
        (lambda sio, sids: sio.emit("news", 1, room="room:1"), "room", "room:{id}", 2),
        (lambda sio, sids: sio.emit("news", 1, to="room:1"), "room", "room:{id}", 2),
        (lambda sio, sids: sio.emit("news", 1, room="lobby"), "room", "_other", 0),
        (lambda sio, sids: sio.emit("news", 1, room=17), "room", "_other", 0),
        (lambda sio, sids: sio.emit("news", 1, to=sids[0]), "sid", "_sid", 1),
        (lambda sio, sids: sio.emit("news", 1, to="x" * 20), "sid", "_sid", 0),
        (lambda sio, sids: sio.emit("news", 1, room=["room:1", "room:2"]), "rooms", "room:{id}", 3),
        (lambda sio, sids: sio.emit("news", 1, room=sids[:2]), "rooms", "_sid", 2),
        (lambda sio, sids: sio.emit("news", 1, skip_sid=sids[0]), "broadcast", "_all", 2),
        (lambda sio, sids: sio.emit("news", 1, skip_sid=sids[:2]), "broadcast", "_all", 1),
        (lambda sio, sids: sio.emit("news", 1, namespace="/empty"), "broadcast", "_all", 0),
        (lambda sio, sids: sio.send(1), "broadcast", "_all", 3),
        (lambda sio, sids: sio.manager.emit("news", 1, "/", "room:1"), "room", "room:{id}", 2),
    ],
    ids=[
        *("all", "room", "to", "plain-room", "number", "sid", "sid-elsewhere", "rooms", "sids"),
        *("skip", "skip-several", "namespace", "send", "by-position"),
    ],
)
async def test_emit_counts_its_target_and_recipients(
    make: Make,
    registry: CollectorRegistry,
    spans: Spans,
    emit: Emit,
    target: str,
    category: str,
    recipients: int,
) -> None:
    """A room is counted by its category, whoever it is for by their number."""
    sio = make()
    peers = [await Peer.join(sio) for _ in range(3)]
    sids = [peer.sids["/"] for peer in peers]
    for sid in sids[:2]:
        await sio.enter_room(sid, "room:1")
    await sio.enter_room(sids[2], "room:2")

    await emit(sio, sids)

    ((name, *found),) = emits(registry)
    assert [target, category] == found
    histogram = "socketio_emit_recipients"
    assert recipients == total(registry, f"{histogram}_sum", target=target, category=category)
    assert 1 == total(registry, f"{histogram}_count", target=target)
    assert 1 == total(registry, "socketio_emit_duration_seconds_count", target=target)
    assert recipients == sum(len(peer.events()) for peer in peers)
    (span,) = spans.named("send")
    assert (f"send {name}", SpanKind.PRODUCER) == (span.name, span.kind)
    attributes = span.attributes or {}
    assert (target, category, recipients) == (
        attributes["socketio.target"],
        attributes["messaging.destination.template"],
        attributes["socketio.recipients"],
    )


async def test_emit_to_nowhere_fails_as_it_did(make: Make, registry: CollectorRegistry) -> None:
    """An empty list of rooms is an error of the library, ours to pass on."""
    sio = make()
    await Peer.join(sio)
    with pytest.raises(IndexError):
        await sio.emit("news", room=[])
    assert {("news", "rooms", "_none"): 1} == emits(registry)


async def test_emit_is_part_of_the_event_that_makes_it(make: Make, spans: Spans) -> None:
    """One trace from the client's event to what it causes."""
    sio = make()

    @sio.event
    async def chat(sid: str, text: str) -> None:
        await sio.enter_room(sid, "room:1")
        await sio.emit("said", text, room="room:1")
        await sio.leave_room(sid, "room:1")

    peer = await Peer.join(sio)
    await peer.emit("chat", "hello")

    (event,) = spans.named("process")
    assert event.context is not None
    parts = [*spans.named("join"), *spans.named("send"), *spans.named("leave")]
    assert ["join room:{id}", "send said", "leave room:{id}"] == [span.name for span in parts]
    for span in parts:
        assert span.parent is not None
        assert event.context.span_id == span.parent.span_id


async def test_bytes_count_once_for_each_recipient(make: Make, registry: CollectorRegistry) -> None:
    """Text as UTF-8, and attachments."""
    sio = make()
    peers = [await Peer.join(sio) for _ in range(3)]
    before = total(registry, "socketio_bytes_total", direction="out")

    await sio.emit("news", "é")
    # The library's JSON is ASCII.
    text = len(r'2["news","\u00e9"]')
    await sio.emit("news", b"12345")
    binary = len('51-["news",{"_placeholder":true,"num":0}]') + 5

    assert (text + binary) * 3 == total(registry, "socketio_bytes_total", direction="out") - before
    assert all(b"12345" in peer.all() for peer in peers)


async def test_bytes_of_clients_count_as_utf8(make: Make, registry: CollectorRegistry) -> None:
    """A character is not a byte."""
    sio = make()
    peer = await Peer.join(sio)
    before = total(registry, "socketio_bytes_total", direction="in")
    await peer.emit("chat", "é")
    expected = len('2["chat","é"]'.encode())
    assert expected == total(registry, "socketio_bytes_total", direction="in") - before


async def test_bytes_of_clients_count_by_namespace(make: Make, registry: CollectorRegistry) -> None:
    """Attachments as well."""
    sio = make()
    sio.on("chat", lambda sid, data: None, namespace="/chat")
    peer = await Peer.join(sio, "/chat")
    before = sample(registry, "socketio_bytes_total", namespace="/chat", direction="in") or 0
    head = '51-/chat,["chat",{"_placeholder":true,"num":0}]'
    await peer.send(head)
    await peer.send(b"12345")
    found = sample(registry, "socketio_bytes_total", namespace="/chat", direction="in") or 0
    assert len(head) + 5 == found - before


@pytest.mark.parametrize("rests", [False, True], ids=["plain", "coroutine"])
async def test_acknowledgement_is_counted_timed_and_traced(
    make: Make, registry: CollectorRegistry, spans: Spans, rests: bool
) -> None:
    """The callback is called as ever; the span lasts from the emit to the answer."""
    sio = make()
    answers: list[Any] = []

    async def later(*args: Any) -> None:
        answers.append(args)

    peer = await Peer.join(sio)
    callback: Any = later if rests else lambda *args: answers.append(args)
    await sio.emit("question", "colour?", to=peer.sids["/"], callback=callback)
    assert 1 == sample(registry, "socketio_acks_pending")
    await peer.acknowledge(1, "blue", 7)

    assert [("blue", 7)] == answers
    assert 0 == sample(registry, "socketio_acks_pending")
    labels = {"namespace": "/", "event": "question"}
    assert 1 == sample(registry, "socketio_acks_total", outcome="ok", **labels)
    assert 1 == sample(registry, "socketio_ack_latency_seconds_count", **labels)
    (sent,), (ack,) = spans.named("send"), spans.named("ack")
    assert sent.context is not None
    assert ack.parent is not None
    assert ("ack question", SpanKind.CLIENT) == (ack.name, ack.kind)
    assert sent.context.span_id == ack.parent.span_id
    assert (ack.attributes or {})["socketio.ack.latency"] == pytest.approx(
        ((ack.end_time or 0) - (ack.start_time or 0)) / 1e9, abs=0.005
    )


async def test_client_that_leaves_loses_its_acknowledgements(
    make: Make, registry: CollectorRegistry
) -> None:
    """Nobody answers any more, and the library forgets the callback silently."""
    sio = make()
    peer = await Peer.join(sio)
    for _ in range(2):
        await sio.emit("question", to=peer.sids["/"], callback=lambda *args: None)
    await peer.leave()
    assert 2 == sample(
        registry, "socketio_acks_total", namespace="/", event="question", outcome="lost"
    )
    assert 0 == sample(registry, "socketio_acks_pending")


async def test_call_has_one_span_around_its_wait(
    make: Make, registry: CollectorRegistry, spans: Spans
) -> None:
    """The acknowledgement has none of its own then."""
    sio = make()
    peer = await Peer.join(sio)
    call = asyncio.create_task(sio.call("question", "colour?", to=peer.sids["/"], timeout=5))
    await until(lambda: any("question" in str(each) for each in peer.all()))
    await peer.acknowledge(1, "blue")

    assert "blue" == await call
    (called,), (sent,) = spans.named("call"), spans.named("send")
    assert called.context is not None
    assert sent.parent is not None
    assert ("call question", SpanKind.CLIENT) == (called.name, called.kind)
    assert called.context.span_id == sent.parent.span_id
    assert [] == spans.named("ack")
    assert 1 == sample(
        registry, "socketio_acks_total", namespace="/", event="question", outcome="ok"
    )


async def test_call_that_nobody_answers_is_a_timeout(
    make: Make, registry: CollectorRegistry, spans: Spans
) -> None:
    """The library forgets nothing: its callback is pending until the client leaves."""
    sio = make()
    peer = await Peer.join(sio)
    with pytest.raises(socketio.exceptions.TimeoutError):
        await sio.call("question", to=peer.sids["/"], timeout=0.01)
    await peer.leave()

    found = {
        each: sample(registry, "socketio_acks_total", namespace="/", event="question", outcome=each)
        for each in ("ok", "timeout", "lost")
    }
    assert {"ok": 0, "timeout": 1, "lost": 0} == found
    (span,) = spans.named("call")
    assert (StatusCode.ERROR, "TimeoutError") == (
        span.status.status_code,
        (span.attributes or {})["error.type"],
    )


async def test_ignored_events_are_emitted_and_not_observed(
    make: Make, registry: CollectorRegistry, spans: Spans
) -> None:
    """Their acknowledgements neither."""
    sio = make(options={"ignore_events": ["move"]})
    answers: list[Any] = []
    peer = await Peer.join(sio)
    await sio.emit("move", 1, to=peer.sids["/"], callback=lambda *args: answers.append(args))
    await peer.acknowledge(1, "ok")
    call = asyncio.create_task(sio.call("move", to=peer.sids["/"], timeout=5))
    await until(lambda: len([each for each in peer.all() if "move" in str(each)]) == 2)
    await peer.acknowledge(2, "ok")
    assert "ok" == await call
    assert [("ok",)] == answers
    assert {} == emits(registry)
    assert 0 == total(registry, "socketio_acks_total")
    assert ["connect /"] == [span.name for span in spans.all()]


async def test_injected_event_carries_its_span_to_the_client(make: Make, spans: Spans) -> None:
    """As one more argument, and only where it was asked for."""
    sio = make(options={"inject_events": ["news"]})
    peer = await Peer.join(sio)
    await sio.emit("news", ("a", "b"))
    await sio.emit("news")
    await sio.emit("other", "a")

    first, second, third = peer.events()
    sent = [span.context for span in spans.named("send news")]
    for event, own, context in zip(
        (first, second), (["news", "a", "b"], ["news"]), sent, strict=True
    ):
        assert context is not None
        assert own == event[:-1]
        expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-"
        assert ["traceparent"] == list(event[-1])
        assert expected == event[-1]["traceparent"][:-2]
    assert ["other", "a"] == third


async def test_injected_event_without_a_span_carries_nothing(make: Make) -> None:
    """There is nothing to carry."""
    sio = make(traced=False, options={"inject_events": ["news"]})
    peer = await Peer.join(sio)
    await sio.emit("news", "a")
    assert [["news", "a"]] == peer.events()


async def test_too_many_emitted_names_share_one(make: Make, registry: CollectorRegistry) -> None:
    """An application may emit what a client made up."""
    sio = make()
    for number in range(300):
        await sio.emit(f"event {number}")
    found = emits(registry)
    assert 101 == len(found)
    assert 200 == found["_other", "broadcast", "_all"]


async def test_capped_emits_keep_the_slow_and_the_failed(
    make: Make, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of any trace they are bounded as events are."""
    settings = Settings(message_span_rate=0.01, slow_message_seconds=0.01)
    sio = make(options={"event_spans": "capped", "settings": settings})
    await Peer.join(sio)
    original = sio._send_eio_packet

    async def slowly(eio_sid: str, pkt: Any) -> None:
        # Waits for time to pass, which is what it is about.
        await asyncio.sleep(0.02)
        await original(eio_sid, pkt)

    await sio.emit("first")
    await sio.emit("fast")
    monkeypatch.setattr(sio, "_send_eio_packet", slowly)
    await sio.emit("slow")
    with pytest.raises(TypeError):
        await sio.emit("fails", object())
    assert ["send first", "send slow", "send fails"] == [span.name for span in spans.named("send")]


async def test_emit_that_fails_marks_its_span(make: Make, spans: Spans) -> None:
    """What cannot be encoded is the application's mistake."""
    sio = make()
    await Peer.join(sio)
    with pytest.raises(TypeError):
        await sio.emit("news", {"when": object()})
    (span,) = spans.named("send news")
    assert (StatusCode.ERROR, "TypeError") == (
        span.status.status_code,
        (span.attributes or {})["error.type"],
    )


async def test_emit_in_an_unsampled_trace_has_no_span(make: Make, spans: Spans) -> None:
    """Making one would only cost."""
    sio = make()
    peer = await Peer.join(sio)
    unsampled = NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(0)))
    with trace.use_span(unsampled):
        await sio.emit("news")
        with pytest.raises(socketio.exceptions.TimeoutError):
            await sio.call("question", to=peer.sids["/"], timeout=0.01)
    assert ["connect /"] == [span.name for span in spans.all()]


async def test_injected_event_whose_data_is_given_by_name_carries_its_span(make: Make) -> None:
    """However the manager is called."""
    sio = make(options={"inject_events": ["news"]})
    peer = await Peer.join(sio)
    await sio.manager.emit("news", data="a", namespace="/")
    ((*event, carrier),) = peer.events()
    assert (["news", "a"], ["traceparent"]) == (event, list(carrier))
