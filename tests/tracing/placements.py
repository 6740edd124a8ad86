"""Applications that something else traces as well: where it stands, and the tree that comes of it.

The trees are those of a client that says two things of the type ``chat`` and leaves with 1000,
whose address has a trace context of its own in the query string.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Span
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_ws_observe import Settings, WebSocketObserveMiddleware

#: What the client of `Placement.tree` says, twice, and the trace that it claims to be in.
CHAT: Final = '{"type":"chat","text":"hello"}'
CLAIMED: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUERY: Final = f"traceparent={CLAIMED}"

Handler = Callable[[WebSocket], Awaitable[None]]
Build = Callable[["Parts"], ASGIApp]

# Nobody else makes spans inside the connection's.
_OURS: Final = """\
{server} -> client
  ws.message chat CONSUMER
    work INTERNAL
  ws.message chat CONSUMER
    work INTERNAL"""
_BELOW_OWN: Final = """\
own INTERNAL
  {server} -> client
    ws.message chat CONSUMER
      work INTERNAL
    ws.message chat CONSUMER
      work INTERNAL"""
_NATIVE: Final = """\
{server} -> client
  fastapi.dependencies INTERNAL
  fastapi.endpoint INTERNAL
    ws.message chat CONSUMER
      work INTERNAL
    ws.message chat CONSUMER
      work INTERNAL"""
# OpenTelemetry's package makes a span of each receive, which ends before the handler runs, and of
# each send.
_INSIDE_THEIRS: Final = """\
{server} -> client
  {theirs} websocket receive INTERNAL
  {theirs} websocket send INTERNAL
  {theirs} websocket receive INTERNAL
  ws.message chat CONSUMER
    work INTERNAL
      {theirs} websocket send INTERNAL
  {theirs} websocket receive INTERNAL
  ws.message chat CONSUMER
    work INTERNAL
      {theirs} websocket send INTERNAL
  {theirs} websocket receive INTERNAL"""
# The span that is current in the handler is the one before their receive: what they make current
# for the time of it, and what is made current inside it, they take back.
_AROUND_THEIRS: Final = """\
{server} -> client
  {theirs} INTERNAL
    {theirs} websocket receive INTERNAL
    {theirs} websocket send INTERNAL
    {theirs} websocket receive INTERNAL
      ws.message chat CONSUMER
    work INTERNAL
      {theirs} websocket send INTERNAL
    {theirs} websocket receive INTERNAL
      ws.message chat CONSUMER
    work INTERNAL
      {theirs} websocket send INTERNAL
    {theirs} websocket receive INTERNAL"""


class Passes:
    """Stands where the middleware would, and does nothing."""

    def __init__(self, app: ASGIApp, **_: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


@dataclass
class Parts:
    """What an application is built from.

    Attributes:
        provider: Whose tracers everybody uses.
        handler: Serves ``/rooms/{room}``. Default: `chat`.
        hook: OpenTelemetry's ``server_request_hook``.
        settings: Fields of `Settings`.
        observed: Whether the middleware is there.
        undo: What takes back the changes to others' modules.
    """

    provider: TracerProvider
    handler: Handler | None = None
    hook: Callable[[Span, dict[str, Any]], None] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    observed: bool = True
    undo: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ours: dict[str, Any] = {
            "registry": CollectorRegistry(),
            "settings": Settings(log_handler="off", **self.settings),
            "tracer_provider": self.provider,
        }
        self._middleware: Any = WebSocketObserveMiddleware if self.observed else Passes

    @property
    def theirs(self) -> dict[str, Any]:
        """Arguments of an instrumentation of OpenTelemetry's."""
        return {"tracer_provider": self.provider, "server_request_hook": self.hook}

    def starlette(self) -> Starlette:
        """Return an application that nobody traces."""
        return Starlette(routes=[WebSocketRoute("/rooms/{room}", self.handler or self.chat)])

    def fastapi(self, *, native: bool) -> FastAPI:
        """Return an application of FastAPI's, which traces itself or not."""
        app = FastAPI(telemetry={"tracer_provider": self.provider, "tracing": native})
        app.websocket("/rooms/{room}")(self.handler or self.chat)
        return app

    def add(self, app: Starlette) -> None:
        """Add the middleware."""
        app.add_middleware(self._middleware, **self._ours)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Put the middleware around an application."""
        wrapped: ASGIApp = self._middleware(app, **self._ours)
        return wrapped

    def instrument_fastapi(self, app: FastAPI) -> None:
        """Instrument one application with OpenTelemetry's package for FastAPI."""
        FastAPIInstrumentor.instrument_app(app, **self.theirs)
        self.undo.append(lambda: FastAPIInstrumentor.uninstrument_app(app))

    def instrument_starlette(self, app: Starlette) -> None:
        """Instrument one application with OpenTelemetry's package for Starlette."""
        StarletteInstrumentor.instrument_app(app, **self.theirs)
        self.undo.append(lambda: StarletteInstrumentor.uninstrument_app(app))

    async def chat(self, websocket: WebSocket) -> None:
        """Send everything back, in a span for each; behave otherwise in rooms with a special name.

        ``refused`` is refused, in ``closed`` the first message closes with 1011, in ``broken`` it
        raises, and in ``uncaught`` the disconnect is not caught.
        """
        room = websocket.path_params["room"]
        if room == "refused":
            await websocket.close()
            return
        await websocket.accept()
        try:
            while True:
                said = await websocket.receive_text()
                with self.provider.get_tracer("application").start_as_current_span("work"):
                    if room == "closed":
                        await websocket.close(1011)
                        return
                    if room == "broken":
                        raise LookupError(room)
                    await websocket.send_text(said)
        except WebSocketDisconnect:
            if room == "uncaught":
                raise


@dataclass(frozen=True)
class Placement:
    """One way of tracing beside ours.

    Attributes:
        build: Makes the application.
        tree: What comes of it, as `drawn` draws it.
        server: What `tree` shows of the connection's span.
        adopted: Whether that is somebody else's.
        prefix: What is in front of ``/rooms/{room}``.
        route: What ``http.route`` says.
        unmatched: The connection's span where no route matches the path.
        exceptions: How often an exception is an event of the connection's span.
    """

    build: Build
    tree: str
    server: str
    adopted: bool
    prefix: str
    route: str
    unmatched: str
    exceptions: int


@dataclass(frozen=True)
class Seen:
    """A span, wherever it was exported to.

    Attributes:
        label: Name, kind and status.
        trace: Its trace's id.
        id: Its id.
        parent: Its parent's id, 0 for none.
        links: Ids of the spans that it is linked to.
        start: When it started, nanoseconds.
        attributes: Its attributes.
    """

    label: str
    trace: int
    id: int
    parent: int
    links: tuple[int, ...]
    start: int
    attributes: Mapping[str, Any]


def label(name: str, kind: str, status: str) -> str:
    """Return what a tree shows of a span; a status that nobody has set is not shown."""
    return f"{name} {kind}" if status == "UNSET" else f"{name} {kind} {status}"


def seen(span: ReadableSpan) -> Seen:
    """Take a span of the SDK's."""
    context = span.get_span_context()
    assert context is not None
    return Seen(
        label(span.name, span.kind.name, span.status.status_code.name),
        context.trace_id,
        context.span_id,
        span.parent.span_id if span.parent else 0,
        tuple(link.context.span_id for link in span.links),
        span.start_time or 0,
        dict(span.attributes or {}),
    )


def drawn(spans: Iterable[Seen]) -> str:
    """Draw spans by their parents, two spaces a level, in the order of their starts.

    Behind ``->`` stand the names of those that a span is linked to, ``client`` for the one that the
    client claims to be. A parent that was not exported is shown as well.
    """
    ordered = sorted(spans, key=lambda span: span.start)
    names = {span.id: span.label.partition(" SERVER")[0] for span in ordered}
    names[int(CLAIMED.split("-")[2], 16)] = "client"

    def below(parent: int, indent: str) -> Iterable[str]:
        for span in ordered:
            if span.parent == parent:
                linked = "".join(f" -> {names.get(link, 'unknown')}" for link in span.links)
                yield f"{indent}{span.label}{linked}"
                yield from below(span.id, indent + "  ")

    missing = {span.parent for span in ordered} - {span.id for span in ordered} - {0}
    lost = [line for each in missing for line in ("(not exported)", *below(each, "  "))]
    return "\n".join([*below(0, ""), *lost])


#: Every placement by its name.
PLACEMENTS: Final[dict[str, Placement]] = {}


def _placement(
    tree: str,
    name: str = "ws.upgrade /rooms/{room}",
    *,
    theirs: str = "",
    adopted: bool = False,
    prefix: str = "",
    route: str = "/rooms/{room}",
    unmatched: str = "ws.upgrade",
    exceptions: int = 1,
) -> Callable[[Build], Build]:
    """Put a placement into the table, under its function's name.

    Args:
        tree: The template of the tree.
        name: The connection's span.
        theirs: How the others' spans begin.
        adopted: As in `Placement`, like what follows.
    """
    server = f"{name} SERVER OK" if adopted else f"{name} SERVER"

    def put(build: Build) -> Build:
        drawing = tree.format(server=server, theirs=theirs)
        PLACEMENTS[build.__name__] = Placement(
            build, drawing, server, adopted, prefix, route, unmatched, exceptions
        )
        return build

    return put


_inside_fastapi_instrumentor: Final = _placement(
    _INSIDE_THEIRS,
    "HTTP /rooms/{room}",
    theirs="HTTP /rooms/{room}",
    adopted=True,
    unmatched="HTTP",
    exceptions=2,
)


# What is added last is outermost.


@_placement(_OURS)
def ours_alone(parts: Parts) -> ASGIApp:
    """Nobody else traces."""
    app = parts.starlette()
    parts.add(app)
    return app


@_placement(_NATIVE, "WS /rooms/{room}", adopted=True, unmatched="WS")
def native_added(parts: Parts) -> ASGIApp:
    """FastAPI's telemetry is around all that is added to the application."""
    app = parts.fastapi(native=True)
    parts.add(app)
    return app


@_placement(_OURS)
def native_outermost(parts: Parts) -> ASGIApp:
    """FastAPI's telemetry finds the connection taken and makes nothing."""
    return parts.around(parts.fastapi(native=True))


@_placement(_OURS, "ws.upgrade /api/rooms/{room}", prefix="/api", route="/api/rooms/{room}")
def native_mounted(parts: Parts) -> ASGIApp:
    """The same, further out."""
    app = Starlette(routes=[Mount("/api", app=parts.fastapi(native=True))])
    parts.add(app)
    return app


# FastAPI writes its own idea of the route last, and knows nothing of what is around it.
@_placement(_NATIVE, "WS /rooms/{room}", adopted=True, prefix="/api", unmatched="WS")
def native_mounted_added(parts: Parts) -> ASGIApp:
    """An application with FastAPI's telemetry and ours is mounted in one that has neither."""
    return Starlette(routes=[Mount("/api", app=native_added(parts))])


@_inside_fastapi_instrumentor
def native_and_instrumentor(parts: Parts) -> ASGIApp:
    """FastAPI's telemetry makes way for OpenTelemetry's package for FastAPI."""
    app = parts.fastapi(native=True)
    parts.add(app)
    parts.instrument_fastapi(app)
    return app


@_inside_fastapi_instrumentor
def fastapi_instrumentor_first(parts: Parts) -> ASGIApp:
    """OpenTelemetry's package for FastAPI is outermost, whenever it comes."""
    app = parts.fastapi(native=False)
    parts.instrument_fastapi(app)
    parts.add(app)
    return app


@_inside_fastapi_instrumentor
def fastapi_instrumentor_last(parts: Parts) -> ASGIApp:
    """The same."""
    app = parts.fastapi(native=False)
    parts.add(app)
    parts.instrument_fastapi(app)
    return app


@_placement(_AROUND_THEIRS, theirs="HTTP /rooms/{room}")
def fastapi_instrumentor_outermost(parts: Parts) -> ASGIApp:
    """What is around the application itself is around OpenTelemetry's package too."""
    app = parts.fastapi(native=False)
    parts.instrument_fastapi(app)
    return parts.around(app)


@_placement(_AROUND_THEIRS, theirs="/rooms/{room}")
def starlette_instrumentor_first(parts: Parts) -> ASGIApp:
    """OpenTelemetry's package for Starlette is a middleware like any other."""
    app = parts.starlette()
    parts.instrument_starlette(app)
    parts.add(app)
    return app


@_placement(_INSIDE_THEIRS, "/rooms/{room}", theirs="/rooms/{room}", adopted=True)
def starlette_instrumentor_last(parts: Parts) -> ASGIApp:
    """The other way round."""
    app = parts.starlette()
    parts.add(app)
    parts.instrument_starlette(app)
    return app


@_placement(
    _INSIDE_THEIRS,
    "ws.upgrade /api/rooms/{room}",
    theirs="/api",
    adopted=True,
    prefix="/api",
    route="/api/rooms/{room}",
)
def starlette_instrumentor_mounted(parts: Parts) -> ASGIApp:
    """OpenTelemetry's package for Starlette knows a mount and not the route inside it."""
    app = Starlette(routes=[Mount("/api", app=parts.starlette())])
    parts.add(app)
    parts.instrument_starlette(app)
    return app


@_placement(_INSIDE_THEIRS, theirs="HTTP /rooms/7", adopted=True)
def asgi_around(parts: Parts) -> ASGIApp:
    """OpenTelemetry's package for ASGI is around everything, and knows no routes."""
    app: ASGIApp = OpenTelemetryMiddleware(ours_alone(parts), **parts.theirs)
    return app


@_placement(_AROUND_THEIRS, theirs="HTTP /rooms/7")
def asgi_inside(parts: Parts) -> ASGIApp:
    """OpenTelemetry's package for ASGI was added first."""
    app = parts.starlette()
    app.add_middleware(OpenTelemetryMiddleware, **parts.theirs)
    parts.add(app)
    return app


@_placement(_BELOW_OWN)
def own_span_around(parts: Parts) -> ASGIApp:
    """A middleware of the application's has a span of its own around everything."""
    inner = ours_alone(parts)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await inner(scope, receive, send)
            return
        with parts.provider.get_tracer("application").start_as_current_span("own"):
            await inner(scope, receive, send)

    return app
