"""What open and idle connections hold in memory for their spans."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.sdk.trace import Span, TracerProvider
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.benchmarks.results import Effort, Json
from tests.support import ACCEPT, CONNECT, scope, text, until

__all__ = ["SHAPES", "spans"]

#: `Settings.connection_span`.
SHAPES: Final = ("nested", "linked", "off")


def spans(effort: Effort, progress: Callable[[str], None]) -> Json:
    """Return what an open connection holds by `Settings.connection_span`, above `off`: bytes."""
    found = {}
    for shape in SHAPES:
        found[shape] = asyncio.run(_held(effort.scraped, shape))
        progress(shape)
    return {
        "connections": effort.scraped,
        "bytes": {shape: round(size - found["off"][0]) for shape, (size, _) in found.items()},
        "spans": {shape: live for shape, (_, live) in found.items()},
    }


async def _held(connections: int, shape: str) -> tuple[float, int]:
    """Return the bytes of one connection that has had a message, and how many spans live."""
    waiting = 0
    leave = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal waiting
        await receive()
        await send(ACCEPT)
        await receive()
        waiting += 1
        await receive()

    async def connect() -> None:
        events = [CONNECT, text("hello")]

        async def receive() -> Any:
            if not events:
                await leave.wait()
                return {"type": "websocket.disconnect", "code": 1000, "reason": ""}
            return events.pop(0)

        async def send(message: Any) -> None:
            pass

        await observed(scope(), receive, send)

    observed = WebSocketObserveMiddleware(
        app,
        settings=Settings(
            log_handler="off", log_open=False, log_close=False, connection_span=shape, probe="off"
        ),
        registry=CollectorRegistry(),
        tracer_provider=TracerProvider(),
    )
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tasks = [asyncio.create_task(connect()) for _ in range(connections)]
        await until(lambda: waiting == connections, 60)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    spans = sum(isinstance(each, Span) for each in gc.get_objects())
    leave.set()
    await asyncio.gather(*tasks)
    return (after - before) / connections, spans
