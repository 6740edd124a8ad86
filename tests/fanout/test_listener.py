"""The task that listens: what it does when the broker does not what it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest_asyncio

from asgi_ws_observe.fanout.broker import Name, Received
from asgi_ws_observe.fanout.listener import Listener
from asgi_ws_observe.fanout.settings import ChannelSettings
from tests.fanout.memory import Bus, MemoryBroker
from tests.support import until

ROOMS, NEWS = Name("rooms"), Name("news")


class Watched:
    """A listener, and what it said."""

    def __init__(self, **settings: Any) -> None:
        self.bus = Bus()
        self.broker = MemoryBroker(self.bus)
        self.got: list[Received] = []
        self.ups = 0
        self.downs: list[BaseException] = []
        usual = {"name": "test", "timeout": 0.2, "silence": 0.05, "backoff": 0.02}
        self.listener = Listener(
            self.broker, ChannelSettings(**{**usual, **settings}), self._take, self._up, self._down
        )

    def _take(self, received: Received) -> Coroutine[Any, Any, None] | None:
        self.got.append(received)
        return None

    def _up(self) -> None:
        self.ups += 1

    def _down(self, error: BaseException) -> None:
        self.downs.append(error)


Make = Callable[..., Watched]


@pytest_asyncio.fixture
async def make() -> AsyncIterator[Make]:
    """Return what makes listeners, which are closed when the test is over."""
    made: list[Watched] = []

    def watched(**settings: Any) -> Watched:
        made.append(Watched(**settings))
        return made[-1]

    yield watched
    for each in made:
        await each.listener.aclose()


async def test_silence_is_asked_about_and_no_loss(make: Make) -> None:
    """A broker that answers is there, however little it has to say."""
    test = make()
    test.listener.start("test", [ROOMS])
    await until(lambda: test.broker.calls.count("ping") > 3)
    assert ([], 1) == (test.downs, test.ups)


async def test_broker_that_does_not_answer_is_lost(make: Make) -> None:
    """After twice the silence; the listener connects again, as often as it takes."""
    test = make()
    test.bus.silent = True
    test.listener.start("test", [ROOMS])
    await until(lambda: len(test.downs) >= 2)
    assert ["nothing heard for 0.1 s"] == sorted({str(each) for each in test.downs})
    assert test.ups >= 2
    test.bus.silent = False
    downs = len(test.downs)
    await until(lambda: test.broker.calls[-3:] == ["ping"] * 3)
    assert len(test.downs) in (downs, downs + 1)


async def test_subscription_that_is_not_confirmed_is_no_subscription(make: Make) -> None:
    """The listener is not up until all are."""
    test = make()
    test.broker.unanswered = lambda name: name == NEWS
    test.listener.start("test", [ROOMS, NEWS])
    await until(lambda: len(test.downs) >= 2)
    assert {"no answer to 1 of 2 subscriptions"} == {str(each) for each in test.downs}
    assert 0 == test.ups
    test.broker.unanswered = lambda _: False
    await until(lambda: test.ups == 1)


async def test_what_comes_while_others_are_unconfirmed_is_taken(make: Make) -> None:
    """A busy topic does not wait for a slow one."""
    test = make(timeout=5.0)
    test.broker.unanswered = lambda name: name == NEWS
    test.listener.start("test", [ROOMS, NEWS])
    await until(lambda: test.broker.names)
    test.bus.deliver("rooms", b"hello")
    await until(lambda: test.got)
    assert (0, "connecting") == (test.ups, test.listener.state)
    test.broker.confirmed(NEWS)
    test.bus.deliver("rooms", b"again")
    await until(lambda: test.ups)


async def test_name_added_while_the_listener_connects_is_subscribed_once(make: Make) -> None:
    """Whenever it comes in between."""
    test = make(timeout=5.0)
    test.broker.unanswered = lambda name: name == ROOMS
    test.listener.start("test", [ROOMS])
    await until(lambda: test.broker.names)
    await test.listener.add([NEWS])
    test.broker.confirmed(ROOMS)
    test.broker.queue.put_nowait("pong")
    await until(lambda: test.ups)
    assert {ROOMS, NEWS} == test.broker.names
    assert 2 == test.broker.calls.count("subscribe")


async def test_second_who_adds_a_name_waits_for_it_too(make: Make) -> None:
    """It is asked for once."""
    test = make(timeout=5.0)
    test.listener.start("test", [])
    await until(lambda: test.ups)
    test.broker.unanswered = lambda _: True
    adding = [asyncio.create_task(test.listener.add([ROOMS])) for _ in range(2)]
    await until(lambda: test.broker.names)
    assert not any(each.done() for each in adding)
    test.broker.confirmed(ROOMS)
    await asyncio.gather(*adding)
    assert 1 == test.broker.calls.count("subscribe")


async def test_name_that_the_broker_confirms_too_late_is_nobodys(make: Make) -> None:
    """Somebody may have left meanwhile."""
    test = make()
    test.listener.start("test", [])
    await until(lambda: test.ups)
    await test.listener.add([ROOMS])
    await test.listener.remove([ROOMS])
    test.broker.confirmed(ROOMS)
    assert set() == test.broker.names


async def test_name_that_cannot_be_subscribed_to_raises_nothing(make: Make) -> None:
    """The listener asks for it when it is back."""
    test = make(timeout=0.05)
    test.listener.start("test", [])
    await until(lambda: test.ups)
    test.bus.problem = OSError("gone")
    await test.listener.add([ROOMS])
    test.bus.problem = None
    test.bus.cut()
    await until(lambda: test.ups == 2)
    assert {ROOMS} == test.broker.names


async def test_broker_that_cannot_be_shut_is_opened_again(make: Make) -> None:
    """Whatever it raises then."""
    test = make()
    original = test.broker.shut

    async def shut() -> None:
        await original()
        raise OSError("gone already")

    test.broker.shut = shut  # type: ignore[method-assign]
    test.listener.start("test", [ROOMS])
    await until(lambda: test.ups)
    test.bus.cut()
    await until(lambda: test.ups == 2)
