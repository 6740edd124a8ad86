"""An application that does what the demo does not: it sends to who has left, and has an outbox.

``ODD_BUS`` in the environment is the URL of its Redis.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_ws_observe import observe
from asgi_ws_observe.fanout.redis import RedisChannel

__all__ = ["app"]

channel = RedisChannel(os.environ["ODD_BUS"], name="odd", mode="streams")


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    """Send to a client that has said goodbye, which hypercorn takes without a word."""
    await receive()
    await send({"type": "websocket.accept"})
    await channel.publish("odd", "somebody came")
    await receive()
    await send({"type": "websocket.send", "text": "too late"})


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Be connected to Redis as long as the application lives."""
    async with channel:
        yield


app = observe(Starlette(routes=[Mount("/deaf", app=deaf)], lifespan=lifespan))
