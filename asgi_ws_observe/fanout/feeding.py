"""What comes from elsewhere, such as a broker, and how it reaches a hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from types import TracebackType
from typing import Any, Protocol

from ..hooks import OwnErrors

__all__ = ["DeliveryLike", "ManagedDelivery", "feed"]


class DeliveryLike(Protocol):
    """A message that came from elsewhere.

    Attributes:
        recipients: Set by the hub: how many queues took it.
    """

    recipients: Any

    @property
    def topic(self) -> str:
        """What it was published to."""
        ...

    @property
    def body(self) -> Any:
        """Text, bytes, or a value that becomes JSON."""
        ...


class ManagedDelivery(DeliveryLike, Protocol):
    """The same, entered while it is being delivered."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Any: ...


async def feed(
    deliveries: AsyncIterable[ManagedDelivery],
    deliver: Callable[[DeliveryLike], object],
    errors: OwnErrors,
) -> None:
    """Deliver everything that an iterator yields.

    Args:
        deliveries: Each is entered, delivered and left; one that fails is reported.
        deliver: Delivers one.
        errors: Where failures go. That of the iterator itself ends the feeding.
    """
    try:
        async for delivery in deliveries:
            try:
                with delivery:
                    deliver(delivery)
            except Exception as error:  # noqa: BLE001
                errors.report("fanout", error, type(delivery), "a delivery reached nobody")
            # An iterator that has many ready need not wait anywhere, and would fill every queue.
            await asyncio.sleep(0)
    except Exception as error:  # noqa: BLE001
        errors.report("fanout", error, type(deliveries), "nothing is delivered any more")
