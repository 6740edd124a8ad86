"""Drops are exact: what was sent was delivered or dropped, in order, whatever clients do when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from asgi_ws_observe.fanout import Broadcast, Hub, Member
from tests.fanout.sockets import Socket
from tests.support import total

SOCKETS = 3

#: What happens: a message of some size, a client that stops or goes on, a join, a leave, a failure,
#: some turns of the event loop.
EVENTS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 12)),
    st.tuples(st.just("send"), st.integers(0, 12)),
    st.tuples(
        st.sampled_from(("stop", "go", "join", "leave", "fail")), st.integers(0, SOCKETS - 1)
    ),
    st.tuples(st.just("turn"), st.integers(1, 6)),
)


class Play:
    """A room whose clients do what a schedule says.

    Attributes:
        sent: Every broadcast, in order.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.sockets = [Socket() for _ in range(SOCKETS)]
        self.members: dict[int, Member] = {}
        self.sent: list[Broadcast] = []
        self.expected = 0

    async def run(self, events: list[tuple[str, int]]) -> None:
        """Do everything, then end with all that waits."""
        for event, argument in events:
            does: Callable[[int], Any] = getattr(self, event)
            await does(argument)
        await self.hub.aclose(0)
        for each in self.sent:
            await asyncio.wait_for(asyncio.ensure_future(over(each)), 5)

    async def send(self, size: int) -> None:
        """Number the messages, so that their order shows."""
        self.expected += self.hub.members("a")
        self.sent.append(self.hub.send("a", f"{len(self.sent):04}" + "x" * size))

    async def stop(self, which: int) -> None:
        self.sockets[which].ready.clear()

    async def go(self, which: int) -> None:
        self.sockets[which].ready.set()

    async def fail(self, which: int) -> None:
        self.sockets[which].error = RuntimeError("gone")

    async def join(self, which: int) -> None:
        """Come, or come back with a new connection."""
        member = self.members.get(which)
        if member is None or not member.is_in:
            self.members[which] = self.hub.join("a", self.sockets[which])

    async def leave(self, which: int) -> None:
        if member := self.members.pop(which, None):
            await member.leave()

    async def turn(self, number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)


async def over(broadcast: Broadcast) -> None:
    """Wait for a broadcast."""
    await broadcast


@settings(deadline=None, max_examples=150)
@given(
    st.lists(EVENTS, max_size=60),
    st.sampled_from(("drop_oldest", "drop_newest", "close")),
    st.integers(1, 4),
    st.sampled_from((1, 20, 1000)),
)
def test_every_message_is_delivered_or_dropped(
    events: list[tuple[str, int]], policy: Any, queue: int, queue_bytes: int
) -> None:
    """Exactly once for every connection in the room, never twice, in the order of sending."""
    registry = CollectorRegistry()

    async def run() -> Play:
        hub = Hub(queue=queue, queue_bytes=queue_bytes, policy=policy, registry=registry)
        play = Play(hub)
        for which in range(SOCKETS):
            await play.join(which)
        await play.run(events)
        return play

    play = asyncio.run(run())
    delivered = sum(each.delivered for each in play.sent)
    dropped = sum(each.dropped for each in play.sent)
    assert play.expected == delivered + dropped
    assert delivered == sum(len(socket.sent) for socket in play.sockets)
    assert dropped == total(registry, "ws_messages_dropped_total")
    assert sum(each.recipients for each in play.sent) == total(registry, "ws_fanout_recipients_sum")
    assert len(play.sent) == total(registry, "ws_fanout_recipients_count")
    for socket in play.sockets:
        assert sorted(set(socket.sent)) == socket.sent
        assert socket.at_once <= 1
