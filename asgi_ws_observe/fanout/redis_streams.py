"""Redis Streams: every node reads every entry, and after an outage from where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Mapping
from typing import Any, ClassVar, Final

import orjson

from .broker import Broker, Name, Received
from .redis_client import Line, Lines, RedisClient

__all__ = ["StreamsBroker"]

#: The field of an entry that is its body; the others are its headers.
BODY_FIELD: Final = "body"
#: Entries read at once.
_COUNT: Final = 100
#: How long a read waits on the server, seconds: every answer is a sign of life.
_BLOCK: Final = 0.5
#: How long a brief entry's stream is kept, seconds.
_BRIEF: Final = 600
#: A gap in a sequence can be filled by what waited for the broker to come back.
_LOSSES_SETTLE: Final = 120.0


class StreamsBroker(Broker):
    """Redis Streams, for those who must not lose.

    Args:
        client: The client.
        maxlen: About how many entries a stream keeps.
    """

    system: ClassVar[str] = "redis"
    has_headers: ClassVar[bool] = True
    has_patterns = False
    keeps = True
    loss_seconds = _LOSSES_SETTLE

    def __init__(self, client: RedisClient, maxlen: int) -> None:
        self._client = client
        self._maxlen = maxlen
        self._lines = Lines(nil=True)
        #: Topic -> the last entry that was read; it outlives a connection.
        self._read: dict[str, str] = {}
        self._ids: dict[Line, int] = {}

    async def publish(
        self, topic: str, payload: bytes, headers: Mapping[str, str] | None, *, brief: bool = False
    ) -> int | None:
        fields = [BODY_FIELD, payload]
        for name, value in (headers or {}).items():
            fields += [name, value]
        most = 1 if brief else self._maxlen
        await self._client.run("XADD", topic, "MAXLEN", "~", most, "*", *fields, key=topic)
        if brief:
            await self._client.run("EXPIRE", topic, _BRIEF, key=topic)
        return None

    async def open(self) -> None:
        await self._client.refresh()

    async def subscribe(self, names: Collection[Name]) -> None:
        for name in names:
            topic = name.text
            if topic not in self._read:
                self._read[topic] = await self._newest(topic)
            place = self._client.slot_of(topic)
            line = self._lines.get(place)
            if line is None:
                line = await self._lines.open(place, self._client.connection(topic))
                self._ids[line] = int(await line.ask("CLIENT", "ID"))
            self.confirmed(name)
        await self._interrupt()

    async def unsubscribe(self, names: Collection[Name]) -> None:
        for name in names:
            self._read.pop(name.text, None)

    async def receive(self, timeout: float) -> list[Received] | None:
        places: dict[Hashable, list[str]] = {}
        for topic in self._read:
            places.setdefault(self._client.slot_of(topic), []).append(topic)
        for place, line in self._lines.items():
            topics = places.get(place)
            if topics and not line.waits:
                line.waits = True
                after = [self._read[topic] for topic in topics]
                block = int(1000 * min(_BLOCK, timeout / 2))
                await line.say(
                    *("XREAD", "COUNT", _COUNT, "BLOCK", block, "STREAMS", *topics, *after)
                )
        if not any(line.waits for line in self._lines):
            await asyncio.sleep(min(_BLOCK, timeout))
            return []
        heard = await self._lines.hear(timeout)
        if heard is None:
            return None
        found: list[Received] = []
        for line, answer in heard:
            line.waits = False
            if isinstance(answer, Exception):
                raise answer
            for topic, entries in answer or ():
                found += self._entries(topic.decode(), entries)
        return found

    async def ping(self) -> None:
        # A read that waits is a question already.
        return

    async def shut(self) -> None:
        self._ids.clear()
        await self._lines.shut()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _newest(self, topic: str) -> str:
        """Return the last entry's identity now: ``$`` would be another one at every read."""
        entries = await self._client.run("XREVRANGE", topic, "+", "-", "COUNT", 1, key=topic)
        return _text(entries[0][0]) if entries else "0-0"

    async def _interrupt(self) -> None:
        """Let reads that wait answer now: the next ones ask for the new topics too."""
        for place, line in self._lines.items():
            if line.waits:
                topic = next(each for each in self._read if self._client.slot_of(each) == place)
                await self._client.run("CLIENT", "UNBLOCK", self._ids[line], key=topic)

    def _entries(self, topic: str, entries: list[Any]) -> list[Received]:
        found = []
        for identity, fields in entries:
            if topic not in self._read:
                break
            self._read[topic] = identity.decode()
            # An entry that was deleted has none.
            pairs = dict(zip(fields[::2], fields[1::2], strict=True)) if fields else {}
            body = pairs.pop(BODY_FIELD.encode(), None)
            headers = {_text(name): _text(value) for name, value in pairs.items()}
            if body is None:
                # Somebody else's entry, with fields of their own.
                body, headers = orjson.dumps(headers), {}
            found.append(Received(Name(topic), topic, body, headers, _text(identity)))
        return found


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")
