"""The demo with faults of its own: each is off until somebody turns it on.

``PUT /laboratory?handler=2`` turns one on (a field of `Faults`), 0 turns it off. ``/feed`` is a
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

#: For how long the handler of ``report`` blocks the event loop, seconds.
_BLOCK: Final = 0.35
#: Bytes of one message of the feed, and seconds between two.
_FEED: Final = (32768, 0.05)


@dataclass
class Faults:
    """What is wrong just now.

    Attributes:
        handler: For how long the handler of a chat message waits for something else, seconds.
        refuse: Whether the check of who connects says no to everybody.
        broken: Whether that check raises.
        check: For how long it takes, seconds.
        tick: Messages a second that the server sends to each room by itself.
    """

    handler: float = 0.0
    refuse: float = 0.0
    broken: float = 0.0
    check: float = 0.0
    tick: float = 0.0


class _Faulty(Conversation):
    """A conversation with two more kinds of messages, whose handlers are wrong in themselves."""

    def __init__(self, websocket: WebSocket, rooms: Rooms, room: str) -> None:
        super().__init__(websocket, rooms, room)
        self._handlers |= {"order": self._order, "report": self._report}

    async def _chat(self, message: Event) -> None:
        faults: Faults = self._websocket.app.state.faults
        if faults.handler:
            await asyncio.sleep(faults.handler)
        await super()._chat(message)

    async def _report(self, _: Event) -> None:
        # What should be in a thread holds up everybody.
        time.sleep(_BLOCK)  # noqa: ASYNC251

    async def _order(self, _: Event) -> None:
        # What it waits for has no timeout, and is gone.
        await asyncio.Event().wait()


def create_app() -> FastAPI:
    """Return it; ``LABORATORY_FILES`` bounds its files, ``LABORATORY_PROBE`` is in seconds."""
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
