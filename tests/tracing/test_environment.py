"""OpenTelemetry's own environment variables: excluded URLs and captured headers."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from starlette.types import ASGIApp, Receive, Scope, Send

from asgi_ws_observe import SettingsError
from asgi_ws_observe.tracing.environment import Environment
from tests.support import ACCEPT, Spans, disconnect, sample, scope, text
from tests.tracing.test_spans import attributes, echo, observe, run, talk_twice, upgrade

EXCLUDED = "OTEL_PYTHON_EXCLUDED_URLS"
EXCLUDED_WEBSOCKETS = "OTEL_PYTHON_WEBSOCKET_EXCLUDED_URLS"
CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
REQUEST, RESPONSE, SANITIZE = (
    CAPTURE + name for name in ("SERVER_REQUEST", "SERVER_RESPONSE", "SANITIZE_FIELDS")
)

Headers = list[tuple[bytes, bytes]]


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the surroundings of the tests ask for."""
    for name in (EXCLUDED, EXCLUDED_WEBSOCKETS, REQUEST, RESPONSE, SANITIZE):
        monkeypatch.delenv(name, raising=False)


def captured(spans: Spans) -> dict[str, Any]:
    """Return the attributes of headers of the only connection.

    In older releases of OpenTelemetry several values are one, with commas between them.
    """
    found = attributes(upgrade(spans))
    return {
        name: tuple(",".join(found[name]).split(","))
        for name in found
        if name.startswith(("http.request.header.", "http.response.header."))
    }


def answering(message: dict[str, Any]) -> ASGIApp:
    """Return an application that answers the handshake so."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(message)
        if message["type"] == "websocket.accept":
            await receive()
        else:
            await send({"type": "websocket.http.response.body", "body": b""})

    return app


# What is not traced.


@pytest.mark.parametrize(
    ("environment", "excluded"),
    [
        ({}, []),
        ({EXCLUDED: ""}, []),
        ({EXCLUDED: "/health"}, ["/health", "/health/deep"]),
        ({EXCLUDED: "health$, /admin"}, ["/health", "/admin"]),
        ({EXCLUDED: "^ws://[^/]+:8000/"}, ["/health", "/health/deep", "/admin", "/rooms/7"]),
        ({EXCLUDED_WEBSOCKETS: "rooms"}, ["/rooms/7"]),
        ({EXCLUDED_WEBSOCKETS: "rooms", EXCLUDED: "health"}, ["/rooms/7"]),
        ({EXCLUDED_WEBSOCKETS: "", EXCLUDED: "health"}, []),
    ],
)
async def test_excluded_urls_are_not_traced(
    spans: Spans,
    registry: Any,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    excluded: list[str],
) -> None:
    """Their metrics and log lines stay; a variable for WebSockets alone wins."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    app = observe(echo, spans.provider, registry)
    paths = ["/health", "/health/deep", "/admin", "/rooms/7"]
    for path in paths:
        await run(app, text("hello"), disconnect(), path=path)

    found = [attributes(each)["url.path"] for each in spans.named("ws.upgrade")]
    assert [path for path in paths if path not in excluded] == found
    assert len(found) == len(spans.named("ws.message"))
    assert 4 == sample(registry, "ws_messages_total", route="unmatched", direction="in")


async def test_excluded_connection_leaves_what_is_current(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler works in the context that it was called in."""
    monkeypatch.setenv(EXCLUDED, "/ws")
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(trace.get_current_span())
        await echo(scope, receive, send)

    with spans.provider.get_tracer("test").start_as_current_span("outer") as outer:
        await talk_twice(observe(app, spans.provider))

    assert [outer] == seen
    assert ["outer"] == [each.name for each in spans.all()]


async def test_excluded_connection_may_be_denied_or_fail(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it reaches a span, nor asks for one."""
    monkeypatch.setenv(EXCLUDED, "/ws")

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError

    denied = {"type": "websocket.http.response.start", "status": 401, "headers": []}
    await run(observe(answering(denied), spans.provider, max_span_seconds=60), disconnect())
    with pytest.raises(KeyError):
        await run(observe(fail, spans.provider))

    assert [] == spans.all()


async def test_variables_are_read_once(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the middleware is made."""
    app = observe(echo, spans.provider)
    monkeypatch.setenv(EXCLUDED, "/ws")
    await run(app, disconnect())

    assert "ws.upgrade" == upgrade(spans).name


async def test_suppressed_instrumentation_makes_nothing(spans: Spans) -> None:
    """As for every instrumentation of OpenTelemetry's."""
    with suppress_instrumentation():
        await talk_twice(observe(echo, spans.provider))

    assert [] == spans.all()


# Captured headers.

HEADERS: Headers = [
    *((b"host", b"example.org"), (b"x-tenant", b"acme"), (b"x-token", b"secret")),
    *((b"x-tenant", b"other"), (b"cookie", b"session=7")),
]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", {}),
        ("x-tenant", {"x_tenant": ("acme", "other")}),
        ("X-Tenant", {"x_tenant": ("acme", "other")}),
        ("x-.*", {"x_tenant": ("acme", "other"), "x_token": ("secret",)}),
        ("tenant", {}),
        ("no-such, cookie", {"cookie": ("session=7",)}),
    ],
)
async def test_request_headers_are_captured_where_asked_for(
    spans: Spans, monkeypatch: pytest.MonkeyPatch, asked: str, expected: dict[str, Any]
) -> None:
    """Nothing by default; each a list, as headers may come more than once."""
    monkeypatch.setenv(REQUEST, asked)
    await run(observe(echo, spans.provider), disconnect(), headers=HEADERS)

    assert {f"http.request.header.{name}": expected[name] for name in expected} == captured(spans)


@pytest.mark.parametrize(
    "answer",
    [
        ACCEPT | {"headers": HEADERS},
        {"type": "websocket.http.response.start", "status": 401, "headers": HEADERS},
    ],
    ids=["accepted", "denied"],
)
@pytest.mark.parametrize("shape", ["nested", "linked"])
async def test_headers_of_the_answer_are_captured(
    spans: Spans, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], shape: str
) -> None:
    """Of an accepted handshake and of a denied one; those of the request are apart."""
    monkeypatch.setenv(RESPONSE, "x-tenant")
    app = observe(answering(answer), spans.provider, connection_span=shape)
    await run(app, disconnect(), headers=[(b"x-tenant", b"of the request")])

    assert {"http.response.header.x_tenant": ("acme", "other")} == captured(spans)


@pytest.mark.parametrize("headers", [{}, {"headers": None}, {"headers": ()}, {"headers": iter(())}])
async def test_answer_without_headers_has_none(
    spans: Spans, monkeypatch: pytest.MonkeyPatch, headers: dict[str, Any]
) -> None:
    """Which is how most are."""
    monkeypatch.setenv(RESPONSE, ".*")
    await run(observe(answering(ACCEPT | headers), spans.provider), disconnect())

    assert {} == captured(spans)


async def test_sanitized_headers_are_redacted(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both directions; that they were there stays."""
    for name, value in ((REQUEST, ".*"), (RESPONSE, ".*"), (SANITIZE, ".*token.*,COOKIE")):
        monkeypatch.setenv(name, value)
    app = observe(answering(ACCEPT | {"headers": HEADERS}), spans.provider)
    await run(app, disconnect(), headers=HEADERS)

    shown = {"host": ("example.org",), "x_tenant": ("acme", "other")}
    hidden = {"x_token": ("[REDACTED]",), "cookie": ("[REDACTED]",)}
    assert {
        f"http.{side}.header.{name}": value
        for side in ("request", "response")
        for name, value in (shown | hidden).items()
    } == captured(spans)


def test_what_a_client_sends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 headers of 128 characters, 8 values of 256 each, and nothing that drives a terminal."""
    monkeypatch.setenv(REQUEST, ".*")
    monkeypatch.setenv(RESPONSE, ".*")
    headers = [(b"x-many", b"%d" % number) for number in range(20)]
    headers += [(b"x-long", b"y" * 10_000), (b"x-" + b"z" * 1000, b"\x1b[2J\n")]
    headers += [(b"x-%d" % number, b"1") for number in range(100)]
    environment = Environment()
    found = environment.request_headers(scope(headers=headers))

    assert 32 == len(found) == len(environment.response_headers(headers))
    many = found["http.request.header.x_many"]
    assert len(many) <= 8
    assert list("01234567") == ",".join(many).split(",")[:8]
    assert ["y" * 255 + "…"] == found["http.request.header.x_long"]
    (long,) = (name for name in found if "zzz" in name)
    assert (128, [r"\x1b[2J\n"]) == (len(long), found[long])


@pytest.mark.parametrize(
    "header", [(b"\xff\\x", b"1"), (b"x-tenant", b"\xff\\x"), (b"host", b"\xff\\x")]
)
async def test_undecodable_headers_cost_no_span(
    spans: Spans, registry: Any, monkeypatch: pytest.MonkeyPatch, header: tuple[bytes, bytes]
) -> None:
    """They are captured as far as OpenTelemetry can decode them, and fail nothing."""
    for name in (REQUEST, RESPONSE):
        monkeypatch.setenv(name, ".*")
    monkeypatch.setenv(EXCLUDED, "/health")
    app = observe(answering(ACCEPT | {"headers": [header]}), spans.provider, registry)
    await run(app, disconnect(), headers=[header])

    assert "normal" == attributes(upgrade(spans))["ws.outcome"]
    assert 0 == sample(registry, "ws_observe_errors_total", part="tracing")


@pytest.mark.parametrize("headers", [[(b"one",)], [b"no pair at all"], 7], ids=ascii)
async def test_headers_of_a_wrong_form_cost_no_span(
    spans: Spans, registry: Any, monkeypatch: pytest.MonkeyPatch, headers: Any
) -> None:
    """What an application answers with is the server's to refuse."""
    monkeypatch.setenv(RESPONSE, ".*")
    app = observe(answering(ACCEPT | {"headers": headers}), spans.provider, registry)
    await run(app, disconnect())

    assert {} == captured(spans)
    assert 0 == sample(registry, "ws_observe_errors_total", part="tracing")


# What is refused.


@pytest.mark.parametrize("variable", [EXCLUDED, EXCLUDED_WEBSOCKETS, REQUEST, RESPONSE, SANITIZE])
def test_pattern_that_is_none_is_refused_at_the_start(
    spans: Spans, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """With the variable's name, rather than at each connection."""
    monkeypatch.setenv(variable, "/health,x-(tenant")
    with pytest.raises(SettingsError, match=f"variable {variable}: .* no regular expression"):
        observe(echo, spans.provider)


def test_pattern_is_not_read_where_there_are_no_spans(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is somebody else's."""
    monkeypatch.setenv(EXCLUDED, "(")
    assert observe(echo, spans.provider, connection_span="off").settings.enabled
