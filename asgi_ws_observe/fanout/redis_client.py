"""The application's own Redis client: which servers there are, and new connections to them."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any, Final

from ..exceptions import MissingExtraError, SettingsError

try:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise MissingExtraError("redis", "redis") from error

__all__ = ["ONLY", "RedisClient", "decoded", "encoded"]

#: Stands for the server where there is one only.
ONLY: Final = ""


def encoded(topic: str) -> bytes:
    """Return a topic as Redis has it; one that is no UTF-8 has surrogates for its bytes.

    Raises:
        UnicodeEncodeError: It is no text: it has other surrogates.
    """
    return topic.encode("utf-8", "surrogateescape")


def decoded(topic: bytes) -> str:
    """Return a topic as text, whatever its bytes are."""
    return topic.decode("utf-8", "surrogateescape")


class RedisClient:
    """A client of the application's, or one made for an address.

    No command goes through it but the cluster's map of slots: its pool keeps its connections, its
    settings for decoding do not matter, and no instrumentation sees what a channel does.

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
        self._refreshing = asyncio.Lock()
        self._version = 0

    async def refresh(self, seen: int | None = None) -> None:
        """Learn again which server of a cluster has what.

        Args:
            seen: The `version` that turned out to be wrong; where it is not the present one
                somebody else has learnt already.

        Raises:
            Exception: No server of the cluster answers; any of the client library's.
        """
        if not self.is_cluster:
            return
        async with self._refreshing:
            if seen not in (None, self._version):
                return
            await self._client.initialize()
            await self._client.nodes_manager.initialize()
            self._version += 1

    async def version(self) -> int:
        """Return which map of the cluster is in use; it is learnt if there is none."""
        if self.is_cluster:
            await self._client.initialize()
        return self._version

    def places(self) -> list[str]:
        """Return what stands for each server that takes commands."""
        if not self.is_cluster:
            return [ONLY]
        return [node.name for node in self._client.get_primaries()]

    def place_of(self, key: bytes) -> str:
        """Return what stands for the server that has a key."""
        return str(self._client.get_node_from_key(key).name) if self.is_cluster else ONLY

    def place_at(self, host: str, port: int) -> str | None:
        """Return what stands for the server at an address, `None` where it is not known."""
        node = self._client.get_node(host, port)
        return None if node is None else str(node.name)

    def slot_of(self, key: bytes) -> Hashable:
        """Return what stands for the keys that one command may name beside this one."""
        return self._client.keyslot(key) if self.is_cluster else ONLY

    def connection(self, place: str) -> Any:
        """Return a new connection to a server, not connected yet and in no pool.

        It takes nothing of the pool's number, and does not come back behind the listener's back
        without its subscriptions.

        Raises:
            ConnectionError: The server has left the cluster.
        """
        if self.is_cluster:
            source = self._client.get_node(node_name=place)
            if source is None:
                raise ConnectionError(f"{place} has left the cluster")
        else:
            source = self._client.connection_pool
        given = source.connection_kwargs
        # A managed server's announcements are for the client's pool.
        options = {
            name: value
            for name, value in given.items()
            if "maint" not in name and not name.startswith("orig_")
        }
        if (announced := given.get("maint_notifications_config")) is not None:
            options["maint_notifications_config"] = type(announced)(enabled=False)
        options |= {
            # Its answers on a subscribed connection are lists, of one shape in all versions.
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            # Whoever waits for an answer knows how long, and a listener waits for ever.
            "socket_timeout": None,
            "health_check_interval": 0,
        }
        return source.connection_class(**options)

    async def aclose(self) -> None:
        """Close the client if it was made here."""
        # It may go on on another event loop.
        self._refreshing = asyncio.Lock()
        if self._own:
            await self._client.aclose()
