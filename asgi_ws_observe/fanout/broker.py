"""What a channel needs of a broker, and what a broker hands back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

__all__ = ["LOSSES_SETTLE", "Broker", "Name", "Received"]

#: After so many seconds a message that others overtook is counted as lost: concurrent publishes
#: may take different connections.
LOSSES_SETTLE: Final = 2.0


class Name(NamedTuple):
    """What a listener subscribes to.

    Attributes:
        text: A topic, or a pattern of the broker's.
        is_pattern: Which of the two.
    """

    text: str
    is_pattern: bool = False


class Received(NamedTuple):
    """A message as a broker hands it to a listener.

    Attributes:
        name: The subscription by which it came.
        topic: What it was published to.
        payload: Its bytes.
        headers: What came beside them, where the broker has such.
        id: The broker's own identity of it, where it has one.
    """

    name: Name
    topic: str
    payload: bytes
    headers: Mapping[str, str] | None = None
    id: str | None = None


class Broker(ABC):
    """One broker, by one client; a channel's listener drives it from one task.

    What it raises is caught by the channel, whatever it is: connections are lost in many ways.

    Attributes:
        system: OpenTelemetry's ``messaging.system``.
        has_headers: Whether a message has headers, so that its payload stays as it is.
        has_patterns: Whether a subscription can be to a pattern.
        keeps: Whether the broker keeps messages. Then what it cannot take waits for it to come
            back, and what was missed meanwhile is read afterwards.
        loss_seconds: When a gap in a sequence is a loss.
        confirmed: Called by `receive` or `subscribe` with each name that the broker has taken.
    """

    system: ClassVar[str]
    has_headers: ClassVar[bool] = False
    has_patterns: bool = True
    keeps: bool = False
    loss_seconds: float = LOSSES_SETTLE
    confirmed: Callable[[Name], None]

    @abstractmethod
    async def publish(
        self, topic: str, payload: bytes, headers: Mapping[str, str] | None, *, brief: bool = False
    ) -> int | None:
        """Publish a message.

        Args:
            topic: Where to.
            payload: Its bytes.
            headers: Its headers, where `has_headers`.
            brief: Whether a broker that keeps messages need not keep this one for long.

        Returns:
            How many subscribers the broker gave it to, `None` where it does not say.
        """

    @abstractmethod
    async def open(self) -> None:
        """Connect the listener; nothing is subscribed then."""

    @abstractmethod
    async def subscribe(self, names: Collection[Name]) -> None:
        """Ask for messages of these names; `confirmed` is called when they are taken."""

    @abstractmethod
    async def unsubscribe(self, names: Collection[Name]) -> None:
        """Ask for no more of them."""

    @abstractmethod
    async def receive(self, timeout: float) -> Sequence[Received] | None:
        """Return what has come, nothing for what is no message.

        Args:
            timeout: How long to wait, seconds.

        Returns:
            `None` where the broker said nothing at all.
        """

    @abstractmethod
    async def ping(self) -> None:
        """Ask the broker to say something, which `receive` then hears."""

    @abstractmethod
    async def shut(self) -> None:
        """Disconnect the listener, whatever state it is in."""

    def refuses(self, error: Exception) -> bool:
        """Return whether what `publish` raised would be raised ever again for this message."""
        return False

    @abstractmethod
    async def aclose(self) -> None:
        """Give back what was made for this broker alone; it may be used again."""
