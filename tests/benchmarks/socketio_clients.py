"""``python -m tests.benchmarks.socketio_clients``: the same clients over Socket.IO."""

from __future__ import annotations

import asyncio

import picows

from tests.benchmarks.clients import Client, Clients, connect, run
from tests.benchmarks.socketio_modes import CONNECT, EVENT

__all__: list[str] = []


class _Caller(Client):
    """Sends an event, and the next one when that is acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        packet = frame.get_payload_as_bytes()
        if packet.startswith(b"43"):
            super().on_ws_frame(transport, frame)
        elif packet.startswith(CONNECT.encode()):
            self.ready.set_result(None)
        elif packet.startswith(b"0"):
            transport.send(picows.WSMsgType.TEXT, CONNECT.encode())
        elif packet == b"2":
            transport.send(picows.WSMsgType.TEXT, b"3")


class _Callers(Clients):
    """Paths are rooms, which the server lets clients enter."""

    async def _connect(self, address: str, path: str, number: int = 0) -> Client:
        room = path.strip("/").replace("/", ":")
        path = f"/socket.io/?EIO=4&transport=websocket&room={room}"
        client = await connect(_Caller, address, path, number)
        assert isinstance(client, _Caller)
        await asyncio.wait_for(client.ready, 60)
        return client

    def _payload(self, size: int) -> bytes:
        return EVENT.encode()


if __name__ == "__main__":
    run(_Callers)
