"""Connections of a channel's own: what is asked is answered in order, whatever happens to some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
import pytest_asyncio

from asgi_ws_observe.fanout.redis_client import ONLY, RedisClient
from asgi_ws_observe.fanout.redis_lines import Caller, Lines
from tests.fanout.redis_servers import RedisServer, single
from tests.support import until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Return a running server."""
    with single(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest_asyncio.fixture
async def client(server: RedisServer) -> AsyncIterator[RedisClient]:
    """Return a client; nothing stays connected."""
    client = RedisClient(server.url)
    yield client
    await client.aclose()
    await until(lambda: not server.clients())


@pytest_asyncio.fixture
async def caller(client: RedisClient) -> AsyncIterator[Caller]:
    """Return who asks the server."""
    caller = Caller(partial(client.connection, ONLY))
    yield caller
    await caller.aclose()


async def test_answers_are_those_of_the_questions(caller: Caller, server: RedisServer) -> None:
    """Many at once, on one connection; a refusal is an answer."""
    texts = [str(number).encode() for number in range(200)]
    answers = await asyncio.gather(*(caller.ask(("ECHO", text), ("PING",)) for text in texts))
    assert [[text, b"PONG"] for text in texts] == answers
    refused, after = await caller.ask(("NONSENSE",), ("ECHO", "after"))
    assert "unknown command" in str(refused)
    assert b"after" == after
    assert 1 == len(server.clients())


async def test_question_that_is_given_up_takes_no_other_answer(caller: Caller) -> None:
    """The next one gets its own."""
    await caller.ask(("PING",))
    given_up = asyncio.create_task(caller.ask(("ECHO", "nobody's")))
    waits = asyncio.create_task(caller.ask(("ECHO", "mine")))
    await asyncio.sleep(0)
    given_up.cancel()
    assert [b"mine"] == await waits
    assert given_up.cancelled()


async def test_lost_connection_fails_what_waits_and_is_made_anew(
    caller: Caller, server: RedisServer
) -> None:
    """Everything that waits for an answer is told, one that was given up is not missed."""
    await caller.ask(("PING",))
    work = [asyncio.create_task(caller.ask(("BLPOP", "nothing", 0))) for _ in range(3)]
    await until(lambda: server.clients()[0]["cmd"] == "blpop")
    work[1].cancel()
    await asyncio.wait(work[1:2])
    server.cut("normal")
    results = await asyncio.gather(*work, return_exceptions=True)
    assert all(isinstance(each, (Exception, asyncio.CancelledError)) for each in results)
    assert [b"PONG"] == await caller.ask(("PING",))


async def test_connection_that_breaks_under_a_command_is_made_anew(caller: Caller) -> None:
    """What cannot be sent is an error, not a new connection that nobody knows of."""
    await caller.ask(("PING",))
    line = caller._line
    assert line is not None
    await line._connection.disconnect(nowait=True)
    with pytest.raises(ConnectionError, match="is lost"):
        await caller.ask(("PING",))
    assert [b"PONG"] == await caller.ask(("PING",))
    assert line is not caller._line


async def test_caller_that_is_closed_while_it_connects_leaves_nothing(
    client: RedisClient, server: RedisServer
) -> None:
    """Whoever asked is told."""
    caller = Caller(partial(client.connection, ONLY))
    server.pause()
    try:
        work = asyncio.create_task(caller.ask(("PING",)))
        await until(caller._connecting.locked)
        await caller.aclose()
    finally:
        server.resume()
    with pytest.raises(ConnectionError, match="the channel is closed"):
        await work


async def test_line_that_is_opened_too_late_is_shut(
    client: RedisClient, server: RedisServer
) -> None:
    """The listener has given up on all its lines meanwhile."""
    lines = Lines()
    server.pause()
    try:
        work = asyncio.create_task(lines.open("", client.connection(ONLY)))
        await asyncio.sleep(0)
        await lines.shut()
    finally:
        server.resume()
    with pytest.raises(ConnectionError, match="connects again"):
        await work
    with pytest.raises(ConnectionError, match="connects again"):
        await lines.hear(1)
    lines.begin()
    assert [] == await lines.hear(0.01)


async def test_flood_leaves_the_event_loop_its_turns(client: RedisClient) -> None:
    """A line whose answers are all there already does not keep others waiting."""
    lines = Lines()
    line = await lines.open("", client.connection(ONLY))
    await line.say(*[("PING",)] * 5000)
    turns, count = 0, 0
    while count < 5000:
        heard = await lines.hear(1)
        assert heard is not None
        count += len(heard)
        turns += 1
    await lines.shut()
    assert turns >= 10
