"""``python -m tests.benchmarks.clients``: fast clients that are told what to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from time import perf_counter
from typing import Any, Final

import picows
import uvloop

from tests.benchmarks.limits import raise_limit
from tests.benchmarks.results import Json
from tests.benchmarks.workers import own_output

__all__ = ["Client", "Clients", "connect", "run"]

#: Connections from one address: the kernel has 28,000 ports for each.
_PORTS: Final = 10_000


class Client(picows.WSListener):
    """Echoes in a closed loop: the next message goes out when the one before is back."""

    transport: picows.WSTransport
    received = 0
    sent_at = 0.0
    until = 0.0

    def __init__(self, payload: bytes = b"") -> None:
        self.payload = payload
        self.times: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done.set_result(None)

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        now = perf_counter()
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        self.received += 1
        if self.done.done():
            return
        self.times.append(now - self.sent_at)
        if now < self.until:
            self.say()
        else:
            self.done.set_result(None)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if not self.done.done():
            self.done.cancel()

    def say(self) -> None:
        self.sent_at = perf_counter()
        self.transport.send(picows.WSMsgType.TEXT, self.payload)

    def begin(self, until: float = 0.0) -> None:
        """Say something, and again after each echo until then, of `time.perf_counter()`."""
        self.until = until
        self.times.clear()
        self.done = asyncio.get_running_loop().create_future()
        self.say()


class _Listener(picows.WSListener):
    """Notes how old each message is that says when it was sent, by this machine's clock."""

    def __init__(self, ages: list[float]) -> None:
        self._ages = ages

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            self._ages.append(perf_counter() - float(frame.get_payload_as_bytes()))
        elif frame.msg_type == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())


class Clients:
    """What the commands do. The connections of `hold` stay until `release`."""

    def __init__(self) -> None:
        self._kept: list[Client] = []
        self._echoing: dict[tuple[str, int], list[Client]] = {}
        self._listening: list[Any] = []
        self._ages: list[float] = []

    async def echo(self, address: str, connections: int, seconds: float, size: int) -> Json:
        """Echo for so long over so many connections, which are opened the first time."""
        clients = self._echoing.setdefault((address, connections), [])
        while len(clients) < connections:
            clients.append(await self._connect(address, "/echo"))
        for client in clients:
            client.payload = self._payload(size)
        started = perf_counter()
        for client in clients:
            client.begin(started + seconds)
        await asyncio.gather(*(client.done for client in clients))
        seconds = perf_counter() - started
        times = sorted(time for client in clients for time in client.times)
        return {
            "seconds": seconds,
            "echoes": len(times),
            "p50": times[len(times) // 2],
            "p99": times[len(times) * 99 // 100],
        }

    async def hold(self, address: str, connections: int, at_once: int, routes: int = 1) -> Json:
        """Open connections until there are so many, each of which says something once.

        Tell the seconds until all have their echo, and how many failed.
        """
        failed = 0
        places = asyncio.Semaphore(at_once)

        async def open_one(number: int) -> None:
            nonlocal failed
            async with places:
                try:
                    client = await self._connect(address, f"/room/{number % routes}", number)
                except (OSError, picows.WSError, asyncio.TimeoutError):
                    failed += 1
                    return
                self._kept.append(client)
                client.payload = self._payload(64)
                client.begin()
                await client.done

        started = perf_counter()
        await asyncio.gather(*(open_one(each) for each in range(len(self._kept), connections)))
        seconds = perf_counter() - started
        return {"seconds": seconds, "failed": failed, "open": self._alive()}

    async def listen(self, address: str, path: str, connections: int) -> Json:
        """Open connections that only listen."""
        for _ in range(connections):
            self._listening.append(
                await picows.ws_connect(
                    lambda: _Listener(self._ages),
                    f"ws://{address}{path}",
                    websocket_handshake_timeout=60,
                    read_buffer_init_size=1024,
                )
            )
        return {"open": len(self._listening)}

    async def heard(self, messages: int) -> Json:
        """Tell how old messages were, once so many have come since the last time; seconds."""
        while len(self._ages) < messages:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        ages = sorted(self._ages)
        self._ages.clear()
        assert len(ages) == messages, f"{len(ages)} messages arrived instead of {messages}"
        return {
            "p50": ages[len(ages) // 2],
            "p99": ages[len(ages) * 99 // 100],
            "largest": ages[-1],
        }

    async def release(self) -> Json:
        """Close every connection that is held; tell how many messages they had received."""
        received = sum(client.received for client in self._kept)
        alive = self._alive()
        await asyncio.gather(*(_leave(client) for client in self._kept))
        self._kept.clear()
        return {"received": received, "open": alive}

    async def churn(self, address: str, connections: int, at_once: int) -> Json:
        """Open and close so many connections, so many at once; tell the seconds."""
        places = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with places:
                await _leave(await self._connect(address, "/churn"))

        started = perf_counter()
        await asyncio.gather(*(one() for _ in range(connections)))
        return {"seconds": perf_counter() - started}

    async def _connect(self, address: str, path: str, number: int = 0) -> Client:
        return await connect(Client, address, path, number)

    def _payload(self, size: int) -> bytes:
        return b"x" * size

    def _alive(self) -> int:
        return sum(not client.transport.is_disconnected for client in self._kept)


async def connect(kind: type[Client], address: str, path: str, number: int) -> Client:
    """Return a client that is connected; the number says from which address."""
    options: dict[str, Any] = {}
    if number >= _PORTS:
        options["local_addr"] = (f"127.0.0.{number // _PORTS + 1}", 0)
    _, client = await picows.ws_connect(
        kind,
        f"ws://{address}{path}",
        websocket_handshake_timeout=60,
        read_buffer_init_size=1024,
        **options,
    )
    assert isinstance(client, Client)
    return client


async def _leave(client: Client) -> None:
    client.transport.send_close(picows.WSCloseCode.OK)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(client.transport.wait_disconnected(), 30)


async def _obey(clients: Clients) -> None:
    """Answer commands until stdin ends. Pings are answered meanwhile."""
    output = own_output()
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        answer = await getattr(clients, command.pop("do"))(**command)
        print(json.dumps(answer), file=output, flush=True)


def run(kind: type[Clients]) -> None:
    """Run clients as a program."""

    async def main() -> None:
        await _obey(kind())

    raise_limit()
    uvloop.install()
    asyncio.run(main())


if __name__ == "__main__":
    run(Clients)
