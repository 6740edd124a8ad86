"""One message on its way to many WebSockets: its payload, and who has it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from time import perf_counter
from typing import Any

import orjson

from ..fanout_numbers import FanoutNumbers

__all__ = ["Broadcast"]


class Broadcast:
    """One message to many; all queues share it.

    ``await broadcast`` waits until every recipient has sent or dropped it, and returns it. It lasts
    as long as the slowest of them, so bound it with `asyncio.wait_for` where that matters.

    Args:
        message: Text, bytes, or a value that becomes JSON and is sent as text.
        numbers: Where it is counted.

    Raises:
        TypeError: It is neither, or holds what JSON cannot.
        ValueError: A text that is not valid Unicode (lone surrogates), which no server can send.

    Attributes:
        recipients: How many queues took it.
        delivered: How many ``send()`` calls have returned.
        dropped: How many connections did not get it, those included whose queue did not take it.
        seconds: From taking it until the last recipient had sent or dropped it; `None` while that
            is under way.
    """

    __slots__ = (
        *("_left", "_numbers", "_started", "_waiters", "data", "delivered", "dropped"),
        *("recipients", "seconds", "size", "text"),
    )

    def __init__(self, message: Any, numbers: FanoutNumbers) -> None:
        # For the hub: exactly one of them is not None, and the payload's bytes.
        self.text: str | None = None
        self.data: bytes | None = None
        if isinstance(message, (bytes, bytearray, memoryview)):
            self.data = bytes(message)  # nobody may change what waits in queues
            self.size = len(self.data)
        else:
            self._set_text(message)
        self._numbers = numbers
        self.recipients = self.delivered = self.dropped = 0
        self.seconds: float | None = None
        self._started = perf_counter()
        # One for the hub itself, until it has gone through all recipients.
        self._left = 1
        self._waiters: list[asyncio.Future[None]] | None = None

    def _set_text(self, message: Any) -> None:
        if isinstance(message, str):
            self.text = message
            # Otherwise the first to fail would be the recipients.
            self.size = len(message) if message.isascii() else len(message.encode())
        else:
            encoded = orjson.dumps(message)
            self.text, self.size = encoded.decode(), len(encoded)

    def __await__(self) -> Generator[Any, None, Broadcast]:
        if self.seconds is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            yield from waiter
        return self

    # What the hub and its queues tell.

    def take(self) -> None:
        """Take in that a queue took it."""
        self.recipients += 1
        self._left += 1

    def refuse(self) -> None:
        """Take in that a full queue did not take it."""
        self.dropped += 1
        self._numbers.dropped["queue_full"] += 1

    def deliver(self) -> None:
        """Take in that a ``send()`` of it returned."""
        self.delivered += 1
        self._settle()

    def drop(self, reason: str) -> None:
        """Take in that a queue that took it gave it up.

        Args:
            reason: One of `asgi_ws_observe.fanout_numbers.DROP_REASONS`.
        """
        self.dropped += 1
        self._numbers.dropped[reason] += 1
        self._settle()

    def begin(self) -> None:
        """Take in that it has been put into all queues."""
        self._settle()

    def count(self) -> None:
        """Count how many queues took it."""
        self._numbers.recipients.observe(self.recipients)

    def _settle(self) -> None:
        self._left -= 1
        if self._left:
            return
        self.seconds = perf_counter() - self._started
        if self.recipients:
            self._numbers.delivery.observe(self.seconds)
        for waiter in self._waiters or ():
            if not waiter.done():  # whoever waited may have been cancelled
                waiter.set_result(None)
        self._waiters = None
