"""One connection's part in a room."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable

from fastapi import WebSocket, WebSocketDisconnect
from opentelemetry import trace

from asgi_ws_observe import current_connection, current_message

from .protocol import (
    CLOSE_CODES,
    DEFAULT_SLOW,
    MAX_NAME,
    MAX_SLOW,
    MAX_TEXT,
    PRIVATE_ROOM,
    CrashRequestedError,
)
from .rooms import Event, Guest, Rooms

__all__ = ["Conversation"]

tracer = trace.get_tracer("demo_app")


class Conversation:
    """What one client says and hears, from its handshake to its close."""

    def __init__(self, websocket: WebSocket, rooms: Rooms, room: str) -> None:
        self._websocket = websocket
        self._rooms = rooms
        self._room = room
        self._guest: Guest
        self._is_kicked = False
        self._handlers: dict[str, Callable[[Event], Awaitable[None]]] = {
            "chat": self._chat,
            "typing": self._typing,
            "slow": self._slow,
            "crash": self._crash,
            "kick-me": self._kick,
        }

    async def run(self) -> None:
        """Hold the conversation."""
        if self._room == PRIVATE_ROOM or len(self._room) > MAX_NAME:
            await self._websocket.close()
            return
        await self._websocket.accept()
        current_connection().set("room", self._room)
        first = await self._receive()
        if first is None:
            return
        name = _name(first)
        if not name:
            await self._close(4000)
        elif (guest := self._rooms.join(self._room, name, self._websocket)) is None:
            await self._close(4002)
        else:
            self._guest = guest
            await self._take_part()

    async def _take_part(self) -> None:
        try:
            self._welcome()
            await self._announce("join")
            while (message := await self._receive()) is not None:
                # Whom the hub is closing, since they read too slowly, says nothing more.
                if self._guest.place.is_in:
                    await self._handlers.get(str(message.get("type")), self._unknown)(message)
                if self._is_kicked:
                    await self._close(4001)
                    return
        finally:
            await self._rooms.leave(self._guest)
            await self._announce("leave")

    async def _receive(self) -> Event | None:
        """Return the next message, an empty one for what is no JSON object, `None` at the end."""
        # Not receive_json: once a send failed, that no longer hands out what the client said
        # before it left.
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            return None
        message: Event = {}
        with contextlib.suppress(ValueError, RecursionError):
            given = json.loads(event.get("text") or "")
            message = given if isinstance(given, dict) else {}
        kind = str(message.get("type"))
        current_message().type = kind if kind == "join" or kind in self._handlers else "unknown"
        return message

    async def _close(self, code: int) -> None:
        with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
            await self._websocket.close(code, CLOSE_CODES[code])

    def _send(self, event: Event) -> None:
        # In order with what is said in the room. A client that is gone is no news: its disconnect
        # comes by _receive.
        self._guest.place.send(event)

    def _welcome(self) -> None:
        connection = current_connection()
        self._send(
            {
                "type": "welcome",
                "room": self._room,
                "name": self._guest.name,
                "connection": connection.id,
                "trace": connection.trace_id,
                "pid": os.getpid(),
                "node": self._rooms.node,
                "members": self._rooms.names(self._room),
                "history": self._rooms.history(self._room),
            }
        )

    async def _announce(self, kind: str) -> None:
        await self._rooms.publish(self._room, {"type": kind, "name": self._guest.name})

    # One handler for each type of message.

    async def _chat(self, message: Event) -> None:
        # JSON may name halves of a character, which no text can have.
        text = str(message.get("text", "")).encode("utf-8", "replace").decode()[:MAX_TEXT].strip()
        if not text:
            return
        # A span of our own becomes a child of the message's span.
        with tracer.start_as_current_span("chat.store", attributes={"chat.length": len(text)}):
            event = {"type": "chat", "name": self._guest.name, "text": text}
            everywhere = await self._rooms.publish(self._room, event)
        if not everywhere:
            self._send({"type": "notice", "text": "The bus is down: only this node heard that."})

    async def _typing(self, _: Event) -> None:
        await self._rooms.publish(self._room, {"type": "typing", "name": self._guest.name})

    async def _slow(self, message: Event) -> None:
        wanted = message.get("seconds", DEFAULT_SLOW)
        seconds = wanted if isinstance(wanted, (int, float)) else DEFAULT_SLOW
        seconds = max(0.0, min(seconds, MAX_SLOW))
        await asyncio.sleep(seconds)
        self._send({"type": "notice", "text": f"That handler took {seconds:g} s."})

    async def _crash(self, _: Event) -> None:
        raise CrashRequestedError(f"{self._guest.name} asked the handler to raise")

    async def _kick(self, _: Event) -> None:
        # From here on the room says nothing to them.
        await self._guest.place.leave()
        self._is_kicked = True

    async def _unknown(self, _: Event) -> None:
        self._send({"type": "notice", "text": "That message has no type that I know."})


def _name(message: Event) -> str:
    name = message.get("name")
    if message.get("type") != "join" or not isinstance(name, str):
        return ""
    return "".join(filter(str.isprintable, name)).strip()[:MAX_NAME].strip()
