"""What the tests of all servers need: an application by path, and a look at its connections."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
from prometheus_client import CollectorRegistry

from asgi_ws_observe import (
    ConnectionHook,
    Settings,
    WebSocketObserveMiddleware,
    current_connection,
)
from asgi_ws_observe.metrics.prometheus import numbers_of
from asgi_ws_observe.states import State
from asgi_ws_observe.store import RouteNumbers
from tests.servers.raw import RawClient, close_frame
from tests.support import ACCEPT, until, wait_until

Handler = Callable[[Any, Any], Awaitable[None]]


class Observed(ConnectionHook):
    """An application that is observed, with its connections at hand.

    Args:
        handlers: Path -> what is done with a connection to it.
        registry: Where the metrics go.
        settings: Of the middleware. The label ``route`` is the path.

    Attributes:
        app: The application.
        connections: Path -> the record of the last connection to it.
        store: The numbers.
    """

    def __init__(
        self, handlers: Mapping[str, Handler], registry: CollectorRegistry, **settings: Any
    ) -> None:
        self._handlers = handlers
        self._loop: asyncio.AbstractEventLoop | None = None
        self.connections: dict[str, Any] = {}
        self.store = numbers_of(registry).store
        chosen: dict[str, Any] = {"log_handler": "off", "route": lambda scope: scope["path"]}
        chosen |= settings
        self.app = WebSocketObserveMiddleware(
            self._run, settings=Settings(**chosen), registry=registry, hooks=[self]
        )

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._handlers[scope["path"]](receive, send)

    def started(self, connection: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self.connections[connection.scope["path"]] = connection

    def on_loop(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function on the connections' event loop and return what it returns."""
        result: Future[Any] = Future()

        def call() -> None:
            try:
                result.set_result(function(*args))
            except BaseException as error:
                result.set_exception(error)

        assert self._loop is not None
        self._loop.call_soon_threadsafe(call)
        return result.result(10)

    def numbers(self, path: str) -> RouteNumbers:
        """Return the numbers of a path."""
        return self.store.route(path)

    def closes(self) -> dict[str, list[tuple[str, str, str]]]:
        """Return path -> how its connections ended: code, by whom, why."""
        return {
            label: [key for key, count in numbers.closes.items() for _ in range(count)]
            for label, numbers in self.store.routes.items()
            if any(numbers.closes.values())
        }

    def failures(self) -> dict[str, list[str]]:
        """Return path -> why its handshakes failed."""
        return {
            label: [reason for reason, count in numbers.failures.items() for _ in range(count)]
            for label, numbers in self.store.routes.items()
            if any(numbers.failures.values())
        }

    def wait_for_ends(self, number: int) -> None:
        """Wait until so many connections have ended, and see that nothing of ours has failed."""

        def ended() -> bool:
            return number <= sum(map(len, self.closes().values())) + sum(
                map(len, self.failures().values())
            )

        wait_until(ended, 30)
        assert 0 == sum(self.store.own_errors.values())
        assert 0 == sum(numbers.active for numbers in self.store.routes.values())


# What an application may do with a connection.


async def listening(receive: Any, send: Any) -> None:
    """Accept, and receive until the client has gone."""
    await receive()
    await send(ACCEPT)
    while (await receive())["type"] == "websocket.receive":
        pass


async def closing(receive: Any, send: Any) -> None:
    """Close at once."""
    await receive()
    await send(ACCEPT)
    await send({"type": "websocket.close", "code": 4000, "reason": "bye"})


async def returning(receive: Any, send: Any) -> None:
    """Forget to close."""
    await receive()
    await send(ACCEPT)


async def raising(receive: Any, send: Any) -> None:
    """Fail."""
    await receive()
    await send(ACCEPT)
    raise LookupError("in the application")


async def rejecting(receive: Any, send: Any) -> None:
    """Refuse the handshake."""
    await receive()
    await send({"type": "websocket.close"})


async def hesitating(receive: Any, send: Any) -> None:
    """Never answer the handshake."""
    await receive()
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def flooding(receive: Any, send: Any) -> None:
    """Send for ever, though some servers never say that the client has gone."""
    await receive()
    await send(ACCEPT)
    while current_connection().state is State.OPEN:
        await send({"type": "websocket.send", "bytes": bytes(2**20)})
        # Some transports take anything once they are aborted.
        await asyncio.sleep(0)


async def closing_when_told(receive: Any, send: Any) -> None:
    """Close after the first message."""
    await receive()
    await send(ACCEPT)
    await receive()
    await send({"type": "websocket.close", "code": 4000})


class Stepped:
    """An application that does what it may, step by step.

    Attributes:
        permits: How many messages it may take; when it has taken one it may leave.
        leave: Whether it is to return.
    """

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)
        self.leave = threading.Event()

    async def __call__(self, receive: Any, send: Any) -> None:
        """Accept, and receive until it is to leave or the client has gone."""
        await receive()
        await send(ACCEPT)
        while True:
            await until(lambda: self.leave.is_set() or self.permits.acquire(blocking=False), 30)
            if self.leave.is_set() or (await receive())["type"] == "websocket.disconnect":
                return


# What a client may do.


def sending(data: bytes) -> Callable[[RawClient], None]:
    """Return a client that sends something and reads to the end."""

    def act(client: RawClient) -> None:
        client.send(data)
        client.read_to_end()

    return act


def finishing(client: RawClient) -> None:
    """End the stream and read to the end of the server's."""
    client.finish()
    client.read_to_end()


class _Encrypted(RawClient):
    """A client of a server on ``localhost`` that speaks TLS."""

    def __init__(self, address: str, path: str, *headers: str, trust: ssl.SSLContext) -> None:
        self._trust = trust
        super().__init__(address, path, *headers)

    def _write(self, data: bytes) -> None:
        if not isinstance(self._socket, ssl.SSLSocket):
            self._socket = self._trust.wrap_socket(self._socket, server_hostname="localhost")
        super()._write(data)


@contextmanager
def connected(
    address: str,
    path: str,
    *headers: str,
    pongs: bool = True,
    trust: ssl.SSLContext | None = None,
) -> Iterator[RawClient]:
    """Return a client whose handshake was answered, and give it back.

    Args:
        address: The server's ``host:port``.
        path: Where it connects.
        headers: More lines of the handshake.
        pongs: Whether it answers pings.
        trust: Whom it trusts, where it is to speak TLS.
    """
    if trust is None:
        client = RawClient(address, path, *headers, pongs=pongs)
    else:
        client = _Encrypted(address, path, *headers, trust=trust)
    try:
        client.opened()
        yield client
    finally:
        client.close()


def authority(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """Return what trusts a new certificate of ``localhost``, and the certificate with its key."""
    issuer, trust, pem = trustme.CA(), ssl.create_default_context(), directory / "localhost.pem"
    issuer.configure_trust(trust)
    issuer.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    return trust, pem


@contextmanager
def reading(client: RawClient) -> Iterator[None]:
    """Let a client read, and so answer pings, beside what else is done."""
    thread = threading.Thread(target=client.read_to_end)
    thread.start()
    try:
        yield
    finally:
        client.send(close_frame())
        thread.join(15)
        client.close()
        assert not thread.is_alive()
