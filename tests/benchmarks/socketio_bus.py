"""``python -m tests.benchmarks.socketio_bus MODE URL``: publishing and hearing by Redis."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from time import thread_time
from typing import Any, Final

import socketio
from redis import Redis
from socketio.async_pubsub_manager import AsyncPubSubManager

from tests.benchmarks.socketio_modes import MODES, Mode, Node
from tests.benchmarks.workers import own_output
from tests.support import until

__all__: list[str] = []

_ROOM: Final = "room:everybody"
#: What is published on this channel goes nowhere.
_NOWHERE: Final = "nowhere"


class _Recorder(AsyncPubSubManager):  # type: ignore[misc]
    """Keeps what another node publishes."""

    def __init__(self) -> None:
        super().__init__(write_only=True)
        self.messages: list[str] = []

    async def _publish(self, data: Any) -> None:
        self.messages.append(json.dumps(data))


class _Case:
    """A node that publishes, and one that hears what another one publishes.

    Args:
        mode: How they are observed.
        url: Of the Redis server.
        channel: What is heard; no other case hears it.
    """

    def __init__(self, mode: Mode | None, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        writing = socketio.AsyncRedisManager(url, _NOWHERE, write_only=True)
        self._writer = Node(mode, writing)
        self._recorder = _Recorder()
        self._other = Node(mode, self._recorder)
        self._node = Node(mode, socketio.AsyncRedisManager(url, channel))

    async def open(self) -> None:
        """Connect a client, and wait until the node hears."""
        await self._node.connect(1)
        await self._node.enter(_ROOM, 1)
        with Redis.from_url(self._url) as client:
            await until(lambda: client.pubsub_numsub(self._channel)[0][1])

    async def publish(self, number: int) -> float:
        """Return the CPU of publishing, seconds."""
        began = thread_time()
        await self._writer.emits(number, _ROOM)
        return thread_time() - began

    async def hear(self, number: int) -> float:
        """Return the CPU of what is heard until the node's client has it, seconds."""
        await self._other.emits(number, _ROOM)
        messages, self._recorder.messages = self._recorder.messages, []
        began = thread_time()
        # The CPU of another thread does not count.
        await asyncio.to_thread(self._send, messages)
        taken = 0
        while taken < number:
            await asyncio.sleep(0.001)
            taken += self._node.drain()
        return thread_time() - began

    def _send(self, messages: list[str]) -> None:
        with Redis.from_url(self._url) as client, client.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.publish(self._channel, message)
            pipeline.execute()

    @property
    def spans(self) -> int:
        """How many spans have ended."""
        return self._writer.spans + self._other.spans + self._node.spans


async def main() -> None:
    """Answer commands until stdin ends."""
    output = own_output()
    name, url = sys.argv[1:]
    case = _Case(MODES[name], url, f"heard by {name}")
    await case.open()
    print(json.dumps({}), file=output, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        number, before = json.loads(line)["number"], case.spans
        gc.collect()
        published = await case.publish(number) / number * 1e6
        heard = await case.hear(number) / number * 1e6
        answer = {"publish": published, "hear": heard, "spans": case.spans - before}
        print(json.dumps(answer), file=output, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
