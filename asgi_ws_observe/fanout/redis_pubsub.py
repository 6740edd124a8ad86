"""Redis Pub/Sub, plain and sharded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, ClassVar, Final

from .broker import Broker, Name, Received
from .redis_client import Lines, RedisClient

__all__ = ["PubSubBroker"]

#: Kind of a message -> whether a pattern comes before the topic.
_MESSAGES: Final = {b"message": False, b"smessage": False, b"pmessage": True}
#: Kind of a confirmation -> whether it is of a pattern.
_CONFIRMED: Final = {b"subscribe": False, b"ssubscribe": False, b"psubscribe": True}


class PubSubBroker(Broker):
    """Redis Pub/Sub: what is published while a node is away is lost, and counted as that.

    Args:
        client: The client.
        sharded: Whether to use sharded Pub/Sub (Redis 7): in a cluster a message then goes to
            the node of its topic's slot only, and there are no patterns.
    """

    system: ClassVar[str] = "redis"

    def __init__(self, client: RedisClient, sharded: bool) -> None:
        self.has_patterns = not sharded
        self._client = client
        self._sharded = sharded
        self._lines = Lines()
        # What this listener asked to be told no more.
        self._left: set[bytes] = set()

    async def publish(
        self, topic: str, payload: bytes, headers: Mapping[str, str] | None, *, brief: bool = False
    ) -> int | None:
        if self._sharded:
            found = await self._client.run("SPUBLISH", topic, payload, key=topic)
        else:
            found = await self._client.run("PUBLISH", topic, payload)
        return int(found)

    async def open(self) -> None:
        await self._client.refresh()
        if not self._spreads():
            await self._lines.open("", self._client.connection(None))

    async def subscribe(self, names: Collection[Name]) -> None:
        for is_pattern, verb in ((False, "SUBSCRIBE"), (True, "PSUBSCRIBE")):
            topics = [name.text for name in names if name.is_pattern == is_pattern]
            self._left.difference_update(topic.encode() for topic in topics)
            for place, some in self._places(topics).items():
                line = self._lines.get(place)
                if line is None:
                    line = await self._lines.open(place, self._client.connection(some[0]))
                await line.say(self._verb(verb), *some)

    async def unsubscribe(self, names: Collection[Name]) -> None:
        for is_pattern, verb in ((False, "UNSUBSCRIBE"), (True, "PUNSUBSCRIBE")):
            topics = [name.text for name in names if name.is_pattern == is_pattern]
            self._left.update(topic.encode() for topic in topics)
            for place, some in self._places(topics).items():
                line = self._lines.get(place)
                if line is not None:
                    await line.say(self._verb(verb), *some)

    async def receive(self, timeout: float) -> list[Received] | None:
        heard = await self._lines.hear(timeout)
        if heard is None:
            return None
        return [found for _, answer in heard if (found := self._read(answer)) is not None]

    async def ping(self) -> None:
        for line in self._lines:
            await line.say("PING")

    async def shut(self) -> None:
        self._left.clear()
        await self._lines.shut()

    async def aclose(self) -> None:
        await self._client.aclose()

    def _read(self, answer: Any) -> Received | None:
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, list):
            return None
        kind = answer[0]
        if kind in _MESSAGES:
            is_pattern = _MESSAGES[kind]
            name = Name(_text(answer[1]), is_pattern)
            topic = _text(answer[2]) if is_pattern else name.text
            return Received(name, topic, answer[-1])
        if kind in _CONFIRMED:
            self.confirmed(Name(_text(answer[1]), _CONFIRMED[kind]))
        elif kind == b"sunsubscribe" and answer[1] not in self._left:
            raise ConnectionError(f"the slot of {_text(answer[1])!r} has moved to another node")
        return None

    def _spreads(self) -> bool:
        return self._sharded and self._client.is_cluster

    def _verb(self, verb: str) -> str:
        return f"S{verb}" if self._sharded else verb

    def _places(self, topics: list[str]) -> dict[Hashable, list[str]]:
        """Return the topics by line, and in a cluster by slot: one command can name one only."""
        if not topics:
            return {}
        if not self._spreads():
            return {"": topics}
        return _grouped(topics, self._client.node_of)


def _grouped(topics: list[str], place: Callable[[str], Hashable]) -> dict[Hashable, list[str]]:
    found: dict[Hashable, list[str]] = {}
    for topic in topics:
        found.setdefault(place(topic), []).append(topic)
    return found


def _text(name: bytes) -> str:
    # A topic that is no UTF-8 is one all the same.
    return name.decode(errors="surrogateescape")
