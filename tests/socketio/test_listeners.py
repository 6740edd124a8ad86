"""Whether a manager still listens to Redis: whose messages are read is what counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import socketio
from prometheus_client import CollectorRegistry

from asgi_ws_observe.socketio import instrument_server
from tests.socketio.conftest import Make
from tests.socketio.memory import AsyncMemoryManager, MemoryBus, MemoryManager


class PubSub:
    """As redis-py's: what it gives is read by somebody, or not."""

    def __init__(self) -> None:
        self.connection = SimpleNamespace(is_connected=True)
        self.subscribed = True

    async def listen(self) -> AsyncIterator[int]:
        yield 1
        yield 2


class ThreadPubSub(PubSub):
    """The same for threads."""

    def listen(self) -> Iterator[int]:  # type: ignore[override]
        yield 1
        yield 2


class RedisLike(AsyncMemoryManager):
    """A manager that connects as Redis's does."""

    pubsub: Any = None

    def _redis_connect(self) -> str:
        self.pubsub = PubSub()
        return "connected"


class ThreadRedisLike(MemoryManager):
    """The same for threads."""

    pubsub: Any = None

    def _redis_connect(self) -> None:
        self.pubsub = ThreadPubSub()


def listener_of(manager: Any) -> Any:
    """Return what follows the listener of an observed manager."""
    instrumentation = instrument_server(manager.server)
    return instrumentation._bus.listener  # type: ignore[union-attr]


async def test_listener_is_up_while_it_is_read(make: Make) -> None:
    """redis-py connects again by itself: a connection alone proves nothing."""
    manager = RedisLike(MemoryBus())
    make(server=socketio.AsyncServer(async_mode="asgi", client_manager=manager))
    listener = listener_of(manager)
    seen = [listener.is_up()]
    assert "connected" == manager._redis_connect()
    seen.append(listener.is_up())
    messages = manager.pubsub.listen()
    found = [await anext(messages)]
    seen.append(listener.is_up())
    found += [each async for each in messages]
    seen.append(listener.is_up())

    assert [False, True, True, False] == seen
    assert [1, 2] == found


def test_listener_of_threads_is_up_while_it_is_read(make: Make) -> None:
    """The same for threads."""
    manager = ThreadRedisLike(MemoryBus())
    make(server=socketio.Server(async_mode="threading", client_manager=manager))
    listener = listener_of(manager)
    manager._redis_connect()
    messages = manager.pubsub.listen()
    found, seen = [next(messages)], [listener.is_up()]
    found += list(messages)
    seen.append(listener.is_up())
    assert ([1, 2], [True, False]) == (found, seen)


async def test_older_listener_that_ends_takes_nothing_with_it(make: Make) -> None:
    """A manager that could not publish makes a new one while the old one is read on."""
    manager = RedisLike(MemoryBus())
    make(server=socketio.AsyncServer(async_mode="asgi", client_manager=manager))
    listener = listener_of(manager)
    manager._redis_connect()
    old = manager.pubsub.listen()
    await anext(old)
    manager._redis_connect()
    new = manager.pubsub.listen()
    await anext(new)
    await old.aclose()
    assert listener.is_up()
    await new.aclose()
    assert not listener.is_up()


async def test_listener_is_given_back(make: Make, registry: CollectorRegistry) -> None:
    """Nobody watches any more, and what connects again is not watched."""
    manager = RedisLike(MemoryBus())
    manager._redis_connect()
    first = manager.pubsub
    sio = make(server=socketio.AsyncServer(async_mode="asgi", client_manager=manager))
    connect = manager._redis_connect
    assert "listen" in vars(first)
    instrument_server(sio).uninstrument()
    assert "listen" not in vars(first)
    connect()
    assert "listen" not in vars(manager.pubsub)


@pytest.mark.parametrize("connected", [True, False])
async def test_listener_from_before_is_judged_by_its_connection(
    make: Make, connected: bool
) -> None:
    """It is read already, by whom nobody knows."""
    manager = RedisLike(MemoryBus())
    manager._redis_connect()
    manager.pubsub.connection.is_connected = connected
    make(server=socketio.AsyncServer(async_mode="asgi", client_manager=manager))
    listener = listener_of(manager)
    listener.watch()
    assert connected == listener.is_up()
