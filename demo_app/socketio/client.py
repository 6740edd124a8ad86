"""One Socket.IO client of the load, which counts everything that it does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

import socketio
from socketio import packet

from .protocol import ADMIN
from .truth import Truth

__all__ = ["Client", "ServerError"]

#: Seconds that a client waits for anything: a server that is slow under load is not wrong.
_PATIENCE: Final = 30.0
#: Seconds that it gives the end of a connection.
_HURRY: Final = 0.5
_TRANSPORTS: Final[dict[str, list[str] | None]] = {
    "auto": None,
    "websocket": ["websocket"],
    "polling": ["polling"],
}
#: Heard from the server -> the category of the rooms that it goes to.
_HEARD: Final = {"said": "room:{name}", "whispered": "user:{name}", "poke": "_sid"}


class ServerError(Exception):
    """The server answered otherwise than it should."""


class Client:
    """One connection to one namespace, counted.

    Args:
        truth: Where the counts go.
        namespace: Which.
    """

    def __init__(self, truth: Truth, namespace: str = "/") -> None:
        self._truth = truth
        self._namespace = namespace
        self._over = asyncio.Event()
        # Ctrl-C is for the load to handle.
        self._socket = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self._socket.packet_class = _counting(truth, self._socket.packet_class)
        for event in ("whispered", "poke"):
            self._socket.on(event, self._acknowledge(event), namespace=namespace)
        self._socket.on("disconnect", self._ended, namespace=namespace)

    @property
    def sid(self) -> str:
        """What the server calls it."""
        return str(self._socket.get_sid(self._namespace))

    def _acknowledge(self, event: str) -> Callable[..., str]:
        def heard(*_: Any) -> str:
            self._truth.count("socketio_acks_total", event=event, outcome="ok")
            return "heard"

        return heard

    def _ended(self, *_: Any) -> None:
        self._over.set()

    async def open(self, url: str, transport: str, auth: dict[str, Any]) -> bool:
        """Connect; return whether the server let it in."""
        try:
            await self._socket.connect(
                url,
                auth=auth,
                transports=_TRANSPORTS[transport],
                namespaces=[self._namespace],
                wait_timeout=_PATIENCE,
            )
        except socketio.exceptions.ConnectionError:
            if self._namespace in self._socket.failed_namespaces:
                return False
            raise
        self._truth.connected(self._namespace, transport)
        if self._namespace == "/":
            self._truth.count("socketio_room_joins_total", category="user:{name}")
        return True

    async def ask(self, event: str, data: Any = None) -> dict[str, Any]:
        """Emit, and wait for the acknowledgement.

        Raises:
            ServerError: It says that something went wrong.
        """
        self._sent(event, "ok")
        answer = await self._socket.call(
            event, data, namespace=self._namespace, timeout=int(_PATIENCE)
        )
        if not isinstance(answer, dict) or "error" in answer:
            raise ServerError(f"{event}: {answer!r}")
        return answer

    async def tell(self, event: str, outcome: str) -> None:
        """Emit what has no acknowledgement."""
        self._sent(event if outcome != "unhandled" else "_other", outcome)
        await self._socket.emit(event, namespace=self._namespace)

    def _sent(self, event: str, outcome: str) -> None:
        self._truth.count(
            "socketio_events_total", namespace=self._namespace, event=event, outcome=outcome
        )

    async def leave(self) -> None:
        """Say goodbye, and close."""
        # By hand: the library may close a WebSocket before its own goodbye has left.
        goodbye = self._socket.packet_class(packet.DISCONNECT, namespace=self._namespace)
        await self._socket.eio.send(goodbye.encode())
        await self._socket.eio.queue.join()
        await self._close()
        self._gone("client_disconnect")

    async def _close(self) -> None:
        try:
            # A poll that waits is answered long after the client has said that it closes.
            await asyncio.wait_for(self._socket.eio.disconnect(), _HURRY)
        except asyncio.TimeoutError:
            await self._socket.eio.http.close()

    async def vanish(self) -> None:
        """Be gone without a word, as by a broken cable."""
        self._socket.eio.ws.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        await asyncio.wait_for(self._over.wait(), _PATIENCE)
        self._gone("transport_lost")

    async def kicked(self) -> None:
        """Wait for the server to end it."""
        await asyncio.wait_for(self._over.wait(), _PATIENCE)
        self._gone("server_disconnect")

    def _gone(self, reason: str) -> None:
        self._truth.ended(self._namespace, reason)
        if self._namespace == "/":
            self._truth.count("socketio_room_leaves_total", category="user:{name}")

    async def close(self) -> None:
        """Leave nothing open, whatever has happened."""
        await self._socket.shutdown()
        http = self._socket.eio.http
        if http is not None and not http.closed:
            await http.close()


def _counting(truth: Truth, kind: Any) -> Any:
    """Return a class of packets that counts bytes, and what was heard."""

    class CountingPacket(kind):  # type: ignore[misc]
        def encode(self) -> Any:
            encoded = super().encode()
            _count_bytes(truth, self.namespace, "in", encoded)
            return encoded

        def decode(self, encoded_packet: Any) -> Any:
            found = super().decode(encoded_packet)
            _count_bytes(truth, self.namespace, "out", encoded_packet)
            if self.packet_type == packet.EVENT and self.data[0] in _HEARD:
                category = _HEARD[self.data[0]]
                truth.count("socketio_emit_recipients_sum", category=category)
            return found

    return CountingPacket


def _count_bytes(truth: Truth, namespace: str | None, direction: str, encoded: str) -> None:
    label = namespace or "/"
    truth.count(
        "socketio_bytes_total",
        len(encoded.encode()),
        namespace=label if label in ("/", ADMIN) else "_other",
        direction=direction,
    )
