"""The demo with faults of its own: each is off until somebody turns it on.

``PUT /laboratory?block=0.4`` turns one on (a field of `Faults`), 0 turns it off. ``/feed`` is a
route beside the demo's: a server that pushes, as market data do.
"""

from __future__ import annotations

import asyncio
import functools
import os
import resource
import time
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Depends, FastAPI, Request, WebSocket, WebSocketDisconnect, WebSocketException

from asgi_ws_observe.fanout import redis
from demo_app.app import create_app as create_demo
from demo_app.chat import Conversation
from demo_app.rooms import Event, Rooms

__all__ = ["Faults", "create_app"]

#: Bytes of one message of the feed, and seconds between two.
_FEED: Final = (16384, 0.05)


@dataclass
class Faults:
    """What is wrong just now.

    Attributes:
        block: For how long a chat message blocks the event loop, seconds.
        handler: For how long its handler waits for something else, seconds.
        hang: Whether that never comes.
        refuse: Whether the check of who connects says no to everybody.
        broken: Whether that check raises.
        check: For how long it takes, seconds.
        tick: Messages a second that the server sends to each room by itself.
    """

    block: float = 0.0
    handler: float = 0.0
    hang: float = 0.0
    refuse: float = 0.0
    broken: float = 0.0
    check: float = 0.0
    tick: float = 0.0


class _Faulty(Conversation):
    """A conversation whose handler of chat messages has the faults."""

    async def _chat(self, message: Event) -> None:
        faults: Faults = self._websocket.app.state.faults
        if faults.block:
            time.sleep(faults.block)  # noqa: ASYNC251
        if faults.handler:
            await asyncio.sleep(faults.handler)
        if faults.hang:
            await asyncio.Event().wait()
        await super()._chat(message)


def create_app() -> FastAPI:
    """Return it; ``LABORATORY_FILES`` bounds its descriptors, ``LABORATORY_PROBE`` is in seconds."""
    if files := os.environ.get("LABORATORY_FILES"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), int(files)))
    if probe := os.environ.get("LABORATORY_PROBE"):
        # The demo asks for the channel by this name, and leaves the interval at its default.
        channel = functools.partial(redis.RedisChannel, probe_interval=float(probe))
        vars(redis)["RedisChannel"] = channel
    app = create_demo()
    app.state.faults = Faults()
    app.state.open = set()
    app.state.ticker = None
    _serve_faults(app)
    _serve_sockets(app)
    # The first route that fits is taken.
    app.router.routes.insert(0, app.router.routes.pop())
    return app


def _serve_faults(app: FastAPI) -> None:
    @app.put("/laboratory")
    async def change(request: Request) -> dict[str, Any]:
        faults: Faults = app.state.faults
        for name, value in request.query_params.items():
            setattr(faults, name, float(value))
        if app.state.ticker is None and faults.tick:
            app.state.ticker = asyncio.create_task(_tick(app.state.rooms, faults))
        return vars(faults)

    @app.put("/laboratory/drain")
    async def drain() -> int:
        going = list(app.state.open)
        await asyncio.gather(*(websocket.close(1001) for websocket in going))
        return len(going)


def _serve_sockets(app: FastAPI) -> None:
    async def known(websocket: WebSocket) -> None:
        faults: Faults = app.state.faults
        if faults.check:
            await asyncio.sleep(faults.check)
        if faults.broken:
            raise ConnectionError("the service that knows the users does not answer")
        if faults.refuse:
            raise WebSocketException(1008, "who are you?")

    @app.websocket("/feed")
    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        size, pause = _FEED
        try:
            while True:
                await websocket.send_bytes(bytes(size))
                await asyncio.sleep(pause)
        except (WebSocketDisconnect, OSError):
            return

    @app.websocket("/rooms/{room}", dependencies=[Depends(known)])
    async def join(websocket: WebSocket, room: str) -> None:
        app.state.open.add(websocket)
        try:
            await _Faulty(websocket, app.state.rooms, room).run()
        finally:
            app.state.open.discard(websocket)


async def _tick(rooms: Rooms, faults: Faults) -> None:
    """Tell every room the time; with a rate of 0 it ends for ever, as a task that failed does."""
    while faults.tick:
        for room in rooms.here():
            rooms.deliver(room, {"type": "notice", "name": "clock", "text": "tick"}, rooms.id)
        await asyncio.sleep(1 / faults.tick)
