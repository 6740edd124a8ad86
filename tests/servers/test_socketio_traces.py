"""Traces of Socket.IO across two nodes, and calls from one to a client of the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from asgi_ws_observe.socketio import instrument_client
from tests.servers.socketio_nodes import IS_TOLD, Carrier, Client, Since, Site, client, pair
from tests.servers.test_socketio_javascript import needed, play
from tests.support import Spans, until

Pair = tuple[Site, Site]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run two nodes with a Redis between them."""
    with pair(tmp_path_factory.mktemp("nodes")) as (a, b, _):
        yield a, b


def only(site: Site, name: str, **facts: Any) -> dict[str, Any]:
    """Return the one span of a name that has these facts."""
    (span,) = site.spans_of(name, **facts)
    return span


async def say(speaker: Client, listener: Client, *args: Any) -> tuple[str, dict[str, str]]:
    """Say something to a room that the listener is in; return what it hears."""
    await listener.call("join", "room:one")
    await speaker.call("say", "room:one", "hello", *args)
    text, carrier = await listener.hear()
    return text, carrier


def chain(top: dict[str, Any], spans: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    """Return who made what below a span: each the only child of the one before."""
    found, span = [], top
    while below := [each for each in spans if each[1]["parent"] == span["span"]]:
        ((who, span),) = below
        found.append((who, str(span["name"])))
    return found


@pytest.mark.parametrize("library", ["python", "javascript"])
async def test_instrumented_clients_are_both_ends_of_one_trace(nodes: Pair, library: str) -> None:
    """The sender's `call`, its node, the other node, and the handler of who hears it."""
    a, b = nodes
    if library == "python":
        own = Spans()
        async with client(a, query="trust=yes") as speaker, client(b) as listener:
            for each in (speaker, listener):
                instrument_client(each.sio, tracer_provider=own.provider)
            await listener.call("join", "room:one")
            await speaker.call("say", "room:one", "hello")
            assert ("hello",) == await listener.hear()
        ours = [as_line(span) for span in own.all()]
        first = "call say"
    else:
        needed()
        addresses = [f"http://{each.server.address}" for each in nodes]
        seen = await asyncio.to_thread(play, "across", *addresses)
        assert ["hello"] == seen.said["said"]
        ours = seen.spans
        first = "send say"
    (top,) = (span for span in ours if span["name"] == first)
    named = ("process say", "send said", "deliver said")
    await until(lambda: b.spans_of("deliver said", trace=top["trace"]))
    spans = [("client", span) for span in ours if span["name"] == "process said"]
    for who, site in (("a", a), ("b", b)):
        spans += [(who, each) for name in named for each in site.spans_of(name, trace=top["trace"])]
    expected = [
        *(("a", "process say"), ("a", "send said")),
        *(("b", "deliver said"), ("client", "process said")),
    ]
    assert expected == chain(top, spans)
    assert {top["trace"]} == {span["trace"] for _, span in spans}


def as_line(span: Any) -> dict[str, Any]:
    """Return a span of this process as the other processes write theirs."""
    return {
        "name": span.name,
        "trace": f"{span.context.trace_id:032x}",
        "span": f"{span.context.span_id:016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else None,
    }


async def test_trusted_client_is_in_one_trace_with_everybody(nodes: Pair) -> None:
    """From a client of A by A, Redis and B to a client of B: each the child of the one before."""
    a, b = nodes
    carrier, numbers = Carrier(), (Since(a), Since(b))
    async with client(a, query="trust=yes") as speaker, client(b) as listener:
        text, received = await say(speaker, listener, carrier.payload)
        await until(lambda: b.spans_of("deliver said", trace=carrier.trace))
        process = only(a, "process say", trace=carrier.trace)
        send = only(a, "send said", trace=carrier.trace)
        deliver = only(b, "deliver said", trace=carrier.trace)
        connected = only(a, "connect /", id=speaker.sid)
    assert ("hello", carrier.trace) == (text, received["traceparent"].split("-")[1])
    assert [carrier.span, process["span"], send["span"], deliver["span"]] == [
        *(process["parent"], send["parent"], deliver["parent"]),
        received["traceparent"].split("-")[2],
    ]
    assert [[[connected["trace"], connected["span"]]], [], []] == [
        each["links"] for each in (process, send, deliver)
    ]
    assert ["CONSUMER", "PRODUCER", "CONSUMER"] == [
        each["kind"] for each in (process, send, deliver)
    ]
    assert (2, 0, 1) == (
        send["attributes"]["socketio.bus.subscribers"],
        send["attributes"]["socketio.recipients"],
        deliver["attributes"]["socketio.recipients"],
    )
    room = {"event": "said", "target": "room", "category": "room:{id}"}
    for number, origin, recipients in zip(numbers, ("own", "other"), (0, 1), strict=True):
        assert 1 == number("socketio_emits_total", origin=origin, **room)
        assert recipients == number("socketio_emit_recipients_sum", category="room:{id}")


@pytest.mark.parametrize(("trust", "is_linked"), [("no", True), ("never", False)])
async def test_client_that_is_not_trusted_gets_a_new_trace(
    nodes: Pair, trust: str, is_linked: bool
) -> None:
    """Linked to the client's or not, and it goes on to the other node as one."""
    a, b = nodes
    carrier = Carrier()
    async with client(a, query=f"trust={trust}") as speaker, client(b) as listener:
        text, received = await say(speaker, listener, carrier.payload)
        process = only(a, "process say", id=speaker.sid)
        await until(lambda: b.spans_of("deliver said", trace=process["trace"]))
        connected = only(a, "connect /", id=speaker.sid)
    theirs = [[carrier.trace, carrier.span]] if is_linked else []
    assert "hello" == text
    assert None is process["parent"]
    assert [[connected["trace"], connected["span"]], *theirs] == process["links"]
    assert carrier.trace != process["trace"] == received["traceparent"].split("-")[1]


async def test_connect_carries_a_trace_in_its_auth(nodes: Pair) -> None:
    """The handler gets the rest; the connection's spans and lines are in the client's trace."""
    a, _ = nodes
    carrier = Carrier()
    auth = {"user": "somebody"} | carrier.payload
    async with client(a, query="trust=yes", auth=auth) as one:
        sid = one.sid
    await until(lambda: a.spans_of("connection /", id=sid))
    connect = only(a, "connect /", id=sid)
    assert (carrier.trace, carrier.span) == (connect["trace"], connect["parent"])
    for name in ("disconnect /", "connection /"):
        span = only(a, name, id=sid)
        assert (carrier.trace, connect["span"]) == (span["trace"], span["parent"])
    (opened,), (closed,) = a.lines("socketio_open", sid=sid), a.lines("socketio_close", sid=sid)
    assert carrier.trace == opened["trace_id"] == closed["trace_id"]
    assert ("accepted", "/", sid) == (closed["outcome"], closed["namespace"], closed["sid"])


async def test_call_is_answered_from_another_node(nodes: Pair) -> None:
    """A client of B answers a node A: the call's span has all of it, and its latency counts."""
    a, b = nodes
    numbers = Since(a)
    async with client(a) as asking, client(b) as answering:
        assert "blue" == await asking.call("ask", answering.sid, 5.0)
        assert 1 == numbers("socketio_acks_total", event="question", outcome="ok")
        assert 0 == numbers("socketio_acks_pending")
    (call,) = a.named("call question")
    process, send = only(a, "process ask", trace=call["trace"]), only(a, "send question")
    deliver = only(b, "deliver question")
    assert [process["span"], call["span"], send["span"]] == [
        *(call["parent"], send["parent"], deliver["parent"]),
    ]
    assert ("CLIENT", "UNSET") == (call["kind"], call["status"])
    latency = numbers("socketio_ack_latency_seconds_sum", event="question")
    assert 1 == numbers("socketio_ack_latency_seconds_count", event="question")
    assert 0 < latency <= (call["end"] - call["start"]) / 1e9
    assert 1 == b.number("socketio_bus_published_total", method="callback")
    assert 1 <= numbers("socketio_bus_received_total", method="callback", origin="other")


@pytest.mark.parametrize("is_late", [True, False])
async def test_call_that_nobody_answers_times_out(nodes: Pair, *, is_late: bool) -> None:
    """It stays one when the answer comes late; what the library leaves behind shows until then."""
    a, b = nodes
    numbers = Since(a)
    async with client(a) as asking, client(b) as silent:
        silent.answers = ""
        assert "nobody answers" == await asking.call("ask", silent.sid, 0.2)
        assert 1 == numbers("socketio_acks_total", event="question", outcome="timeout")
        call = a.named("call question")[-1]
        assert ("ERROR", "TimeoutError") == (call["status"], call["attributes"]["error.type"])
        assert 1 == numbers("socketio_acks_pending")
        if is_late:
            silent.answers = "too late"
            await until(lambda: 0 == numbers("socketio_acks_pending"))
    # Nobody tells this node that a client of the other one has left.
    assert int(not is_late) == numbers("socketio_acks_pending")
    assert 0 == numbers("socketio_acks_total", event="question", outcome="ok")


async def test_client_that_leaves_instead_of_answering_is_lost(nodes: Pair) -> None:
    """Where the client was the node's own, the acknowledgement is settled when it leaves."""
    a, _ = nodes
    numbers = Since(a)
    async with client(a) as asking:
        async with client(a) as leaving:
            leaving.answers = ""
            asked = asking.sio.start_background_task(asking.call, "ask", leaving.sid, 1.0)
            await until(lambda: numbers("socketio_acks_pending"))
            leaving.answers = "never heard"
            await leaving.sio.eio.disconnect(abort=True)
        await until(lambda: numbers("socketio_acks_total", outcome="lost"))
        assert "nobody answers" == await asked
    assert 0 == numbers("socketio_acks_total", outcome="timeout")
    assert 0 == numbers("socketio_acks_pending")


async def test_client_is_thrown_out_from_another_node(nodes: Pair) -> None:
    """B counts it and says why, in the trace of the event on A."""
    a, b = nodes
    numbers, carrier = Since(b), Carrier()
    async with client(a, query="trust=yes") as kicking, client(b) as kicked:
        sid = kicked.sid
        await kicking.call("kick", sid, carrier.payload)
        await until(lambda: b.spans_of("deliver disconnect", trace=carrier.trace))
        await until(lambda: b.lines("socketio_close", sid=sid))
    (closed,) = b.lines("socketio_close", sid=sid)
    reason = "server_disconnect" if IS_TOLD else "unknown"
    assert reason == closed["reason"]
    assert 1 == numbers("socketio_disconnects_total", reason=reason)
    assert 1 == numbers("socketio_bus_received_total", method="disconnect", origin="other")
    process = only(a, "process kick", trace=carrier.trace)
    assert process["span"] == only(b, "deliver disconnect")["parent"]
