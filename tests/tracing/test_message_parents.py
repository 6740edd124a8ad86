"""Spans of the handler, and of messages: whose children they are, however the handler reads."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from asgi_ws_observe import current_connection
from tests.support import ACCEPT, CONNECT, Spans, disconnect, scope, text
from tests.tracing.test_spans import (
    Silent,
    Tree,
    _no_trouble_with_contexts,  # noqa: F401 - holds in every test of this file
    leaf,
    observe,
    routed,
    run,
    tree,
)

Reader = Callable[[WebSocket, "Work"], Awaitable[None]]
SAID = [text(f'{{"type":"m{number}"}}') for number in range(1, 4)]


class Work:
    """What a handler does: a span of its own for each step, named by a number.

    Args:
        spans: Where the spans go.
    """

    def __init__(self, spans: Spans) -> None:
        self.tracer = spans.provider.get_tracer("test")
        self._number = 0

    async def __call__(self, *given: object) -> None:
        self._number += 1
        with self.tracer.start_as_current_span(f"work {self._number}"):
            await asyncio.sleep(0)


def message(number: int, *works: int) -> Tree:
    """Return the node of a message with these steps of work."""
    return (f"ws.message m{number} CONSUMER", [leaf(f"work {work} INTERNAL") for work in works])


#: Three messages, and a step of work for each.
USUAL = [message(1, 1), message(2, 2), message(3, 3)]


async def by_plain_loop(websocket: WebSocket, work: Work) -> None:
    for _ in range(3):
        await work(await websocket.receive_text())


async def by_iter_text(websocket: WebSocket, work: Work) -> None:
    async for said in websocket.iter_text():
        await work(said)


async def by_iter_json(websocket: WebSocket, work: Work) -> None:
    async for said in websocket.iter_json():
        await work(said)


async def by_wait_for(websocket: WebSocket, work: Work) -> None:
    for _ in range(3):
        await work(await asyncio.wait_for(websocket.receive_text(), 10))


async def by_both(websocket: WebSocket, work: Work) -> None:
    await work(await websocket.receive_text())
    await work(await asyncio.wait_for(websocket.receive_text(), 10))
    await work(await websocket.receive_text())


async def by_both_the_other_way(websocket: WebSocket, work: Work) -> None:
    await work(await asyncio.wait_for(websocket.receive_text(), 10))
    await work(await websocket.receive_text())
    await work(await asyncio.wait_for(websocket.receive_text(), 10))


async def by_nested_wait_for(websocket: WebSocket, work: Work) -> None:
    async def patient() -> str:
        return await asyncio.wait_for(websocket.receive_text(), 10)

    await work(await asyncio.wait_for(patient(), 10))
    await work(await asyncio.wait_for(asyncio.wait_for(patient(), 10), 10))
    await work(await asyncio.wait_for(websocket.receive_text(), 10))


async def by_wait_for_in_a_task(websocket: WebSocket, work: Work) -> None:
    await asyncio.create_task(by_wait_for(websocket, work))


async def by_reader_and_writer(websocket: WebSocket, work: Work) -> None:
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def read() -> None:
        async for said in websocket.iter_text():
            await work(said)
            queue.put_nowait(said)
        queue.put_nowait(None)

    async def write() -> None:
        while (said := await queue.get()) is not None:
            await websocket.send_text(said)

    if sys.version_info >= (3, 11):
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(write())
    else:
        await asyncio.gather(read(), write())


READERS: list[Reader] = [
    *(by_plain_loop, by_iter_text, by_iter_json, by_wait_for, by_both, by_both_the_other_way),
    *(by_nested_wait_for, by_wait_for_in_a_task, by_reader_and_writer),
]


def serving(read: Reader, work: Work) -> ASGIApp:
    """Return an application that accepts and reads so."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await read(websocket, work)

    return routed(handler)


async def talk(app: ASGIApp) -> None:
    """Connect, say three things, leave."""
    await run(app, *SAID, disconnect(), path="/rooms/7")


@pytest.mark.parametrize("read", READERS)
async def test_work_is_a_child_of_its_message(spans: Spans, read: Reader) -> None:
    """However the handler reads."""
    await talk(observe(serving(read, Work(spans)), spans.provider))

    assert [("ws.upgrade /rooms/{room} SERVER", USUAL)] == tree(spans.all())


@pytest.mark.parametrize("read", READERS)
async def test_work_is_a_child_of_its_message_where_that_is_a_trace(
    spans: Spans, read: Reader
) -> None:
    """Likewise where the connection is only linked."""
    await talk(observe(serving(read, Work(spans)), spans.provider, connection_span="linked"))

    expected = [leaf("ws.upgrade /rooms/{room} SERVER"), *USUAL]
    assert [*expected, leaf("ws.close /rooms/{room} INTERNAL")] == tree(spans.all())


@pytest.mark.parametrize("read", READERS)
async def test_span_around_the_loop_is_the_parent_of_messages(spans: Spans, read: Reader) -> None:
    """It is the application's own, and current where messages are received."""

    async def inside(websocket: WebSocket, work: Work) -> None:
        with work.tracer.start_as_current_span("session"):
            await read(websocket, work)

    await talk(observe(serving(inside, Work(spans)), spans.provider))

    assert [("ws.upgrade /rooms/{room} SERVER", [("session INTERNAL", USUAL)])] == tree(spans.all())


@pytest.mark.parametrize("read", [by_plain_loop, by_wait_for])
async def test_work_on_an_untraced_message_is_the_connection_s(spans: Spans, read: Reader) -> None:
    """One message is within the rate; what comes after it is not its work."""
    app = observe(serving(read, Work(spans)), spans.provider, message_span_rate=0.01)
    await talk(app)

    below = [message(1, 1), leaf("work 2 INTERNAL"), leaf("work 3 INTERNAL")]
    assert [("ws.upgrade /rooms/{room} SERVER", below)] == tree(spans.all())


async def test_endpoint_and_dependencies(spans: Spans) -> None:
    """Starlette's class for handlers, and FastAPI's dependencies before and after the messages."""
    work = Work(spans)

    class Endpoint(WebSocketEndpoint):
        encoding = "text"

        async def on_receive(self, websocket: Any, data: Any) -> None:
            await work(data)

    async def depended() -> Any:
        await work()
        yield
        await work()

    api = FastAPI()

    @api.websocket("/rooms/{room}", dependencies=[Depends(depended)])
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await by_iter_text(websocket, work)

    endpoint = Starlette(routes=[WebSocketRoute("/rooms/{room}", Endpoint)])
    await talk(observe(endpoint, spans.provider))
    await talk(observe(api, spans.provider))

    name = "ws.upgrade /rooms/{room} SERVER"
    around = [leaf("work 4 INTERNAL"), leaf("work 8 INTERNAL")]
    later = [around[0], message(1, 5), message(2, 6), message(3, 7), around[1]]
    assert [(name, USUAL), (name, later)] == tree(spans.all())


async def test_span_around_the_first_receive_only(spans: Spans) -> None:
    """The first message is its child; when it is left, the connection's span is current."""

    async def read(websocket: WebSocket, work: Work) -> None:
        with work.tracer.start_as_current_span("login"):
            await work(await websocket.receive_text())
        await work()
        await work(await websocket.receive_text())
        await work(await websocket.receive_text())

    await talk(observe(serving(read, Work(spans)), spans.provider))

    login = ("login INTERNAL", [message(1, 1)])
    below = [login, leaf("work 2 INTERNAL"), message(2, 3), message(3, 4)]
    assert [("ws.upgrade /rooms/{room} SERVER", below)] == tree(spans.all())


@pytest.mark.parametrize("wait_for", [False, True])
async def test_span_that_opens_at_an_untraced_message_is_a_parent(
    spans: Spans, wait_for: bool
) -> None:
    """What was current at an earlier message is not what is current now."""

    async def read(websocket: WebSocket, work: Work) -> None:
        async def receive() -> None:
            step = websocket.receive_text()
            await (asyncio.wait_for(step, 10) if wait_for else step)

        await receive()
        await receive()
        with work.tracer.start_as_current_span("phase"):
            bucket = current_connection().observation.store.span_bucket
            assert bucket is not None
            bucket.opens_at = 0.0
            await receive()
            await work()

    app = observe(serving(read, Work(spans)), spans.provider, message_span_rate=0.01)
    await talk(app)

    below = [message(1), ("phase INTERNAL", [message(3, 1)])]
    assert [("ws.upgrade /rooms/{room} SERVER", below)] == tree(spans.all())


async def test_wait_for_after_an_untraced_message_keeps_the_tree(spans: Spans) -> None:
    """The task that receives is another one each time, though no message was left meanwhile."""

    async def read(websocket: WebSocket, work: Work) -> None:
        await work(await websocket.receive_text())
        await work(await websocket.receive_text())
        bucket = current_connection().observation.store.span_bucket
        assert bucket is not None
        bucket.opens_at = 0.0
        await work(await asyncio.wait_for(websocket.receive_text(), 10))

    await talk(observe(serving(read, Work(spans)), spans.provider, message_span_rate=0.01))

    below = [message(1, 1), leaf("work 2 INTERNAL"), message(3, 3)]
    assert [("ws.upgrade /rooms/{room} SERVER", below)] == tree(spans.all())


async def test_work_after_a_wait_for_that_timed_out_is_the_connection_s(spans: Spans) -> None:
    """The message before it is over, and none has come; the next one is found again."""
    arriving = asyncio.Event()

    class Pausing(Silent):
        async def receive(self) -> dict[str, Any]:
            if len(self.events) == 1:
                await arriving.wait()
            return await super().receive()

    async def read(websocket: WebSocket, work: Work) -> None:
        await work(await asyncio.wait_for(websocket.receive_text(), 10))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(websocket.receive_text(), 0.01)
        await work()
        arriving.set()
        await work(await asyncio.wait_for(websocket.receive_text(), 10))
        await websocket.close()

    server = Pausing([CONNECT, *SAID[:2]])
    app = observe(serving(read, Work(spans)), spans.provider)
    await app(scope("/rooms/7"), server.receive, server.send)

    below = [message(1, 1), leaf("work 2 INTERNAL"), message(2, 3)]
    assert [("ws.upgrade /rooms/{room} SERVER", below)] == tree(spans.all())


async def test_work_that_outlives_its_message_stays_its_child(spans: Spans) -> None:
    """A task started for a message belongs to it, though the next one has come and gone."""

    async def read(websocket: WebSocket, work: Work) -> None:
        late = asyncio.Event()

        async def spawned() -> None:
            await late.wait()
            await work()

        await websocket.receive_text()
        task = asyncio.create_task(spawned())
        await work(await websocket.receive_text())
        await websocket.receive_text()
        late.set()
        await task

    await talk(observe(serving(read, Work(spans)), spans.provider))

    below = [message(1, 2), message(2, 1), message(3)]
    assert [("ws.upgrade /rooms/{room} SERVER", below)] == tree(spans.all())


def test_loop_of_another_kind_is_no_hindrance(spans: Spans) -> None:
    """Without an asyncio loop there is no task to look at."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        work = Work(spans)
        for number in range(3):
            await receive()
            with work.tracer.start_as_current_span(f"work {number + 1}"):
                pass

    step = run(observe(app, spans.provider), *SAID, disconnect())
    with pytest.raises(StopIteration):
        step.send(None)

    assert [("ws.upgrade SERVER", USUAL)] == tree(spans.all())
