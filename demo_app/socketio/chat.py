"""The chat: the handlers of the namespace ``/``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import socketio
from opentelemetry import trace
from socketio.exceptions import ConnectionRefusedError as Refused

from ..protocol import DEFAULT_SLOW, MAX_NAME, MAX_SLOW, MAX_TEXT
from .people import People, Person
from .protocol import TOKEN, WATCHERS, ChatError, room_of, user_of
from .statistics import Statistics
from .store import Message, Store

__all__ = ["Chat", "text_of"]

logger = logging.getLogger("demo_app.socketio")
tracer = trace.get_tracer("demo_app")

#: Seconds that another client may take to acknowledge.
_PATIENCE: Final = 3.0

Answer = dict[str, Any]


class Chat:
    """What clients of this node say, and hear.

    Args:
        server: The Socket.IO server.
        store: Where messages are kept.
        people: Who is here.
        node: This node's name.
    """

    def __init__(
        self, server: socketio.AsyncServer, store: Store, people: People, node: str
    ) -> None:
        self._server = server
        self._store = store
        self._people = people
        self._node = node
        self._statistics = Statistics(store)

    def register(self) -> None:
        """Register the handlers."""
        for event, handler in {
            "connect": self._connect,
            "disconnect": self._disconnect,
            "join": self._join,
            "leave": self._leave,
            "say": self._say,
            "whisper": self._whisper,
            "ping-user": self._ping,
            "statistics": self._count,
            "slow": self._slow,
            "crash": self._crash,
        }.items():
            self._server.on(event, handler)

    async def _connect(self, sid: str, environ: Mapping[str, Any], auth: Any = None) -> None:
        given = auth if isinstance(auth, dict) else {}
        if given.get("token") != TOKEN:
            raise Refused(f"Wrong token. This demo's is “{TOKEN}”.")
        name = text_of(given, "name", MAX_NAME)
        if not name:
            raise Refused("A name, please.")
        await self._server.enter_room(sid, user_of(name))
        if given.get("watch"):
            await self._server.enter_room(sid, WATCHERS)
        self._people.came(sid, name)

    async def _disconnect(self, sid: str, *_: Any) -> None:
        self._people.went(sid)

    async def _join(self, sid: str, data: Any = None) -> Answer:
        room = text_of(data, "room", MAX_NAME)
        if not room:
            return {"error": "Which room?"}
        await self._out(self._people.get(sid))
        await self._server.enter_room(sid, room_of(room))
        self._people.moved(sid, room)
        try:
            history = await self._store.last(room)
        except Exception:
            logger.exception("what was said is not known")
            history = []
        return {"room": room, "history": history}

    async def _leave(self, sid: str, *_: Any) -> Answer:
        left = await self._out(self._people.get(sid))
        return {"left": left} if left else {"error": "You are in no room."}

    async def _out(self, person: Person) -> str:
        left = person.room
        if left:
            await self._server.leave_room(person.sid, room_of(left))
            self._people.moved(person.sid, "")
        return left

    async def _say(self, sid: str, data: Any = None) -> Answer:
        person, text = self._people.get(sid), text_of(data, "text", MAX_TEXT)
        if not person.room or not text:
            return {"error": "Say something, in a room."}
        message = self._message(person, text)
        answer: Answer = {"at": message["at"]}
        # A span of our own becomes a child of the event's span.
        with tracer.start_as_current_span("chat.say", attributes={"chat.length": len(text)}):
            try:
                await self._store.append(person.room, message)
            except Exception:
                logger.exception("a message is not kept")
                answer["warning"] = "Redis does not answer: only this node heard that."
            await self._server.emit("said", message, room=room_of(person.room))
        return answer

    def _message(self, person: Person, text: str) -> Message:
        identity = trace.get_current_span().get_span_context()
        return {
            "name": person.name,
            "text": text,
            "room": person.room,
            "at": time.time(),
            "node": self._node,
            # The page leads from a message to its trace.
            "trace": f"{identity.trace_id:032x}" if identity.is_valid else "",
        }

    async def _whisper(self, sid: str, data: Any = None) -> Answer:
        to, text = text_of(data, "to", MAX_NAME), text_of(data, "text", MAX_TEXT)
        if not to or not text:
            return {"error": "To whom?"}
        heard = asyncio.get_running_loop().create_future()

        def acknowledged(*_: Any) -> None:
            # By each client of that user; the first counts.
            if not heard.done():
                heard.set_result(time.perf_counter())

        began = time.perf_counter()
        message = self._message(self._people.get(sid), text)
        await self._server.emit("whispered", message, room=user_of(to), callback=acknowledged)
        try:
            return {"ms": (await asyncio.wait_for(heard, _PATIENCE) - began) * 1000}
        except asyncio.TimeoutError:
            return {"error": f"{to} did not hear that."}

    async def _ping(self, sid: str, data: Any = None) -> Answer:
        began = time.perf_counter()
        asking = {"name": self._people.get(sid).name, "node": self._node}
        try:
            await self._server.call("poke", asking, to=text_of(data, "to", 64), timeout=_PATIENCE)
        except socketio.exceptions.TimeoutError:
            return {"error": "No answer."}
        return {"ms": (time.perf_counter() - began) * 1000}

    async def _count(self, sid: str, *_: Any) -> Answer:
        room = self._people.get(sid).room
        return {"room": room, **await self._statistics.of_room(room)}

    async def _slow(self, sid: str, data: Any = None) -> Answer:
        wanted = data.get("seconds") if isinstance(data, dict) else None
        seconds = wanted if isinstance(wanted, (int, float)) else DEFAULT_SLOW
        seconds = max(0.0, min(seconds, MAX_SLOW))
        await asyncio.sleep(seconds)
        return {"seconds": seconds}

    async def _crash(self, sid: str, *_: Any) -> None:
        raise ChatError(f"{self._people.get(sid).name} asked the handler to raise")


def text_of(data: Any, key: str, most: int) -> str:
    """Return a text that a client sent, empty where there is none."""
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, str):
        return ""
    # JSON may name halves of a character, which no text can have.
    whole = value.encode("utf-8", "replace").decode()
    return "".join(each for each in whole if each.isprintable())[:most].strip()
