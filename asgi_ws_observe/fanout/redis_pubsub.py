"""Redis Pub/Sub, plain and sharded."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final

from .broker import Broker, Name, Received
from .redis_client import RedisClient, decoded, encoded
from .redis_commands import Commands
from .redis_lines import Line, Lines

__all__ = ["PubSubBroker"]

#: Kind of a message -> whether a pattern comes before the topic.
_MESSAGES: Final = {b"message": False, b"smessage": False, b"pmessage": True}
#: Kind of a confirmation -> whether it is of a pattern.
_CONFIRMED: Final = {b"subscribe": False, b"ssubscribe": False, b"psubscribe": True}
#: Stands for the one server that is listened to.
_ANY: Final = "any"


class PubSubBroker(Broker):
    """Redis Pub/Sub: what is published while a node is away is lost, and counted as that.

    Args:
        client: The client.
        sharded: Whether to use sharded Pub/Sub (Redis 7): in a cluster a message then goes to
            the server of its topic's slot only, and there are no patterns.
    """

    system: ClassVar[str] = "redis"

    def __init__(self, client: RedisClient, sharded: bool) -> None:
        self.has_patterns = not sharded
        self._client = client
        self._commands = Commands(client)
        self._sharded = sharded
        self._prefix = "S" if sharded else ""
        # A server of a cluster has only the sharded topics of its own slots.
        self._spreads = sharded and client.is_cluster
        self._lines = Lines()
        self._opening = asyncio.Lock()
        # How often this listener asked to be told no more of a topic, and was not answered yet.
        self._leaving: Counter[bytes] = Counter()

    async def publish(
        self, topic: str, payload: bytes, headers: Mapping[str, str] | None, *, brief: bool = False
    ) -> int | None:
        name = encoded(topic)
        # Every server of a cluster passes a message on to all others.
        key = name if self._sharded else None
        return int(await self._commands.run(f"{self._prefix}PUBLISH", name, payload, key=key))

    async def open(self) -> None:
        self._lines.begin()
        self._opening = asyncio.Lock()
        await self._client.refresh()
        if not self._spreads:
            await self._lines.open(_ANY, self._client.connection(self._any_place()))

    async def subscribe(self, names: Collection[Name]) -> None:
        # Two that opened the same line would lose one.
        async with self._opening:
            for is_pattern, verb in ((False, "SUBSCRIBE"), (True, "PSUBSCRIBE")):
                for place, topics in self._placed(names, is_pattern):
                    line = self._lines.get(place)
                    if line is None:
                        line = await self._lines.open(place, self._client.connection(place))
                    await line.say(*self._commands_for(verb, topics))

    async def unsubscribe(self, names: Collection[Name]) -> None:
        for is_pattern, verb in ((False, "UNSUBSCRIBE"), (True, "PUNSUBSCRIBE")):
            for place, topics in self._placed(names, is_pattern):
                line = self._lines.get(place)
                if line is not None:
                    self._leaving.update(topics)
                    await line.say(*self._commands_for(verb, topics))

    async def receive(self, timeout: float) -> list[Received] | None:
        heard = await self._lines.hear(timeout)
        return None if heard is None else self._read_all(heard)

    async def ping(self) -> None:
        await self._lines.ping()

    async def shut(self) -> None:
        self._leaving.clear()
        await self._lines.shut()

    async def aclose(self) -> None:
        await self._commands.aclose()
        await self._client.aclose()

    def _read_all(self, heard: list[tuple[Line, Any]]) -> list[Received]:
        return [found for _, answer in heard if (found := self._read(answer)) is not None]

    def _read(self, answer: Any) -> Received | None:
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, list):
            return None
        kind = answer[0]
        if kind in _MESSAGES:
            is_pattern = _MESSAGES[kind]
            name = Name(decoded(answer[1]), is_pattern)
            topic = decoded(answer[2]) if is_pattern else name.text
            return Received(name, topic, answer[-1])
        if kind in _CONFIRMED:
            self.confirmed(Name(decoded(answer[1]), _CONFIRMED[kind]))
        elif kind == b"sunsubscribe":
            self._left(answer[1])
        return None

    def _left(self, topic: bytes) -> None:
        if not self._leaving[topic]:
            raise ConnectionError(f"the slot of {decoded(topic)!r} has moved to another server")
        self._leaving[topic] -= 1

    def _any_place(self) -> str:
        return random.choice(self._client.places())  # noqa: S311 - any will do

    def _commands_for(self, verb: str, topics: list[bytes]) -> list[tuple[Any, ...]]:
        if not self._spreads:
            return [(self._prefix + verb, *topics)]
        # One command can name topics of one slot only.
        return [(self._prefix + verb, topic) for topic in topics]

    def _placed(self, names: Collection[Name], is_pattern: bool) -> list[tuple[str, list[bytes]]]:
        """Return the topics, or the patterns, by line."""
        found: dict[str, list[bytes]] = {}
        for name in names:
            if name.is_pattern == is_pattern:
                topic = encoded(name.text)
                place = self._client.place_of(topic) if self._spreads else _ANY
                found.setdefault(place, []).append(topic)
        return list(found.items())
