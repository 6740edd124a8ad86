"""A conversation with a python-socketio server, and all that both sides saw of it."""

from __future__ import annotations

import asyncio
import socketserver
import threading
import wsgiref.simple_server
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import socketio
from aiohttp import web
from socketio.exceptions import ConnectionError as NotConnected
from socketio.exceptions import ConnectionRefusedError as Refused

from tests.servers.socketio_nodes import reading
from tests.support import until

__all__ = ["SAYINGS", "Desk", "by_aiohttp", "seen_by_both", "talking", "threads"]

#: What a handler does: it yields what the server's methods return, and is given their results.
Steps = Generator[Any, Any, Any]

NAMESPACES: Final = ("/", "/own", "/any")
#: What the client says in the namespace ``/``, and gets an answer to.
SAYINGS: Final[tuple[tuple[Any, ...], ...]] = (
    ("echo",),
    ("echo", None),
    ("echo", "grüß", 1.5, [1, {"a": None}]),
    ("echo", b"\x00\xff", {"in": b"x"}, "text"),
    ("plain", "a function"),
    ("many", 1),
    ("room", "room:1"),
    ("ask", "colour?"),
    ("save", {"user": 7}),
)


class Desk:
    """The handlers of a server, for asyncio or for threads.

    Args:
        server: The server.

    Attributes:
        seen: What each handler was given, with the very types.
    """

    def __init__(self, server: Any) -> None:
        self.server = server
        self.seen: dict[str, list[Any]] = defaultdict(list)
        self._awaits = isinstance(server, socketio.AsyncServer)
        server.on("connect", self._connect)
        server.on("disconnect", self._disconnect)
        server.on("plain", self._plain)
        for event in ("echo", "many", "room", "ask", "save", "explode", "bye"):
            server.on(event, self._driven(getattr(self, f"_{event}")))
        server.on("connect", self._driven(self._refuse), namespace="/closed")
        server.on("*", self._driven(self._any), namespace="/any")
        server.register_namespace((Own if self._awaits else ThreadOwn)(self))

    def note(self, handler: str, *args: Any) -> None:
        """Keep what a handler was given."""
        self.seen[handler].append([(type(each), each) for each in args])

    def _driven(self, function: Callable[..., Steps]) -> Callable[..., Any]:
        def handler(*args: Any) -> Any:
            steps, result = function(*args), None
            with _ending() as end:
                while True:
                    result = steps.send(result)
            return end[0]

        async def coroutine(*args: Any) -> Any:
            steps, result = function(*args), None
            with _ending() as end:
                while True:
                    result = await steps.send(result)
            return end[0]

        return coroutine if self._awaits else handler

    def _connect(self, sid: str, environ: Any, auth: Any) -> None:
        self.note("connect", auth)

    def _disconnect(self, sid: str, reason: str) -> None:
        self.note("disconnect", reason)

    def _plain(self, sid: str, *args: Any) -> str:
        self.note("plain", *args)
        return "plain"

    def _refuse(self, sid: str, environ: Any) -> Steps:
        raise Refused("closed", {"until": 7})
        yield

    def _echo(self, sid: str, *args: Any) -> Steps:
        self.note("echo", *args)
        return args
        yield

    def _many(self, sid: str, *args: Any) -> Steps:
        return [*args]
        yield

    def _any(self, event: str, sid: str, *args: Any) -> Steps:
        self.note("any", event, *args)
        return event
        yield

    def _room(self, sid: str, room: str) -> Steps:
        server = self.server
        yield server.enter_room(sid, room)
        rooms = server.rooms(sid)
        for data in ("one", ("two", 2), None, [1, 2], b"\x01"):
            yield server.emit("said", data, room=room)
        yield server.emit("said", "to all", skip_sid="nobody")
        yield server.send("a message", to=sid)
        yield server.leave_room(sid, room)
        yield server.emit("said", "to nobody", room=room)
        yield server.close_room(room)
        return [each for each in rooms if each != sid]

    def _ask(self, sid: str, *args: Any) -> Steps:
        server, done = self.server, self.server.eio.create_event()

        def answered(*answers: Any) -> None:
            self.note("answered", *answers)
            done.set()

        yield server.emit("question", args, to=sid, callback=answered)
        if not server.async_handlers:
            return "cannot wait"
        yield done.wait()
        return (yield server.call("question", args, to=sid, timeout=5))

    def _save(self, sid: str, session: Any) -> Steps:
        yield self.server.save_session(sid, session)
        return (yield self.server.get_session(sid))

    def _explode(self, sid: str) -> Steps:
        self.note("explode")
        raise KeyError("the handler fails")
        yield

    def _bye(self, sid: str) -> Steps:
        yield self.server.disconnect(sid)


@contextmanager
def _ending() -> Iterator[list[Any]]:
    """Take in what a generator returns, at the end of the block."""
    found: list[Any] = []
    try:
        yield found
    except StopIteration as end:
        found.append(end.value)


class Own(socketio.AsyncNamespace):  # type: ignore[misc]
    """A namespace that dispatches by itself."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("/own")
        self._desk = desk

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Take everything."""
        return dispatched(self._desk, event, *args)


class ThreadOwn(socketio.Namespace):  # type: ignore[misc]
    """The same for threads."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("/own")
        self._desk = desk

    def trigger_event(self, event: str, *args: Any) -> Any:
        """Take everything."""
        return dispatched(self._desk, event, *args)


def dispatched(desk: Desk, event: str, *args: Any) -> str | None:
    """Answer to everything but those that connect and leave."""
    reserved = event in ("connect", "disconnect")
    desk.note("own", event, *(() if reserved else args[1:]))
    return None if reserved else f"own {event}"


@asynccontextmanager
async def talking(address: str, transport: str, **options: Any) -> AsyncIterator[Any]:
    """Return a client that keeps what it hears, as ``heard``, and answers questions."""
    async with reading() as session:
        sio = socketio.AsyncClient(reconnection=False, http_session=session, **options)
        sio.heard = []

        def hear(namespace: str, event: str) -> Callable[..., None]:
            return lambda *args: sio.heard.append((namespace, event, *args))

        async def question(*args: Any) -> Any:
            sio.heard.append(("/", "question", *args))
            return "blue", len(args)

        for event in ("said", "message", "disconnect"):
            sio.on(event, hear("/", event))
        sio.on("question", question)
        for event in ("connect_error", "disconnect"):
            sio.on(event, hear("/closed", event), namespace="/closed")
        sio.address, sio.transports = f"http://{address}", [transport]
        yield sio
        await sio.disconnect()


async def seen_by_both(desk: Desk, sio: Any) -> dict[str, Any]:
    """Talk, and return what both sides saw, in an order that is the same every time."""
    auth = {"user": "somebody"}
    await sio.connect(
        sio.address, auth=auth, transports=sio.transports, namespaces=[*NAMESPACES], wait_timeout=10
    )
    answers = [await sio.call(event, (*args,), timeout=10) for event, *args in SAYINGS]
    for namespace in NAMESPACES[1:]:
        answers.append(await sio.call("thing", ("x", b"y"), namespace=namespace, timeout=10))
    await sio.emit("explode")
    await sio.emit("nobodys")
    answers.append(await sio.call("echo", "still here", timeout=10))
    await until(lambda: desk.seen["answered"] and desk.seen["explode"])
    await sio.emit("bye")
    await until(lambda: desk.seen["disconnect"] and ("/", "disconnect") in _kinds(sio))
    await sio.disconnect()
    await until(lambda: desk.server.manager.rooms.keys().isdisjoint(NAMESPACES))
    heard, sio.heard = sio.heard, []
    try:
        await sio.connect(
            sio.address, transports=sio.transports, namespaces=["/closed"], wait_timeout=10
        )
    except NotConnected as error:
        answers.append(str(error))
    await until(lambda: sio.heard)
    return {"answers": answers, "heard": heard + sio.heard[:1], "seen": dict(desk.seen)}


def _kinds(sio: Any) -> list[tuple[str, str]]:
    return [each[:2] for each in sio.heard]


@contextmanager
def by_aiohttp(server: socketio.AsyncServer) -> Iterator[str]:
    """Serve a server without ASGI on a free port until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    def do(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

    async def end() -> None:
        await server.shutdown()
        await runner.cleanup()

    try:
        yield do(start())
    finally:
        do(end())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def threads(server: socketio.Server) -> Iterator[str]:
    """Serve a threaded server on a free port until the end of the block; by polling."""

    class Threads(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
        daemon_threads = True

    class Handler(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    app = socketio.WSGIApp(server)
    with wsgiref.simple_server.make_server("127.0.0.1", 0, app, Threads, Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{httpd.server_port}"
        finally:
            server.shutdown()
            httpd.shutdown()
            thread.join()
