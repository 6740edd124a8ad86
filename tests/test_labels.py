"""Labels and texts from outside: bounded and harmless, and templates instead of paths."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi import WebSocket as FastAPIWebSocket
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from asgi_ws_observe.labels import (
    OTHER,
    UNMATCHED,
    LabelLimiter,
    matched_route,
    route_template,
    safe_text,
)
from tests.support import ACCEPT, CONNECT, Server, disconnect
from tests.support import scope as make_scope

# Lone surrogates too, which `st.text()` leaves out.
ANY_TEXT = st.text(st.characters(exclude_categories=()))
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("größe ☃ 🦄", "größe ☃ 🦄"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x00\x7f\x85\x9b", r"\x00\x7f\x85\x9b"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\ud800x\udfff", r"\ud800x\udfff"),
        (None, "None"),
        (4000, "4000"),
        (b"\n", r"b'\n'"),
    ],
)
def test_text_from_outside_is_made_harmless(given_text: object, expected: str) -> None:
    """Control characters are shown, everything else stays."""
    assert expected == safe_text(given_text)


@pytest.mark.parametrize(
    ("given_text", "limit", "expected"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        ("a\nbc", 4, r"a\nb"),
        ("ab", 1, "…"),
        ("ab", 0, ""),
    ],
)
def test_long_text_is_cut(given_text: str, limit: int, expected: str) -> None:
    """The limit counts the characters that come out."""
    assert expected == safe_text(given_text, limit)


@given(given_text=ANY_TEXT | st.binary() | st.integers() | st.none(), limit=st.integers(0, 300))
def test_any_text_becomes_short_printable_and_encodable(given_text: object, limit: int) -> None:
    """No control character, no more than the limit, and an encoder takes it."""
    clean = safe_text(given_text, limit)

    assert len(clean) <= limit
    assert CONTROL.search(clean) is None
    assert len(clean.splitlines()) <= 1
    clean.encode()


@given(given_text=ANY_TEXT)
def test_cleaning_again_changes_nothing(given_text: str) -> None:
    """What is harmless stays as it is."""
    clean = safe_text(given_text)

    assert clean == safe_text(clean)


def test_limiter_lets_the_first_through_and_calls_the_rest_other() -> None:
    """Known values stay known after the limit is reached."""
    limit = LabelLimiter(2)

    assert ["a", "b", OTHER, "a", OTHER] == [limit(value) for value in ("a", "b", "c", "a", "d")]


def test_limiter_cleans_values() -> None:
    """A label value with a control character would break the exposition's readers."""
    limit = LabelLimiter(1)

    assert [r"a\nb", r"a\nb"] == [limit("a\nb"), limit("a\nb")]


def test_limiter_tells_of_every_replaced_value() -> None:
    """A value that comes again counts again."""
    drops: list[int] = []
    limit = LabelLimiter(1, lambda: drops.append(1))

    for value in ("a", "b", "b", "a"):
        limit(value)

    assert 2 == len(drops)


@given(values=st.lists(ANY_TEXT, max_size=60), most=st.integers(0, 20))
def test_any_values_make_no_more_than_the_limit_and_other(values: list[str], most: int) -> None:
    """The number of values is bounded, whatever comes."""
    limit = LabelLimiter(most)

    assert len({limit(value) for value in values} - {OTHER}) <= most


async def accept(websocket: WebSocket) -> None:
    """Accept and close."""
    await websocket.accept()
    await websocket.close()


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """Stand for an ASGI application without routes."""


async def routed(app: ASGIApp, path: str, **more: Any) -> dict[str, Any]:
    """Return the scope of a connection after the application handled it."""
    scope = make_scope(path, **more)
    server = Server([CONNECT, disconnect()])
    await app(scope, server.receive, server.send)
    return scope


def fastapi_app() -> FastAPI:
    """Return an application of routers in routers."""

    async def endpoint(websocket: FastAPIWebSocket) -> None:
        await accept(websocket)

    inner = APIRouter(prefix="/{org}")
    inner.add_api_websocket_route("/items/{item:int}", endpoint)
    outer = APIRouter(prefix="/api")
    outer.add_api_websocket_route("/rooms/{room}", endpoint)
    outer.include_router(inner, prefix="/v2")
    app = FastAPI()
    app.include_router(outer, prefix="/v1")
    app.add_api_websocket_route("/ws", endpoint)
    return app


def starlette_app() -> Starlette:
    """Return an application of mounts in mounts, without FastAPI."""
    deep = Mount("/groups/{group}", routes=[WebSocketRoute("/{member}", accept)])
    tenant = Starlette(routes=[WebSocketRoute("/rooms/{room}", accept), deep])
    return Starlette(
        routes=[
            Mount("/tenants/{tenant}", tenant),
            Mount("/static", routes=[WebSocketRoute("/", accept)]),
            Mount("/files/{file:path}/at", routes=[WebSocketRoute("/{line:int}", accept)]),
            WebSocketRoute("/numbers/{number:int}", accept),
            WebSocketRoute("/deep/{rest:path}", accept),
            Host("admin.example.org", Starlette(routes=[WebSocketRoute("/{page}", accept)])),
        ]
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ws", "/ws"),
        ("/v1/api/rooms/7", "/v1/api/rooms/{room}"),
        ("/v1/api/v2/acme/items/7", "/v1/api/v2/{org}/items/{item}"),
        ("/v1/api/v2/acme/items/seven", UNMATCHED),
        ("/v1/api", UNMATCHED),
        ("/", UNMATCHED),
    ],
)
async def test_fastapi_route_has_its_routers_prefixes(path: str, expected: str) -> None:
    """`include_router` joins the prefixes."""
    assert expected == route_template(await routed(fastapi_app(), path))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tenants/acme/rooms/7", "/tenants/{tenant}/rooms/{room}"),
        ("/tenants/acme/groups/5/ann", "/tenants/{tenant}/groups/{group}/{member}"),
        # Values that are equal to each other, or to a later part of the path.
        ("/tenants/5/groups/5/5", "/tenants/{tenant}/groups/{group}/{member}"),
        ("/tenants/rooms/rooms/rooms", "/tenants/{tenant}/rooms/{room}"),
        ("/static/", "/static/"),
        ("/files/a/b/c/at/12", "/files/{file}/at/{line}"),
        ("/numbers/7", "/numbers/{number}"),
        ("/numbers/-", UNMATCHED),
        ("/deep/a/b/c", "/deep/{rest}"),
        ("/tenants/acme/nothing", UNMATCHED),
        ("/tenants/acme/groups/5/ann/more", UNMATCHED),
        ("/nothing", UNMATCHED),
    ],
)
async def test_mounted_route_has_templates_not_values(path: str, expected: str) -> None:
    """What a client chose is never in the label."""
    assert expected == route_template(await routed(starlette_app(), path))


async def test_route_of_a_host_is_its_own_template() -> None:
    """A `Host` adds nothing to the path."""
    scope = await routed(starlette_app(), "/users", headers=[(b"host", b"admin.example.org")])

    assert "/{page}" == route_template(scope)


async def test_sub_application_of_fastapi_has_its_mount_in_front() -> None:
    """A FastAPI application can be mounted on another."""
    app = FastAPI()
    app.mount("/{version}", fastapi_app())

    assert "/{version}/v1/api/rooms/{room}" == route_template(
        await routed(app, "/2/v1/api/rooms/7")
    )


@pytest.mark.parametrize("path", ["/proxy/tenants/acme/rooms/7", "/proxy/numbers/7"])
async def test_root_path_of_a_proxy_is_no_part_of_the_template(path: str) -> None:
    """What a reverse proxy cut off, or not, is not the application's route."""
    template = route_template(await routed(starlette_app(), path, root_path="/proxy"))

    assert template in ("/tenants/{tenant}/rooms/{room}", "/numbers/{number}")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tenants/acme/rooms/7", "/tenants/{tenant}/rooms/{room}"),
        ("/numbers/7", "/numbers/{number}"),
    ],
)
async def test_older_starlette_leaves_only_the_endpoint(path: str, expected: str) -> None:
    """Without the key ``route`` it is looked up by the endpoint, in mounts too."""
    app = Starlette(
        routes=[
            # The same path, but for HTTP only.
            Route("/numbers/{number:int}", raw),
            Mount("/tenants/{tenant}", routes=[WebSocketRoute("/rooms/{room}", accept)]),
            WebSocketRoute("/numbers/{number:int}", lambda websocket: accept(websocket)),
        ]
    )
    scope = await routed(app, path)
    scope.pop("route", None)

    assert expected == route_template(scope)


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"endpoint": accept},
        {"router": SimpleNamespace(routes=[])},
        {"router": SimpleNamespace(routes=[]), "endpoint": accept},
        {"router": SimpleNamespace(), "endpoint": accept},
        {"route": "/as/text"},
        {"route": SimpleNamespace(path_format=None)},
    ],
)
def test_scope_of_an_unknown_router_is_unmatched(scope: dict[str, Any]) -> None:
    """Other frameworks leave other things, or nothing."""
    assert UNMATCHED == route_template(scope)


async def test_matched_mount_that_matches_nothing_inside_is_no_match() -> None:
    """Recent Starlette leaves the mount as the route, older only its application."""
    scope = await routed(starlette_app(), "/tenants/acme/nothing")
    assert matched_route(scope) is None

    scope.pop("route", None)
    assert matched_route(scope) is None


SEGMENT = st.text(st.characters(min_codepoint=33, exclude_characters="/"), min_size=1)


@given(
    template=st.text(),
    prefix=st.text(),
    parameters=st.dictionaries(SEGMENT, st.text() | st.integers() | st.floats(), max_size=4),
)
def test_any_scope_has_a_template(template: str, prefix: str, parameters: dict[str, Any]) -> None:
    """Whatever the parameters, there is a text that ends in the route's own template."""
    scope = {
        "route": SimpleNamespace(path_format=template, param_convertors={}),
        "app_root_path": "",
        "root_path": prefix,
        "path_params": parameters,
    }

    assert route_template(scope).endswith(template)


@given(tenant=SEGMENT, group=SEGMENT, member=SEGMENT)
async def test_any_values_give_the_same_template(tenant: str, group: str, member: str) -> None:
    """A client cannot choose the label by its path, through two mounts."""
    assume(tenant != "tenants" and group != "groups")
    path = f"/tenants/{tenant}/groups/{group}/{member}"

    assert "/tenants/{tenant}/groups/{group}/{member}" == route_template(
        await routed(starlette_app(), path)
    )


class Textless:
    """Raises when it is asked for its text."""

    def __str__(self) -> str:
        raise RuntimeError


def test_text_of_something_that_has_none() -> None:
    """The class says what it was."""
    assert "Textless" == safe_text(Textless())


def mounted(path: str, *inner: Any) -> Starlette:
    """Return an application with one mount: of routes, or of a plain ASGI application."""
    if isinstance(inner[0], BaseRoute):
        return Starlette(routes=[Mount(path, routes=list(inner))])
    return Starlette(routes=[Mount(path, inner[0])])


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Accept, as an application that knows nothing of routes."""
    await receive()
    await send(ACCEPT)


class Wrapper:
    """Hides the routes of an application, as a middleware around it does."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


@pytest.mark.parametrize(
    ("app", "path", "expected"),
    [
        (mounted("/ws", plain), "/ws/a/b", "/ws/{path}"),
        (mounted("/raw/{x}", plain), "/raw/secret/6", "/raw/{x}/{path}"),
        (mounted("/a/{d:float}", WebSocketRoute("/w", accept)), "/a/1.50/w", "/a/{d}/w"),
        (mounted("/a/{d:int}", WebSocketRoute("/w", accept)), "/a/007/w", "/a/{d}/w"),
        (
            mounted("/a/{id}", WebSocketRoute("/b/{id}", accept)),
            "/a/SECRET/b/5",
            "/a/{id}/b/{id}",
        ),
        (starlette_app(), "/tenants/tenants/rooms/1", "/tenants/{tenant}/rooms/{room}"),
        (
            mounted("/out/{x}", Wrapper(mounted("/in/{y}", WebSocketRoute("/{z}", accept)))),
            "/out/1/in/2/3",
            "/out/{x}/*/{z}",
        ),
    ],
)
async def test_mount_never_shows_a_value(app: Any, path: str, expected: str) -> None:
    """Whatever the parameter's text, name or convertor, and whatever is mounted."""
    assert expected == route_template(await routed(app, path))


async def test_host_that_matches_nothing_inside_is_no_match() -> None:
    """As a mount is none."""
    headers = [(b"host", b"admin.example.org")]
    assert None is matched_route(await routed(starlette_app(), "/a/b/c", headers=headers))


def test_mount_that_the_router_passed_over() -> None:
    """Only a mount whose prefix the router recorded can have led there."""
    inner = WebSocketRoute("/b/{c}", accept)
    passed, taken = Mount("/a/b", plain), Mount("/a", routes=[inner])
    scope = make_scope("/a/b/c", root_path="/a", app_root_path="", route=inner)
    scope["router"] = SimpleNamespace(routes=[passed, taken])
    assert "/a/b/{c}" == route_template(scope)
