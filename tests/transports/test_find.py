"""The search for the server's object: behind what it is found, and where the search gives up."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

from asgi_ws_observe.transports import find
from asgi_ws_observe.transports.find import EXTENSION, find_server, name_of, name_of_class
from tests.support import CONNECT, scope


@pytest.fixture(autouse=True)
def _no_memory() -> Iterator[None]:
    """Searches of other tests are forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find, "_in_vain", set())
        patch.setattr(find, "_names", {})
        yield


class Server:
    """What has a server's two methods."""

    async def receive(self) -> Any:
        """Hand out the first event."""
        return CONNECT

    async def send(self, message: Any) -> None:
        """Take anything."""


class WSProtocol(Server):
    """Looks as uvicorn's class of this name."""

    __module__ = "uvicorn.protocols.websockets.wsproto_impl"


class Derived(WSProtocol):
    """What somebody made of it."""

    __module__ = "somebody"


# What wraps a callable. Each is searched, never called.


def closure(wrapped: Any) -> Any:
    """Return a function that has it in a cell, beside a cell that is empty."""

    async def send(message: Any) -> Any:
        return await wrapped(message), later

    if wrapped is None:
        later = None
    return send


def with_default(wrapped: Any) -> Any:
    """Return a function that has it as a default."""

    def send(message: Any, wrapped: Any = wrapped) -> Any:
        return wrapped(message)

    return send


class Responder:
    """Keeps it in its dictionary."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    async def __call__(self, message: Any) -> None:
        """Pass on."""

    async def send(self, message: Any) -> None:
        """Pass on."""


class WithSlots(Server):
    """Keeps it in one of several slots, of which another one is empty."""

    __slots__ = ("empty", "wrapped")

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped


class WithSlot(Server):
    """Keeps it in its only slot."""

    __slots__ = "wrapped"

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped


class WithPrivateSlot(Server):
    """Keeps it in a slot whose name Python changes."""

    __slots__ = ("__wrapped",)

    def __init__(self, wrapped: Any) -> None:
        self.__wrapped = wrapped


#: Wrapper -> how many steps it is from there to what is wrapped.
WRAPPERS: dict[Callable[[Any], Any], int] = {
    closure: 1,
    with_default: 1,
    # A partial of a partial is one.
    lambda wrapped: functools.partial(Responder(wrapped)): 2,
    lambda wrapped: functools.partial(print, wrapped): 1,
    lambda wrapped: functools.partial(print, end=wrapped): 1,
    Responder: 1,
    lambda wrapped: Responder(wrapped).send: 2,
    lambda wrapped: WithSlot(wrapped).send: 2,
    lambda wrapped: WithSlots(wrapped).send: 2,
    lambda wrapped: WithPrivateSlot(wrapped).send: 2,
}
#: How deep the search goes, and one step from a method to its server.
DEPTH = 8
STEP = 1


def wrapped_in(wrappers: list[Callable[[Any], Any]], innermost: Any) -> Any:
    """Return a callable within all of these wrappers."""
    for wrapper in wrappers:
        innermost = wrapper(innermost)
    return innermost


@given(st.lists(st.sampled_from(list(WRAPPERS)), max_size=10))
def test_server_is_found_behind_any_nesting_up_to_the_depth(
    wrappers: list[Callable[[Any], Any]],
) -> None:
    """Deeper ones are none of its business."""
    server = WSProtocol()
    send = wrapped_in(wrappers, server.send)
    receive = wrapped_in(wrappers, server.receive)
    find._in_vain.clear()
    deep = sum(WRAPPERS[each] for each in wrappers) + STEP
    assert (server if deep <= DEPTH else None) is find_server({}, receive, send)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_server_is_found_behind_receive_alone(wrapper: Any) -> None:
    """Somebody may send in a way of their own."""
    server = WSProtocol()
    assert server is find_server({}, wrapper(server.receive), closure(print))


def test_method_of_a_server_is_enough() -> None:
    """As on uvicorn and hypercorn; a subclass is the server's as well."""
    for server in (WSProtocol(), Derived()):
        assert server is find_server({}, None, server.send)


def test_scope_may_have_the_server() -> None:
    """Where a server's class puts itself there, nothing needs to be searched."""
    server = WSProtocol()
    assert server is find_server({"extensions": {EXTENSION: server}}, None, print)
    assert find_server({"extensions": {EXTENSION: object()}}, None, print) is None
    assert find_server({"extensions": None}, None, print) is None


def pump() -> Any:
    """Return what sends by way of a queue that somebody else empties."""
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def send(message: Any) -> None:
        await queue.put(message)

    return send


async def serve(server: Any, found: list[Any], send: Any) -> None:
    """Run an application as a server does, in a task of its own."""
    found.append(find_server({}, send, send))


async def serve_by_method(receive: Any, found: list[Any], send: Any) -> None:
    """Run an application as a server does that has only a method at hand."""
    found.append(find_server({}, send, send))


async def test_servers_task_has_it_at_hand() -> None:
    """Whatever is between it and the application, which runs in the server's coroutine."""
    server, found = WSProtocol(), list[Any]()
    await asyncio.create_task(serve(server, found, pump()))
    await asyncio.create_task(serve_by_method(server.receive, found, pump()))
    assert [server, server] == found


async def test_application_in_a_task_of_its_own_is_searched() -> None:
    """Behind wrappers it is found, behind a queue it is not."""
    found: list[Any] = []
    servers = [WSProtocol()]
    await asyncio.create_task(serve(None, found, closure(servers[0].send)))
    await asyncio.create_task(serve(None, found, pump()))
    assert [servers[0], None] == found


async def test_callback_without_a_task_is_searched() -> None:
    """There is no coroutine to look into."""
    server, found = WSProtocol(), list[Any]()
    asyncio.get_running_loop().call_soon(
        lambda: found.append(find_server({}, None, closure(server.send)))
    )
    await asyncio.sleep(0)
    assert [server] == found


async def test_server_is_found_behind_opentelemetry() -> None:
    """Its middleware wraps both in functions."""
    found: list[Any] = []
    servers = [WSProtocol()]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(find_server({}, receive, send))

    async def serve() -> None:
        middleware: Any = OpenTelemetryMiddleware(app)
        await middleware(scope(), servers[0].receive, servers[0].send)

    await asyncio.create_task(serve())
    assert servers == found


def test_search_in_vain_is_not_made_again() -> None:
    """What is wrapped by the same code is in the same place; other code is searched."""
    server = WSProtocol()
    assert find_server({}, None, closure(print)) is None
    assert find_server({}, None, closure(server.send)) is None
    assert server is find_server({}, None, with_default(server.send))


def test_partial_in_vain_says_nothing_of_others() -> None:
    """daphne's is one, and it is what is inside that is in the same place."""
    server = WSProtocol()
    assert find_server({}, None, functools.partial(print, 1)) is None
    assert find_server({}, None, functools.partial(print, server)) is None
    assert server is find_server({}, None, functools.partial(as_daphne, server))


async def as_daphne(protocol: Any, message: Any) -> None:
    """Take anything."""


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither classes nor callables that are made again and again fill it."""
    monkeypatch.setattr(find, "_in_vain", set(range(63)))
    assert find_server({}, None, closure(print)) is None
    assert find_server({}, None, with_default(print)) is None
    assert 64 == len(find._in_vain)
    monkeypatch.setattr(find, "_names", {str(number): None for number in range(4095)})
    assert ("wsproto", "wsproto", None) == (
        name_of(WSProtocol()),
        name_of_class(Derived),
        name_of(Server()),
    )
    assert 4096 == len(find._names)


class Crowd:
    """Knows many others."""

    def __init__(self, *others: Any) -> None:
        self.__dict__.update({str(number): other for number, other in enumerate(others)})


def test_search_among_too_many_objects_is_given_up() -> None:
    """It must not cost more than a fraction of a millisecond."""
    server = WSProtocol()
    near = Crowd(*(object() for _ in range(63)), server)
    far = Crowd(*(object() for _ in range(64)), server)
    wide = Crowd(*(Crowd(*(object() for _ in range(64))) for _ in range(10)), Responder(server))
    assert server is find_server({}, None, near)
    find._in_vain.clear()
    assert find_server({}, None, far) is None
    find._in_vain.clear()
    assert find_server({}, None, wide) is None


def test_circle_is_walked_once() -> None:
    """Objects know each other."""
    one, other = Responder(None), Responder(None)
    one.wrapped, other.wrapped = other, one
    assert find_server({}, one.send, other.send) is None


class Unbound:
    """A proxy outside of its context: whatever is asked of it, it raises."""

    hidden = ""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(type(self).hidden):
            raise RuntimeError("working outside of context")
        return super().__getattribute__(name)


class NoClass(Unbound):
    """A proxy that has no class."""

    hidden = "__class__"


class NoDictionary(Unbound):
    """An object that hides what it has."""

    hidden = "__dict__"


@pytest.mark.parametrize("hostile", [Unbound, NoClass, NoDictionary])
def test_objects_that_raise_are_passed_over(hostile: Any) -> None:
    """They may stand beside the server in anybody's function."""
    server = WSProtocol()
    crowd = Crowd(hostile(), Responder(server))
    assert server is find_server({}, hostile(), crowd)
    assert server is find_server({}, crowd, hostile())


async def test_objects_that_raise_in_the_servers_task_are_passed_over() -> None:
    """Its coroutine may have any objects at hand."""
    found: list[Any] = []
    servers = [WSProtocol()]
    await asyncio.create_task(serve(Unbound(), found, closure(servers[0].send)))
    assert servers == found
