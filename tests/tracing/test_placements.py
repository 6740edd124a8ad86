"""Whoever else traces the same connection, and wherever: one trace, one span of the connection."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_ws_observe import WebSocketObserveMiddleware
from tests.support import ACCEPT, CONNECT, Server, Spans, disconnect, scope, text
from tests.tracing.placements import CHAT, CLAIMED, PLACEMENTS, QUERY, Parts, Placement, drawn, seen

Place = Callable[..., ASGIApp]

#: What OpenTelemetry logs where spans or contexts are used wrongly.
COMPLAINTS = ("detach", "different Context", "ended span", "Calling end()")
TALK = (text(CHAT), text(CHAT), disconnect(1000))


def placements(*, adopted: bool | None = None) -> pytest.MarkDecorator:
    """Run a test for all placements, or for those whose connection's span is adopted or is not."""
    chosen = {
        name: placement
        for name, placement in PLACEMENTS.items()
        if adopted is None or placement.adopted is adopted
    }
    return pytest.mark.parametrize("placement", chosen.values(), ids=chosen)


@pytest.fixture(autouse=True)
def _no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Hold in every test of this file that OpenTelemetry complains about nothing."""
    yield
    said = [record.getMessage() for record in caplog.get_records("call")]
    assert [] == [line for line in said if any(each in line for each in COMPLAINTS)]


@pytest.fixture
def place(spans: Spans) -> Iterator[Place]:
    """A function that builds a placement's application; others' modules are as before afterwards.

    It takes a placement or a function that builds one, and fields of `Parts`.
    """
    undo: list[Callable[[], None]] = []

    def build(placement: Placement | str, **more: Any) -> ASGIApp:
        given = PLACEMENTS[placement] if isinstance(placement, str) else placement
        fields: dict[str, Any] = {"provider": spans.provider, "undo": undo} | more
        return given.build(Parts(**fields))

    yield build
    for each in undo:
        each()


async def run(
    app: ASGIApp, path: str, *events: dict[str, Any], **more: Any
) -> tuple[list[Any], dict[str, Any]]:
    """Feed an application with what a server hands out; return what it sent, and the scope."""
    server, given = Server([CONNECT, *events]), scope(path, **more)
    await app(given, server.receive, server.send)
    return server.sent, given


def tree(spans: Spans) -> str:
    """Draw what was exported."""
    return drawn(map(seen, spans.all()))


def connection(spans: Spans) -> ReadableSpan:
    """Return the only span of the kind SERVER."""
    (span,) = (each for each in spans.all() if each.kind is SpanKind.SERVER)
    return span


def attributes(spans: Spans, *names: str) -> tuple[Any, ...]:
    """Return attributes of the connection's span, `None` for one that it has not."""
    found = connection(spans).attributes or {}
    return tuple(found.get(name) for name in names)


# The tree.


@placements()
async def test_placement_has_its_whole_tree(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """One trace with one span of the connection; messages and work stand where they belong."""
    path = f"{placement.prefix}/rooms/7"
    sent, _ = await run(place(placement), path, *TALK, query_string=QUERY.encode())
    assert ["websocket.accept", "websocket.send", "websocket.send"] == [
        each["type"] for each in sent
    ]
    assert placement.tree == tree(spans)
    assert 1 == len({seen(span).trace for span in spans.all()})
    assert placement.server.rpartition(" SERVER")[0] == connection(spans).name
    assert trace.INVALID_SPAN is trace.get_current_span()


@placements()
async def test_span_of_the_connection_is_enriched(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """Whoever made it, it says how the connection went."""
    await run(place(placement), f"{placement.prefix}/rooms/7", *TALK)
    (slowest,) = attributes(spans, "ws.handler_time.max")
    assert 0 < slowest < 10
    expected = {
        "ws.outcome": "normal",
        "ws.close_code": 1000,
        "ws.closed_by": "client",
        "ws.close_reason": "normal",
        "ws.messages.in": 2,
        "ws.messages.out": 2,
        "ws.messages.untraced": 0,
        "http.route": placement.route,
        "http.response.status_code": 101,
        "client.address": "192.0.2.7",
        "url.path": f"{placement.prefix}/rooms/7",
    }
    found = connection(spans).attributes or {}
    assert expected == {name: found.get(name) for name in expected}


@placements(adopted=True)
async def test_linked_shape_keeps_an_adopted_span(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """Messages are traces of their own with a link to it; it lives on and says how it all ended."""
    app = place(placement, settings={"connection_span": "linked"})
    await run(app, f"{placement.prefix}/rooms/7", *TALK)
    span = connection(spans)
    messages = [seen(each) for each in spans.named("ws.message")]
    assert [(0, (seen(span).id,))] * 2 == [(each.parent, each.links) for each in messages]
    assert 3 == len({seen(each).trace for each in spans.all()})
    assert [each.id for each in messages] == [seen(each).parent for each in spans.named("work")]
    assert [] == spans.named("ws.close")
    assert ("normal", 2) == attributes(spans, "ws.outcome", "ws.messages.in")


@placements(adopted=True)
async def test_sends_are_below_what_they_are_sent_in(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """Our spans of sends are beside the others'; the connection needs no link to itself."""
    app = place(placement, settings={"send_spans": True})
    await run(app, f"{placement.prefix}/rooms/7", *TALK)
    sends = [seen(each) for each in spans.named("ws.send")]
    works = [seen(each) for each in spans.named("work")]
    assert [(each.id, ()) for each in works] == [(each.parent, each.links) for each in sends]


async def test_receive_that_the_other_does_not_trace_leaves_the_message_current(
    spans: Spans, place: Place
) -> None:
    """Inside ours, OpenTelemetry's package hides messages, unless it is told to leave receives."""
    parts = Parts(spans.provider)
    inner = parts.starlette()
    inner.add_middleware(OpenTelemetryMiddleware, exclude_spans=["receive", "send"], **parts.theirs)
    await run(parts.around(inner), "/rooms/7", *TALK)
    works = [seen(each).parent for each in spans.named("work")]
    assert [seen(each).id for each in spans.named("ws.message")] == works


# Names.


@pytest.mark.parametrize("path", ["/rooms/7", "/rooms/a%b", "/rooms/my room", "/rooms/a\nb"])
async def test_name_with_the_raw_path_is_mended(spans: Spans, place: Place, path: str) -> None:
    """OpenTelemetry's package for ASGI has as many names as clients like."""
    await run(place("asgi_around"), path, *TALK)
    assert "ws.upgrade /rooms/{room}" == connection(spans).name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("native_added", "WS /rooms/{room}"),
        ("fastapi_instrumentor_last", "HTTP /rooms/{room}"),
        ("starlette_instrumentor_last", "/rooms/{room}"),
    ],
)
async def test_name_that_says_the_route_stays(
    spans: Spans, place: Place, name: str, expected: str
) -> None:
    """Dashboards that know the others' names go on working."""
    await run(place(name), "/rooms/7", *TALK)
    assert expected == connection(spans).name


async def test_name_with_the_root_path_stays(spans: Spans, place: Place) -> None:
    """FastAPI's own telemetry puts the prefix that a proxy takes away into name and route."""
    await run(place("native_added"), "/api/rooms/7", *TALK, root_path="/api")
    assert "WS /api/rooms/{room}" == connection(spans).name
    assert ("/api/rooms/{room}",) == attributes(spans, "http.route")


@pytest.mark.parametrize("chosen", ["lobby", "the lobby", "chat/lobby"])
@pytest.mark.parametrize(
    "name", ["fastapi_instrumentor_last", "starlette_instrumentor_last", "asgi_around"]
)
async def test_name_of_a_request_hook_stays(
    spans: Spans, place: Place, name: str, chosen: str
) -> None:
    """The application's own word counts."""
    app = place(name, hook=lambda span, scope: span.update_name(chosen))
    await run(app, "/rooms/7", *TALK)
    assert chosen == connection(spans).name


@placements()
async def test_unmatched_path_is_no_name(spans: Spans, place: Place, placement: Placement) -> None:
    """What a client asks for that does not exist is an attribute, and no route."""
    path = f"{placement.prefix}/nope/my secret"
    await run(place(placement), path, disconnect(1006))
    assert placement.unmatched == connection(spans).name
    assert ("rejected", "not_found", 403, path) == attributes(
        spans, "ws.outcome", "ws.close_reason", "http.response.status_code", "url.path"
    )
    # Where a mount matched, OpenTelemetry's package for Starlette takes that for the route.
    assert attributes(spans, "http.route")[0] in (None, placement.prefix)


# How it ends.


def status(spans: Spans) -> tuple[str, str | None]:
    """Return the status of the connection's span and its description."""
    found = connection(spans).status
    return found.status_code.name, found.description


@placements()
async def test_refused_handshake_is_no_error(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """A 403 is the client's affair; there is no close code."""
    await run(place(placement), f"{placement.prefix}/rooms/refused", disconnect(1006))
    assert ("OK" if placement.adopted else "UNSET", None) == status(spans)
    assert ("rejected", "rejected", 403, placement.route, None, 0) == attributes(
        *(spans, "ws.outcome", "ws.close_reason", "http.response.status_code"),
        *("http.route", "ws.close_code", "ws.messages.in"),
    )


@placements()
async def test_exception_is_an_error_that_we_tell_once(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """Those who note exceptions themselves have them as often as without us."""
    app = place(placement)
    with pytest.raises(LookupError):
        await run(app, f"{placement.prefix}/rooms/broken", text(CHAT))
    assert "ERROR" == status(spans)[0]
    assert ("LookupError", "error", 1) == attributes(
        spans, "error.type", "ws.outcome", "ws.messages.in"
    )
    names = [event.name for event in connection(spans).events]
    assert ["exception"] * placement.exceptions == names
    (message,) = spans.named("ws.message")
    assert StatusCode.ERROR is message.status.status_code


@pytest.mark.parametrize(
    ("code", "outcome", "by"),
    [
        (1000, "normal", "client"),
        (1001, "going_away", "client"),
        (1005, "normal", "client"),
        (1006, "abnormal", "network"),
    ],
)
@placements()
async def test_uncaught_disconnect_is_no_error(
    spans: Spans, place: Place, placement: Placement, code: int, outcome: str, by: str
) -> None:
    """For the others it is an exception like any; the connection's span says that all is well."""
    app = place(placement)
    with pytest.raises(WebSocketDisconnect):
        await run(app, f"{placement.prefix}/rooms/uncaught", text(CHAT), disconnect(code))
    assert ("OK" if placement.adopted else "UNSET", None) == status(spans)
    assert (outcome, code, by) == attributes(spans, "ws.outcome", "ws.close_code", "ws.closed_by")


@placements()
async def test_close_with_1011_is_an_error(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """The application says that it failed; the others see a close like any."""
    await run(place(placement), f"{placement.prefix}/rooms/closed", text(CHAT))
    assert ("ERROR", "closed with 1011") == status(spans)
    assert ("error", 1011, "server") == attributes(
        spans, "ws.outcome", "ws.close_code", "ws.closed_by"
    )


class Served(SpanProcessor):
    """Keeps the connection's span while it is open.

    Attributes:
        span: The span.
    """

    span: Span

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if span.kind is SpanKind.SERVER:
            self.span = span


@placements(adopted=True)
async def test_error_that_the_application_set_stays(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """A clean close makes no success of what the application calls a failure."""
    served = Served()
    spans.provider.add_span_processor(served)

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        served.span.set_status(Status(StatusCode.ERROR, "no stock"))
        async for _ in websocket.iter_text():
            pass

    await run(place(placement, handler=handler), f"{placement.prefix}/rooms/7", *TALK)
    assert ("ERROR", "no stock") == status(spans)
    assert ("normal",) == attributes(spans, "ws.outcome")


# Where it comes from.


@pytest.mark.parametrize(("trust", "links"), [("auto", 1), ("link", 1), ("never", 0)])
@placements(adopted=True)
async def test_trace_of_the_query_string_is_linked(
    spans: Spans, place: Place, placement: Placement, trust: str, links: int
) -> None:
    """A browser's word makes no parent of an adopted span, and a link where it is believed."""
    app = place(placement, settings={"trust": trust})
    await run(app, f"{placement.prefix}/rooms/7", *TALK, query_string=QUERY.encode())
    span = connection(spans)
    assert span.parent is None
    assert [CLAIMED[3:35]] * links == [
        trace.format_trace_id(link.context.trace_id) for link in span.links
    ]


@placements()
async def test_trace_of_the_header_is_everybodys(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """Whoever reads it first, there is one trace, the client's."""
    headers = [(b"host", b"example.org"), (b"traceparent", CLAIMED.encode())]
    await run(place(placement), f"{placement.prefix}/rooms/7", *TALK, headers=headers)
    found = {seen(span).trace for span in spans.all()}
    if placement is PLACEMENTS["own_span_around"]:
        # A current span counts for more.
        assert int(CLAIMED[3:35], 16) not in found
    else:
        assert {int(CLAIMED[3:35], 16)} == found


# What is not made.


@placements()
async def test_unsampled_connection_makes_nothing(place: Place, placement: Placement) -> None:
    """Where the outermost is sampled out nobody makes a span, and the trace goes on unsampled."""
    unsampled = Spans(sampler=ALWAYS_OFF)
    current: list[trace.Span] = []

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            current.append(trace.get_current_span())

    app = place(placement, provider=unsampled.provider, handler=handler)
    await run(app, f"{placement.prefix}/rooms/7", *TALK)
    assert [] == unsampled.all()
    assert [(False, True)] * 2 == [
        (each.is_recording(), each.get_span_context().is_valid) for each in current
    ]


@placements()
async def test_connection_span_off_leaves_the_others_untouched(
    spans: Spans, place: Place, placement: Placement
) -> None:
    """Their spans have the names, places and attributes that they have without the middleware."""
    path = f"{placement.prefix}/rooms/7"
    app = place(placement, settings={"connection_span": "off"})
    await run(app, path, *TALK, query_string=QUERY.encode())
    without = Spans()
    bare = place(placement, provider=without.provider, observed=False)
    await run(bare, path, *TALK, query_string=QUERY.encode())
    assert tree(without) == tree(spans)
    assert [(span.name, dict(span.attributes or {})) for span in without.all()] == [
        (span.name, dict(span.attributes or {})) for span in spans.all()
    ]


@pytest.mark.parametrize(
    ("settings", "imported", "expected"),
    [
        ({}, True, {"fastapi.telemetry": None}),
        ({}, False, {}),
        ({"connection_span": "off"}, True, {}),
        ({"connection_span": "off"}, False, {}),
    ],
)
async def test_key_of_fastapi_is_set_only_where_it_is_read(
    spans: Spans,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    imported: bool,
    expected: dict[str, Any],
) -> None:
    """The scope gets FastAPI's key where FastAPI was imported and connections have spans."""
    inside: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inside.append(dict(scope))
        await receive()
        await send(ACCEPT)
        await receive()

    observed = Parts(spans.provider, settings=settings).around(app)
    assert isinstance(observed, WebSocketObserveMiddleware)
    if not imported:
        monkeypatch.delitem(sys.modules, "fastapi")
    _, given = await run(observed, "/rooms/7", disconnect(1000))
    for each in (*inside, given):
        assert expected == {key: each[key] for key in each if key.startswith("fastapi")}


async def test_abandoned_handshake_has_no_status(spans: Spans, place: Place) -> None:
    """The client was gone before there was an answer."""

    async def slow(websocket: WebSocket) -> None:
        await websocket.receive()
        await websocket.receive()

    app = place("asgi_around", handler=slow)
    await run(app, "/rooms/7", disconnect(1006))
    assert ("rejected", "abandoned") == attributes(spans, "ws.outcome", "ws.close_reason")
    assert "http.response.status_code" not in (connection(spans).attributes or {})
