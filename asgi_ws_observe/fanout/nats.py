"""NATS as the bus between nodes; needs the extra ``nats``.

from asgi_ws_observe.fanout.nats import NatsChannel

channel = NatsChannel("nats://localhost:4222")
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final

from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry

from ..exceptions import SettingsError
from .broker import Broker, Name, Received
from .channel import FanoutChannel
from .nats_client import NatsClient
from .subscription import Subscription
from .tasks import start

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .settings import ChannelOptions

__all__ = ["NatsBroker", "NatsChannel"]

_PART: Final = r"[^ \t\r\n\f\v\0.*>\ud800-\udfff]+"
#: What can be published to. An older nats-py sends whatever it is given, line ends included.
_TOPIC: Final = re.compile(rf"{_PART}(\.{_PART})*")
#: What can be subscribed to: ``*`` stands for one token, ``>`` at the end for one or more.
_SUBJECT: Final = re.compile(rf"((\*|{_PART})\.)*(\*|>|{_PART})")
#: A longer one makes a line for which a server closes the connection, characters.
_LONGEST: Final = 1000
#: How often the listener looks whether its connection is still the same, seconds.
_LOOK: Final = 0.25
#: While nats-py has not written so much yet, publishing waits, bytes. nats-py itself waits with
#: twice as much; when that is cancelled, it says that all went well.
_UNWRITTEN: Final = 2**20
#: How often publishing then looks whether there is less, seconds.
_LOOK_AGAIN: Final = 0.005
#: What headers take besides their names and values: the first line and the last, and each one's
#: colon, blank and line end; bytes.
_FRAME: Final = 12
_EACH: Final = 4


class NatsBroker(Broker):
    """Core NATS: what is published while a node is away is lost, and counted as that.

    An echo, a message to an inbox of the listener's own, tells that the server has taken what it
    was told before, and that it answers. nats-py's ``flush()`` would not do: an answer that comes
    after its timeout ends the task that reads, of the application's client too.

    Args:
        client: The client.
    """

    system: ClassVar[str] = "nats"
    has_headers: ClassVar[bool] = True

    def __init__(self, client: NatsClient) -> None:
        self._nats = client
        # What is listened on, `None` while nothing is.
        self._client: Any = None
        # Whose subscriptions there are, and by which connection: as nats-py numbers its own, and
        # as the server numbers all.
        self._home: Any = None
        self._reconnects = 0
        self._number: int | None = None
        self._subscribed: dict[Name, Any] = {}
        self._resumed = False
        self._inbox = Name("")
        # An echo -> what the server has taken when it comes.
        self._echoes: dict[bytes, Collection[Name]] = {}
        self._last_echo = 0
        self._came: deque[Received] = deque()
        self._arrival: asyncio.Future[None] | None = None

    async def publish(
        self, topic: str, payload: bytes, headers: Mapping[str, str] | None, *, brief: bool = False
    ) -> int | None:
        """Publish a message: nats-py has it and writes it at once; NATS acknowledges nothing.

        Raises:
            ConnectionError: The client is not connected.
            ValueError: The topic is no subject, or the message is larger than the server takes,
                which would close the connection.
        """
        if len(topic) > _LONGEST or _TOPIC.fullmatch(topic) is None:
            raise ValueError(f"topic: got {topic!r}; accepted: a NATS subject without wildcards")
        client = await self._nats.connected()
        size = len(payload) + _size(headers)
        if size > client.max_payload:
            raise ValueError(f"{size} bytes with headers; the server takes {client.max_payload}")
        while client.pending_data_size > _UNWRITTEN and client.is_connected:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_AGAIN)
        if not client.is_connected:
            raise ConnectionError("NATS is not connected any more")
        await client.publish(topic, payload, headers=dict(headers) if headers else None)
        return None

    async def open(self) -> None:
        client = await self._nats.connected(at_once=True)
        reconnects, number = client.stats["reconnects"], client.client_id
        by_hand = reconnects == self._reconnects and number != self._number
        if client is not self._home or by_hand:
            # nats-py subscribes again only where it has come back by itself.
            self._subscribed.clear()
        self._client = self._home = client
        self._reconnects, self._number = reconnects, number
        self._resumed = True
        self._echoes.clear()

    async def subscribe(self, names: Collection[Name]) -> None:
        client = self._line()
        if self._resumed:
            self._resumed = False
            self._inbox = self._inbox if self._inbox.text else Name(client.new_inbox())
            await self.unsubscribe(set(self._subscribed) - {self._inbox, *names})
        # In a task of its own: nats-py makes one of the same context for each subscription.
        await start(self._add(client, names), "ws_fanout_nats_subscribe")
        await self._ask(client, names)

    async def unsubscribe(self, names: Collection[Name]) -> None:
        for name in names:
            subscription = self._subscribed.pop(name, None)
            if subscription is not None:
                # It raises where the client is closed.
                with suppress(Exception):
                    await subscription.unsubscribe()

    async def receive(self, timeout: float) -> list[Received] | None:
        ends = perf_counter() + timeout
        while not self._came:
            self._line()
            left = ends - perf_counter()
            if left <= 0:
                return None
            self._arrival = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._arrival], timeout=min(left, _LOOK))
        came, self._came = self._came, deque()
        return [each for each in came if not self._is_echo(each)]

    async def ping(self) -> None:
        await self._ask(self._line(), ())

    async def shut(self) -> None:
        """Listen no more by this connection.

        What nats-py subscribes to again when it comes back, and what a server has that answers
        nothing for a while, stays subscribed on a client that stays: so nothing is lost meanwhile.
        """
        client, self._client = self._client, None
        self._wake()
        if client is None:
            return
        if client.is_closed:
            self._subscribed.clear()
        elif client.is_connected and client.stats["reconnects"] == self._reconnects:
            if self._nats.is_own:
                await self._leave()
                await self._nats.drop()
            elif not self._echoes:
                await self._leave()

    async def aclose(self) -> None:
        await self._leave()
        self._came.clear()
        await self._nats.aclose()

    def _line(self) -> Any:
        """Return the client.

        Raises:
            ConnectionError: It is not connected, or not by the same connection any more.
        """
        client = self._client
        if client is None:
            raise ConnectionError("the listener is not connected to NATS")
        if not client.is_connected:
            raise ConnectionError(f"NATS is not connected any more: {client.last_error!r}")
        if client.stats["reconnects"] != self._reconnects:
            raise ConnectionError("NATS was away and is connected again")
        return client

    async def _add(self, client: Any, names: Collection[Name]) -> None:
        for name in (self._inbox, *names):
            if name not in self._subscribed:
                # Without limits, since nats-py drops silently what is above. Nothing waits there.
                self._subscribed[name] = await client.subscribe(
                    name.text,
                    cb=partial(self._take, name),
                    pending_msgs_limit=0,
                    pending_bytes_limit=0,
                )

    async def _leave(self) -> None:
        await self.unsubscribe(list(self._subscribed))

    async def _ask(self, client: Any, names: Collection[Name]) -> None:
        self._last_echo += 1
        echo = b"%d" % self._last_echo
        self._echoes[echo] = names
        await client.publish(self._inbox.text, echo)

    def _is_echo(self, received: Received) -> bool:
        if received.name != self._inbox:
            return False
        for name in self._echoes.pop(received.payload, ()):
            self.confirmed(name)
        return True

    async def _take(self, name: Name, message: Any) -> None:
        self._came.append(Received(name, message.subject, message.data, message.headers))
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class NatsChannel(FanoutChannel):
    """Publishes to NATS and delivers what comes from it.

    A message's payload is its body and nothing else; trace context, publisher, number and time go
    in headers. So nodes without this library understand, and are understood.

    Args:
        nats: The application's own `nats.aio.client.Client`, or a URL such as
            ``nats://localhost:4222``, or several URLs: a list, a tuple, or one text with commas.
            A client that is given stays open. For URLs one is made at first use, and made again
            as often as it has to be.
        registry: Whose metrics. Default: prometheus_client's own.
        tracer_provider: Whose spans. Default: the global one.
        settings: Of `ChannelSettings`, such as ``name``, ``label``, ``probe_interval``.

    Raises:
        SettingsError: A value is not accepted.
        MissingExtraError: When this module is imported and nats-py is not installed.
    """

    def __init__(
        self,
        nats: Any,
        *,
        registry: CollectorRegistry | None = None,
        tracer_provider: TracerProvider | None = None,
        **settings: Unpack[ChannelOptions],
    ) -> None:
        broker = NatsBroker(NatsClient(nats, self._forbidden))
        super().__init__(broker, registry=registry, tracer_provider=tracer_provider, **settings)

    def subscribe(self, *topics: str, patterns: Iterable[str] = ()) -> Subscription:
        """Return deliveries: ``async with channel.subscribe(subject) as deliveries:``.

        Args:
            topics: Subjects, with or without wildcards: ``*`` is one token, ``>`` the rest.
            patterns: The same.

        Raises:
            SettingsError: Nothing is given, or something that is no subject.
        """
        patterns = tuple(patterns)
        for subject in (*topics, *patterns):
            if len(subject) > _LONGEST or _SUBJECT.fullmatch(subject) is None:
                raise SettingsError(
                    f"subscribe: got {subject!r}; accepted: a NATS subject, tokens without blanks "
                    "between dots, such as rooms.17, rooms.* or rooms.>"
                )
        return super().subscribe(*topics, patterns=patterns)

    def _forbidden(self, error: Exception) -> None:
        self.errors.report("fanout", error, "nats", "what the server forbids does not come through")


def _size(headers: Mapping[str, str] | None) -> int:
    """Return how many bytes of a payload headers take."""
    if not headers:
        return 0
    return _FRAME + sum(len(f"{name}{value}".encode()) + _EACH for name, value in headers.items())
