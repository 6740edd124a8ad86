"""What waits for a broker to come back: in order, bounded, each once."""

from __future__ import annotations

import asyncio

from asgi_ws_observe.fanout.outbox import Kept, Outbox
from asgi_ws_observe.fanout_numbers import FanoutNumbers
from tests.support import until


class Sink:
    """A broker that takes nothing until it does."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.refuses = True
        self.taken: list[bytes] = []
        self.tried = 0

    async def send(self, kept: Kept) -> None:
        self.tried += 1
        if self.refuses:
            raise OSError("gone")
        await self.open.wait()
        self.taken.append(kept.payload)


def make(most: int = 10) -> tuple[Outbox, Sink, FanoutNumbers]:
    """Return an outbox, where it sends to, and its numbers."""
    sink, numbers = Sink(), FanoutNumbers("test")
    return Outbox(sink.send, most, 0.02, numbers), sink, numbers


def kept(number: int, numbers: FanoutNumbers) -> Kept:
    """Return a message."""
    return Kept("rooms", b"%d" % number, {}, numbers)


async def test_what_waits_is_sent_in_order_when_the_broker_is_back() -> None:
    """Each is counted when it is gone, and the outbox is empty then."""
    outbox, sink, numbers = make()
    assert (False, 0) == (bool(outbox), numbers.outbox)
    for number in range(5):
        outbox.put(kept(number, numbers))
    assert (True, 5) == (bool(outbox), numbers.outbox)
    await until(lambda: sink.tried > 2)
    assert 0 == numbers.published["ok"]
    sink.refuses = False
    sink.open.set()
    await until(lambda: not outbox)
    assert [b"0", b"1", b"2", b"3", b"4"] == sink.taken
    assert ({"ok": 5, "failed": 0}, 0) == (numbers.published, numbers.outbox)


async def test_full_outbox_drops_the_oldest() -> None:
    """They are counted as dropped and as failed."""
    outbox, sink, numbers = make(most=3)
    for number in range(5):
        outbox.put(kept(number, numbers))
    sink.refuses = False
    sink.open.set()
    await until(lambda: not outbox)
    assert [b"2", b"3", b"4"] == sink.taken
    assert {"ok": 3, "failed": 2} == numbers.published
    assert 2 == numbers.dropped["outbox_full"]


async def test_message_on_its_way_is_not_dropped_by_later_ones() -> None:
    """It could arrive all the same, and be counted twice."""
    outbox, sink, numbers = make(most=1)
    sink.refuses = False
    outbox.put(kept(0, numbers))
    await until(lambda: sink.tried)
    outbox.put(kept(1, numbers))
    outbox.put(kept(2, numbers))
    sink.open.set()
    await until(lambda: not outbox)
    assert [b"0", b"2"] == sink.taken
    assert {"ok": 2, "failed": 1} == numbers.published


async def test_close_sends_what_it_can_in_time() -> None:
    """A broker that is there gets everything."""
    outbox, sink, numbers = make()
    outbox.put(kept(0, numbers))
    sink.refuses = False
    sink.open.set()
    await outbox.aclose(5.0)
    assert ([b"0"], False) == (sink.taken, bool(outbox))


async def test_close_drops_what_nobody_takes_in_time() -> None:
    """Counted, and no task is left; one that was on its way too."""
    outbox, sink, numbers = make()
    sink.refuses = False
    for number in range(3):
        outbox.put(kept(number, numbers))
    await until(lambda: sink.tried)
    await outbox.aclose(0.01)
    assert {"ok": 0, "failed": 3} == numbers.published
    assert 0 == numbers.outbox
    await outbox.aclose(0.01)
