"""The application's own Redis client, and the connections that a listener makes beside its pool."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import suppress
from typing import Any, Final

from ..exceptions import MissingExtraError, SettingsError

try:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise MissingExtraError("redis", "redis") from error

__all__ = ["Line", "Lines", "RedisClient"]

# A read that nobody waits for any more ends with its connection.
_LONG: Final = 86_400.0


class RedisClient:
    """A client of the application's, or one made for an address.

    Args:
        given: A `redis.asyncio.Redis` (of a single server or of Sentinel's), a
            `redis.asyncio.RedisCluster`, or a URL such as ``redis://localhost:6379``.

    Attributes:
        is_cluster: Which of the two.

    Raises:
        SettingsError: It is none of these.
    """

    def __init__(self, given: Any) -> None:
        self._own = isinstance(given, str)
        try:
            self._client: Any = Redis.from_url(given) if self._own else given
        except ValueError as error:
            raise SettingsError(f"redis: got a URL that is none: {error}") from None
        self.is_cluster = isinstance(self._client, RedisCluster)
        if not isinstance(self._client, (Redis, RedisCluster)):
            raise SettingsError(
                f"redis: got {given!r}; accepted: a redis.asyncio.Redis or RedisCluster, or a URL"
            )

    async def run(self, *command: Any, key: str | None = None) -> Any:
        """Run a command on the client's own connections.

        Args:
            command: Its parts.
            key: What says which node of a cluster it is for; any, where there is none.
        """
        if not self.is_cluster or key is None:
            return await self._client.execute_command(*command)
        await self._client.initialize()
        return await self._client.execute_command(*command, target_nodes=[self._node(key)])

    async def refresh(self) -> None:
        """Learn again which node of a cluster has what."""
        if self.is_cluster:
            await self._client.initialize()
            await self._client.nodes_manager.initialize()

    def node_of(self, key: str) -> Hashable:
        """Return what stands for the node that has a key."""
        return self._node(key).name if self.is_cluster else ""

    def slot_of(self, key: str) -> Hashable:
        """Return what stands for the keys that one command may name beside this one."""
        return self._client.keyslot(key) if self.is_cluster else ""

    def connection(self, key: str | None) -> Any:
        """Return a new connection, not connected yet and in no pool, to the node that has a key.

        It takes nothing of the pool's number, and does not come back behind the listener's back
        without its subscriptions.
        """
        source = self._node(key) if self.is_cluster else self._client.connection_pool
        options = {
            **source.connection_kwargs,
            # Its answers on a subscribed connection are lists, of one shape in all versions.
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
        }
        options.pop("maint_notifications_config", None)
        return source.connection_class(**options)

    async def aclose(self) -> None:
        """Close the client if it was made here."""
        if self._own:
            await self._client.aclose()

    def _node(self, key: str | None) -> Any:
        if key is None:
            return self._client.get_random_node()
        return self._client.get_node_from_key(key)


class Line:
    """One connection of a listener's.

    Attributes:
        waits: Whether an answer is to come.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.waits = False

    async def open(self) -> None:
        """Connect."""
        await self._connection.connect()

    async def say(self, *command: Any) -> None:
        """Send a command, and wait for no answer."""
        await self._connection.send_command(*command, check_health=False)

    async def ask(self, *command: Any) -> Any:
        """Send a command and return its answer; for a connection on which nothing else comes."""
        await self.say(*command)
        return await self.hear(_LONG)

    async def hear(self, timeout: float) -> Any:
        """Return the next answer or message; `None` where none came, or that is the answer."""
        return await self._connection.read_response(disable_decoding=True, timeout=timeout)

    async def shut(self) -> None:
        """Disconnect; a read that is under way fails."""
        with suppress(Exception):
            await self._connection.disconnect(nowait=True)


class Lines:
    """All connections of one listener: one, or in a cluster one for each node or slot.

    Args:
        nil: Whether nothing can be an answer, too: then a read has a task, to tell.
    """

    def __init__(self, nil: bool = False) -> None:
        self._nil = nil
        self._lines: dict[Hashable, Line] = {}
        self._reads: dict[asyncio.Task[Any], Line] = {}

    def __iter__(self) -> Iterator[Line]:
        return iter(list(self._lines.values()))

    def __len__(self) -> int:
        return len(self._lines)

    def items(self) -> list[tuple[Hashable, Line]]:
        """Return the lines with what they are for."""
        return list(self._lines.items())

    def get(self, place: Hashable) -> Line | None:
        """Return the line for this, if there is one."""
        return self._lines.get(place)

    async def open(self, place: Hashable, connection: Any) -> Line:
        """Connect, for this."""
        line = Line(connection)
        await line.open()
        self._lines[place] = line
        return line

    async def hear(self, timeout: float) -> list[tuple[Line, Any]] | None:
        """Return what came on which line; `None` where nothing came on any.

        Raises:
            Exception: A connection is lost; any of the client library's.
        """
        if len(self._lines) == 1 and not self._nil and not self._reads:
            (line,) = self._lines.values()
            found = await line.hear(timeout)
            return None if found is None else [(line, found)]
        reading = set(self._reads.values())
        for line in self._lines.values():
            if line not in reading:
                self._reads[asyncio.ensure_future(line.hear(_LONG))] = line
        if not self._reads:
            await asyncio.sleep(timeout)
            return []
        done, _ = await asyncio.wait(
            self._reads, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        return [(self._reads.pop(task), task.result()) for task in done] or None

    async def shut(self) -> None:
        """Disconnect all."""
        for task in self._reads:
            task.cancel()
        if self._reads:
            await asyncio.wait(self._reads)
        self._reads.clear()
        for line in self:
            await line.shut()
        self._lines.clear()
