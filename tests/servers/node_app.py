"""One node of several: what a client says is published, and every node tells its own clients.

From the environment: ``NODE_BUS`` is the broker's URL, ``NODE_MODE`` Redis's mode, ``NODE_SPANS`` a
file that gets a line of JSON for each span.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, WebSocket

from asgi_ws_observe import observe
from asgi_ws_observe.fanout import FanoutChannel, Hub
from tests.servers.span_file import provider_of

__all__ = ["app"]

ROOM = "room:general"


provider = provider_of(os.environ["NODE_SPANS"])


def channel_of(url: str) -> FanoutChannel:
    """Return the channel over the broker at a URL, with little patience."""
    patience: dict[str, Any] = {"silence": 0.5, "timeout": 2.0, "backoff": 0.5}
    settings = {"probe_interval": 0.5, "tracer_provider": provider, **patience}
    if url.startswith("nats:"):
        from asgi_ws_observe.fanout.nats import NatsChannel

        return NatsChannel(url, **settings)
    from asgi_ws_observe.fanout.redis import RedisChannel

    return RedisChannel(url, mode=os.environ.get("NODE_MODE", "pubsub"), **settings)


channel = channel_of(os.environ["NODE_BUS"])
hub = Hub()
#: How long each message was on its way, by the test's own clocks, seconds.
truth: list[float] = []


async def deliver() -> None:
    """Hand on what comes, and measure it without the library."""
    async with channel.subscribe(ROOM) as deliveries:
        async for delivery in deliveries:
            truth.append(time.time() - delivery.body["sent"])
            with delivery:
                hub.deliver(delivery)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Deliver as long as the application lives."""
    async with channel, hub:
        task = asyncio.create_task(deliver())
        yield
        task.cancel()
        await asyncio.wait([task])


app = observe(FastAPI(lifespan=lifespan, telemetry={"tracing": False}), tracer_provider=provider)


@app.get("/truth")
async def measured() -> list[float]:
    """Return how long messages were on their way."""
    return truth


@app.get("/tasks")
async def tasks() -> list[str]:
    """Return the names of the channel's tasks."""
    return sorted(
        task.get_name().split()[0]
        for task in asyncio.all_tasks()
        if task.get_name().startswith("ws_fanout")
    )


@app.websocket("/ws")
async def chat(websocket: WebSocket) -> None:
    """Publish what the client says."""
    await websocket.accept()
    async with hub.join(ROOM, websocket):
        async for text in websocket.iter_text():
            await channel.publish(ROOM, {"text": text, "sent": time.time()})
