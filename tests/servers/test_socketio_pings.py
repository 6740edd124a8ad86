"""Engine.IO's pings: a slow network and a slow client are told apart."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing

import pytest

from tests.servers.socketio_nodes import IS_TOLD, RawSocketIO, Since, Site, client, node
from tests.support import until, wait_until

RTT = "engineio_ping_rtt_seconds"
WAIT = "engineio_ping_queue_delay_seconds"
#: How long the network takes one way, seconds.
DELAY = 0.05


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run one node."""
    with node(tmp_path_factory.mktemp("node")) as found:
        yield found


@pytest.fixture(autouse=True)
def _alone(site: Site) -> None:
    """Wait until the clients of the test before have gone."""
    wait_until(lambda: 0 == site.number("socketio_connections_active"))


def mean(numbers: Since, name: str, transport: str = "websocket") -> float:
    """Return a histogram's mean."""
    labels = {"transport": transport}
    return numbers(f"{name}_sum", **labels) / numbers(f"{name}_count", **labels)


@asynccontextmanager
async def slow_line(address: str) -> AsyncIterator[str]:
    """Yield an address whose bytes take a while to and from another one."""
    host, _, port = address.partition(":")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                loop.call_later(DELAY, writer.write, data)
        loop.call_later(DELAY, writer.close)

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, out = await asyncio.open_connection(host, int(port))
        writers.extend((out, writer))
        await asyncio.gather(carry(reader, out), carry(far, writer))

    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(join, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        await asyncio.sleep(2 * DELAY)
        for writer in writers:
            # What is late on a busy machine would be found open when the loop is closed.
            writer.close()


@pytest.mark.parametrize("transport", ["websocket", "polling"] if IS_TOLD else ["websocket"])
async def test_delayed_network_is_a_long_round_trip(site: Site, transport: str) -> None:
    """Pings leave at once, and their answers take both ways."""
    numbers = Since(site)
    async with (
        slow_line(site.server.address) as address,
        client(site, "quick", address=address, transports=(transport,)),
    ):
        await until(lambda: numbers(f"{RTT}_count", transport=transport) >= 2)
        assert 2 * DELAY <= mean(numbers, RTT, transport) < 2 * DELAY + 0.2
        # A poll that is to take the ping away may be on its way still.
        assert mean(numbers, WAIT, transport) < 0.05 + 2 * DELAY * (transport == "polling")


def stall(seconds: float) -> None:
    """Read nothing for a while."""
    ends = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > ends)


def test_client_that_does_not_read_is_a_long_wait_in_the_queue(site: Site) -> None:
    """Its pings wait behind what was emitted; once they are out, the answer is quick.

    The server takes all out of the queue at once, to send one after the other: that is waiting
    still.
    """
    with closing(RawSocketIO(site)) as raw:
        raw.enter()
        numbers = Since(site)
        raw.emit("flood", 300)
        wait_until(lambda: site.number("engineio_queue_depth") > 100)
        stall(0.6)
        assert 0 == numbers(f"{WAIT}_count")
        while site.number("engineio_queue_depth") > 100:
            raw.skip(1 << 18)
        stall(0.6)
        # The text frame of a ping of Engine.IO.
        raw.skip_until(b"\x81\x012")
        raw.say("3")
        wait_until(lambda: 1 == numbers(f"{RTT}_count"))
        assert 0.9 < mean(numbers, WAIT) < 10
        assert mean(numbers, RTT) < 0.4


async def test_quick_client_has_neither(site: Site) -> None:
    """A round trip and a wait of milliseconds."""
    numbers = Since(site)
    async with client(site, "quick"):
        await until(lambda: numbers(f"{RTT}_count", transport="websocket") >= 3)
    assert numbers(f"{RTT}_bucket", transport="websocket", le="0.05") >= 2
    assert numbers(f"{WAIT}_bucket", transport="websocket", le="0.05") >= 2
