"""A process that only emits: python-socketio's write-only manager, without a server.

From the environment: ``SIO_BUS`` is Redis's URL, ``SIO_SPANS`` a file that gets a line of JSON for
each span. It emits as often as its argument says, and writes its metrics to stdout.
"""

from __future__ import annotations

import asyncio
import os
import sys

import socketio
from prometheus_client import generate_latest

from asgi_ws_observe.socketio import instrument_manager
from tests.servers.span_file import provider_of

__all__: list[str] = []


async def write(number: int) -> None:
    """Tell a room so many things."""
    manager = socketio.AsyncRedisManager(os.environ["SIO_BUS"], write_only=True)
    instrument_manager(
        manager, tracer_provider=provider_of(os.environ["SIO_SPANS"]), event_spans="all"
    )
    for each in range(number):
        await manager.emit("said", f"written {each}", room="room:one")
    await manager.redis.aclose()


if __name__ == "__main__":
    asyncio.run(write(int(sys.argv[1])))
    print(generate_latest().decode())
