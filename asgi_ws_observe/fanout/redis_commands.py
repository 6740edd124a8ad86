"""Commands that go to whichever server has what they are about."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import partial
from typing import Any, Final

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    ResponseError,
    TryAgainError,
)

from .redis_client import RedisClient
from .redis_lines import Caller, Command

__all__ = ["Commands", "is_final"]

#: How often a command is sent elsewhere, or again, before what the last server said counts.
_REDIRECTS: Final = 8
#: How long a cluster that is changing is left alone, seconds.
_PAUSE: Final = 0.1
#: Beginnings of answers by which Redis refuses now and not for ever, of those that the client
#: library has no class for.
_PASSING: Final = ("MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE", "NOGOODSLAVE", "UNBLOCKED")


def is_final(error: BaseException) -> bool:
    """Return whether Redis will refuse a command ever again: another type, no permission."""
    if type(error) is ResponseError:
        return not str(error).startswith(_PASSING)
    return isinstance(error, (NoPermissionError, UnicodeError))


class Commands:
    """Runs commands on connections of their own, one for each server.

    Args:
        client: The client.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._callers: dict[str, Caller] = {}
        # Where commands about no key go, as long as that works.
        self._any: str | None = None

    async def run(self, *command: Any, key: bytes | None) -> Any:
        """Return the answer to a command.

        Args:
            command: Its parts; texts that can have any characters as bytes.
            key: What says which server of a cluster it is for; any, where there is none.

        Raises:
            Exception: Redis refused it, or cannot be reached; any of the client library's.
        """
        version = await self._client.version()
        try:
            if key is None:
                answer = await self._anywhere(command)
            else:
                answer = await self._follow(command, key, version)
        except Exception:
            # Another server may have taken the place of the one that is gone.
            with suppress(Exception):
                await self._client.refresh(version)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ask(self, place: str, *commands: Command) -> list[Any]:
        """Return one server's answers; what it refused is an exception among them."""
        caller = self._callers.get(place)
        if caller is None:
            caller = Caller(partial(self._client.connection, place))
            self._callers[place] = caller
        return await caller.ask(*commands)

    async def aclose(self) -> None:
        """Disconnect; what is asked later connects again."""
        callers, self._callers, self._any = self._callers, {}, None
        for caller in callers.values():
            await caller.aclose()

    async def _anywhere(self, command: Command) -> Any:
        places = self._client.places()
        random.shuffle(places)
        # The one that worked the last time comes first.
        places.sort(key=lambda place: place != self._any)
        failed: Exception = ConnectionError("the cluster has no server")
        for place in places:
            self._any = None
            try:
                (answer,) = await self.ask(place, command)
            except Exception as error:  # noqa: BLE001 - the next one may take it
                failed = error
            else:
                self._any = place
                return answer
        raise failed

    async def _follow(self, command: Command, key: bytes, version: int) -> Any:
        """Go where the cluster says."""
        place = self._client.place_of(key)
        first: tuple[Command, ...] = ()
        answer: Any = None
        for _ in range(_REDIRECTS):
            answer = (await self.ask(place, *first, command))[-1]
            first = ()
            if isinstance(answer, MovedError):
                await self._client.refresh(version)
                place = self._client.place_at(*answer.node_addr) or self._client.place_of(key)
            elif isinstance(answer, AskError):
                place = self._client.place_at(*answer.node_addr) or place
                first = (("ASKING",),)
            elif isinstance(answer, (ClusterDownError, TryAgainError)):
                await asyncio.sleep(_PAUSE)
                await self._client.refresh()
                place = self._client.place_of(key)
            else:
                break
        return answer
