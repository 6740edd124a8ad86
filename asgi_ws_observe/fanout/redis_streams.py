"""Redis Streams: every node reads every entry, and after an outage from where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, ClassVar, Final

import orjson

from .broker import Broker, Name, Received
from .redis_client import RedisClient, decoded, encoded
from .redis_commands import Commands, is_final
from .redis_lines import Line, Lines

__all__ = ["BODY_FIELD", "Position", "StreamsBroker"]

#: The field of an entry that is its body; the others are its headers.
BODY_FIELD: Final = "body"
#: Entries of one topic read at once, and topics asked about at once.
_COUNT: Final = 100
#: How long a read waits on the server, seconds: every answer is a sign of life.
_BLOCK: Final = 0.5
#: How long a brief entry's stream is kept, seconds.
_BRIEF: Final = 600
#: A gap in a sequence can be filled by what waited for the broker to come back.
_LOSSES_SETTLE: Final = 120.0


class Position(tuple[int, int]):
    """An entry's identity, which is its place in its stream: milliseconds and a number.

    Raises:
        ValueError: A text is none.
    """

    __slots__ = ()

    def __new__(cls, text: str | bytes) -> Position:
        first, _, second = (text if isinstance(text, str) else text.decode()).partition("-")
        if not (first.isdecimal() and (second or "0").isdecimal()):
            raise ValueError(f"{text!r} is no entry's identity")
        return super().__new__(cls, (int(first), int(second or 0)))

    def __str__(self) -> str:
        return f"{self[0]}-{self[1]}"


_START: Final = Position("0-0")
#: What ``XINFO STREAM`` calls the last entry's identity, of one that was deleted too.
_LAST: Final = b"last-generated-id"


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
        self._commands = Commands(client)
        self._maxlen = maxlen
        self._lines = Lines()
        self._opening = asyncio.Lock()
        #: Topic -> the last entry that was read; it outlives a connection.
        self._read: dict[bytes, Position] = {}
        #: The same by the line that reads them, without those whose key is something else: the
        #: others are read all the same.
        self._slots: dict[Hashable, dict[bytes, None]] = {}
        self._after: dict[bytes, Position] = {}

    def resume(self, topics: Sequence[str], after: Position) -> None:
        """Begin after an entry, when these topics are subscribed to the next time."""
        for topic in topics:
            self._after[encoded(topic)] = after

    def refuses(self, error: Exception) -> bool:
        return is_final(error)

    async def publish(
        self, topic: str, payload: bytes, headers: Mapping[str, str] | None, *, brief: bool = False
    ) -> int | None:
        key = encoded(topic)
        fields = [BODY_FIELD, payload]
        for name, value in (headers or {}).items():
            fields += [name, value]
        most = ("=", 1) if brief else ("~", self._maxlen)
        await self._commands.run("XADD", key, "MAXLEN", *most, "*", *fields, key=key)
        if brief:
            await self._commands.run("EXPIRE", key, _BRIEF, key=key)
        return None

    async def open(self) -> None:
        self._lines.begin()
        self._opening = asyncio.Lock()
        await self._client.refresh()

    async def subscribe(self, names: Collection[Name]) -> None:
        topics = [encoded(name.text) for name in names]
        # Two that opened the same line would lose one.
        async with self._opening:
            readable = await self._locate(topics)
            slots: dict[Hashable, bytes] = {}
            for topic in readable:
                slot = self._client.slot_of(topic)
                self._slots.setdefault(slot, {})[topic] = None
                slots[slot] = topic
            for slot, topic in slots.items():
                place = self._client.place_of(topic)
                line = self._lines.get(slot)
                if line is None:
                    connection = self._client.connection(place)
                    await self._lines.open(slot, connection, with_id=True)
                elif line.waits:
                    # It answers now, and the next one asks for the new topics too.
                    await self._commands.ask(place, ("CLIENT", "UNBLOCK", line.client_id))
        for topic in readable:
            self.confirmed(Name(decoded(topic)))

    async def unsubscribe(self, names: Collection[Name]) -> None:
        for name in names:
            self._forget(encoded(name.text))

    async def receive(self, timeout: float) -> list[Received] | None:
        await self._ask(timeout)
        heard = await self._lines.hear(timeout)
        return self._silence() if heard is None else self._read_all(heard)

    async def ping(self) -> None:
        # A read that waits is a question already.
        return

    async def shut(self) -> None:
        await self._lines.shut()

    async def aclose(self) -> None:
        for positions in (self._read, self._slots, self._after):
            positions.clear()
        await self._commands.aclose()
        await self._client.aclose()

    async def _ask(self, timeout: float) -> None:
        """Begin to read where no read waits."""
        # Nothing stands for "for ever".
        block = max(1, int(1000 * min(_BLOCK, timeout / 2)))
        for slot, topics in list(self._slots.items()):
            line = self._lines.get(slot)
            if line is not None and not line.waits:
                line.waits = True
                after = [str(self._read[topic]) for topic in topics]
                await line.say(
                    ("XREAD", "COUNT", _COUNT, "BLOCK", block, "STREAMS", *topics, *after)
                )

    async def _locate(self, topics: Sequence[bytes]) -> list[bytes]:
        """Find where to read on, where it was or from now on; return what can be read.

        Redis may have lost what was read, or all of it: what has come since is then after its
        last entry, even if its clock went back.
        """
        places: dict[str, list[bytes]] = {}
        for topic in topics:
            places.setdefault(self._client.place_of(topic), []).append(topic)
        found = []
        for place, some in places.items():
            for index in range(0, len(some), _COUNT):
                part = some[index : index + _COUNT]
                questions = [("XINFO", "STREAM", topic) for topic in part]
                answers = await self._commands.ask(place, *questions)
                found += [
                    topic
                    for topic, answer in zip(part, answers, strict=True)
                    if self._note(topic, answer)
                ]
        return found

    def _note(self, topic: bytes, answer: Any) -> bool:
        """Take in where a stream is; return whether it is one."""
        if not isinstance(answer, Exception):
            newest = Position(dict(zip(answer[::2], answer[1::2], strict=True))[_LAST])
        elif str(answer).startswith("no such key"):
            newest = _START
        elif str(answer).startswith("WRONGTYPE"):
            self._forget(topic)
            return False
        else:
            raise answer
        read = self._after.pop(topic, None) or self._read.get(topic)
        self._read[topic] = newest if read is None else min(read, newest)
        return True

    def _forget(self, topic: bytes) -> None:
        self._read.pop(topic, None)
        slot = self._client.slot_of(topic)
        topics = self._slots.get(slot, {})
        topics.pop(topic, None)
        if not topics:
            self._slots.pop(slot, None)

    def _silence(self) -> list[Received] | None:
        """Return nothing where nobody was asked, `None` where somebody does not answer."""
        return None if any(line.waits for line in self._lines) else []

    def _read_all(self, heard: list[tuple[Line, Any]]) -> list[Received]:
        found: list[Received] = []
        for line, answer in heard:
            line.waits = False
            if isinstance(answer, Exception):
                raise answer
            for topic, entries in answer or ():
                found += self._entries(topic, entries)
        return found

    def _entries(self, topic: bytes, entries: list[Any]) -> list[Received]:
        name = Name(decoded(topic))
        found = []
        for identity, fields in entries:
            position = Position(identity)
            # It may have been unsubscribed from, and subscribed to again, since it was asked for.
            if topic not in self._read or position <= self._read[topic]:
                continue
            self._read[topic] = position
            # An entry that was deleted has none.
            pairs = dict(zip(fields[::2], fields[1::2], strict=True)) if fields else {}
            body = pairs.pop(BODY_FIELD.encode(), None)
            headers = {_text(field): _text(value) for field, value in pairs.items()}
            if body is None:
                # Somebody else's entry, with fields of their own.
                body, headers = orjson.dumps(headers), {}
            found.append(Received(name, name.text, body, headers, str(position)))
        return found


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
