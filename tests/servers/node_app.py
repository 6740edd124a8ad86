"""One node of several: what a client says is published, and every node tells its own clients.

From the environment: ``NODE_BUS`` is the broker's URL, ``NODE_MODE`` Redis's mode, ``NODE_SPANS`` a
file that gets a line of JSON for each span.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, WebSocket
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from asgi_ws_observe import observe
from asgi_ws_observe.fanout import FanoutChannel, Hub

__all__ = ["app"]

ROOM = "room:general"


class Lines(SpanExporter):
    """Writes spans into a file, one at a time."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append a line for each."""
        with Path(os.environ["NODE_SPANS"]).open("a", encoding="utf-8") as file:
            for span in spans:
                line = {
                    "name": span.name,
                    "trace": f"{span.context.trace_id:032x}",
                    "span": f"{span.context.span_id:016x}",
                    "parent": f"{span.parent.span_id:016x}" if span.parent else None,
                    "start": span.start_time,
                    "end": span.end_time,
                    "attributes": dict(span.attributes or {}),
                }
                file.write(json.dumps(line) + "\n")
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Lines()))


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
