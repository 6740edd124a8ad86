"""Clients by hand: packets into a server's real Engine.IO sessions, and out of their queues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import engineio
import orjson
import socketio
from engineio import packet
from engineio.async_socket import AsyncSocket
from engineio.socket import Socket

from tests.support import until

__all__ = ["Peer", "ThreadPeer"]


class Received:
    """What a session's queue has held, as Socket.IO's packets."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self._seen: list[Any] = []

    def all(self) -> list[Any]:
        """Return all packets so far: text, or bytes."""
        queue = self.session.queue
        while not queue.empty():
            found = queue.get_nowait()
            queue.task_done()
            if found is not None and found.packet_type == packet.MESSAGE:
                self._seen.append(found.data)
        return self._seen

    def events(self) -> list[Any]:
        """Return the events of the default namespace: name and arguments."""
        return [orjson.loads(each[1:]) for each in self.all() if each[:2] == "2["]


def encoded(kind: int, namespace: str, data: Any = None, identity: int | None = None) -> str:
    """Return a packet of Socket.IO."""
    where = "" if namespace == "/" else namespace + ","
    number = "" if identity is None else str(identity)
    return f"{kind}{where}{number}{'' if data is None else orjson.dumps(data).decode()}"


class Peer(Received):
    """A client of an `AsyncServer`.

    Attributes:
        eio_sid: Its session.
        sids: Its sid in each namespace that it is in.
    """

    def __init__(self, server: socketio.AsyncServer, environ: dict[str, Any]) -> None:
        self.server = server
        self.eio_sid = server.eio.generate_id()
        super().__init__(AsyncSocket(server.eio, self.eio_sid))
        self.session.connected = True
        self.session.last_ping = None
        self._environ = environ
        server.eio.sockets[self.eio_sid] = self.session
        self.sids: dict[str, str] = {}

    @classmethod
    async def open(cls, server: socketio.AsyncServer, **environ: Any) -> Peer:
        """Return a client whose session is open."""
        peer = cls(server, environ)
        handler: Callable[..., Any] = server.eio.handlers["connect"]
        await handler(peer.eio_sid, environ)
        return peer

    @classmethod
    async def join(cls, server: socketio.AsyncServer, namespace: str = "/", **environ: Any) -> Peer:
        """Return a client that is connected to a namespace."""
        peer = await cls.open(server, **environ)
        await peer.connect(namespace)
        return peer

    async def connect(self, namespace: str = "/", auth: Any = None) -> str | None:
        """Connect to a namespace; return the sid, `None` where it was not accepted."""
        await self.send(encoded(0, namespace, auth))
        sid = self.server.manager.sid_from_eio_sid(self.eio_sid, namespace)
        if sid is not None:
            self.sids[namespace] = sid
        return sid  # type: ignore[no-any-return]

    async def send(self, data: Any) -> None:
        """Send a packet of Socket.IO."""
        await self.server._handle_eio_message(self.eio_sid, data)

    async def emit(
        self, event: str, *args: Any, namespace: str = "/", ack: int | None = None
    ) -> None:
        """Send an event, and wait until its handler is done."""
        before = asyncio.all_tasks()
        await self.send(encoded(2, namespace, [event, *args], ack))
        handlers = asyncio.all_tasks() - before
        if handlers:
            await asyncio.wait(handlers)
            for each in handlers:
                # The library leaves it to the garbage collector to complain.
                if not each.cancelled():
                    each.exception()

    async def acknowledge(self, identity: int, *args: Any, namespace: str = "/") -> None:
        """Acknowledge an event of the server."""
        await self.send(encoded(3, namespace, list(args), identity))

    async def leave(self, namespace: str = "/") -> None:
        """Disconnect from a namespace."""
        await self.send(encoded(1, namespace))

    async def drop(self, reason: str = engineio.AsyncServer.reason.TRANSPORT_CLOSE) -> None:
        """End the session."""
        await self.session.close(wait=False, abort=True, reason=reason)
        self.server.eio.sockets.pop(self.eio_sid, None)

    async def got(self, number: int) -> list[Any]:
        """Return the events of the default namespace, when there are so many."""
        await until(lambda: len(self.events()) >= number)
        return self.events()


class ThreadPeer(Received):
    """A client of a threaded `Server`."""

    def __init__(self, server: socketio.Server) -> None:
        self.server = server
        self.eio_sid = server.eio.generate_id()
        super().__init__(Socket(server.eio, self.eio_sid))
        self.session.connected = True
        self.session.last_ping = None
        server.eio.sockets[self.eio_sid] = self.session
        server.eio.handlers["connect"](self.eio_sid, {})

    def connect(self, namespace: str = "/", auth: Any = None) -> str | None:
        """Connect to a namespace; return the sid, `None` where it was not accepted."""
        self.send(encoded(0, namespace, auth))
        return self.server.manager.sid_from_eio_sid(self.eio_sid, namespace)  # type: ignore[no-any-return]

    def send(self, data: Any) -> None:
        """Send a packet of Socket.IO."""
        self.server._handle_eio_message(self.eio_sid, data)

    def emit(self, event: str, *args: Any, ack: int | None = None) -> None:
        """Send an event."""
        self.send(encoded(2, "/", [event, *args], ack))

    def acknowledge(self, identity: int, *args: Any) -> None:
        """Acknowledge an event of the server."""
        self.send(encoded(3, "/", list(args), identity))

    def leave(self) -> None:
        """Disconnect."""
        self.send(encoded(1, "/"))
