"""The search for the server's object of one connection behind ASGI's ``receive`` and ``send``.

Classes are matched by name over the whole method resolution order, without importing a server.
"""

from __future__ import annotations

import asyncio
import functools
import types
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["EXTENSION", "find_server", "name_of", "name_of_class"]

#: Where an opt-in server class puts itself among the scope's extensions.
EXTENSION: Final = "asgi_ws_observe"

#: (module, class) -> the server's name here.
_KNOWN: Final = {
    ("uvicorn.protocols.websockets.websockets_sansio_impl", "WebSocketsSansIOProtocol"): "sansio",
    ("uvicorn.protocols.websockets.wsproto_impl", "WSProtocol"): "wsproto",
    ("uvicorn.protocols.websockets.websockets_impl", "WebSocketProtocol"): "legacy",
    ("hypercorn.protocol.ws_stream", "WSStream"): "hypercorn",
    ("daphne.ws_protocol", "WebSocketProtocol"): "daphne",
    ("granian._granian", "ASGIWebsocketProtocol"): "granian",
}
# How many objects a walk visits, and how far from where it starts.
_MOST: Final = 400
_DEPTH: Final = 8
# What holds no server, or too much.
_LEAVES: Final = (
    *(str, bytes, int, float, type(None), type, types.ModuleType, types.CodeType),
    *(dict, list, tuple, set, frozenset, asyncio.AbstractEventLoop),
)

_names: dict[type, str | None] = {}
# Callables behind which a walk found nothing, by their code: most are of a test client.
_in_vain: set[object] = set()


def name_of(candidate: object) -> str | None:
    """Return which server's object this is, `None` for any other object."""
    return name_of_class(type(candidate))


def name_of_class(cls: type) -> str | None:
    """Return which server's class this is, `None` for any other class."""
    try:
        return _names[cls]
    except KeyError:
        names = ((each.__module__, each.__qualname__) for each in cls.__mro__)
        name = next((_KNOWN[each] for each in names if each in _KNOWN), None)
        if len(_names) < 4096:
            _names[cls] = name
        return name


def find_server(scope: Mapping[str, Any], receive: Any, send: Any) -> Any:
    """Return the server's object of this connection, `None` where there is none to be found.

    Args:
        scope: The connection's scope.
        receive: What the middleware was called with, perhaps wrapped by others.
        send: Likewise.
    """
    for candidate in _at_hand(scope, send):
        if name_of(candidate):
            return candidate
    return _walked(receive, send)


def _at_hand(scope: Mapping[str, Any], send: Any) -> Iterator[object]:
    """Yield where it is most often, and what the server's coroutine has."""
    yield _read(send, "__self__")
    yield (scope.get("extensions") or {}).get(EXTENSION)
    try:
        task = asyncio.current_task()
    except RuntimeError:  # another kind of event loop
        return
    coroutine: Any = None if task is None else task.get_coro()
    frame = getattr(coroutine, "cr_frame", None)
    if frame is not None:
        for value in list(frame.f_locals.values()):
            yield value
            yield _read(value, "__self__")


def _read(each: object, name: str) -> Any:
    """Return an attribute, `None` where there is none; a proxy may raise anything."""
    try:
        return getattr(each, name, None)
    except Exception:  # noqa: BLE001
        return None


def _kind_of(send: Any) -> object:
    """Return what all callables that are made at the same place have in common."""
    if type(send) is functools.partial:
        return functools.partial, _kind_of(send.func)
    return _read(send, "__code__") or type(send)


def _walked(receive: Any, send: Any) -> Any:
    key = _kind_of(send)
    if key in _in_vain:
        return None
    seen: set[int] = set()
    waiting = deque(((send, 0), (receive, 0)))
    while waiting and len(seen) < _MOST:
        each, depth = waiting.popleft()
        if id(each) in seen:
            continue
        try:
            if isinstance(each, _LEAVES):
                continue
            seen.add(id(each))
            if name_of(each):
                return each
            if depth < _DEPTH:
                waiting.extend([(other, depth + 1) for other in _neighbours(each)])
        except Exception:  # noqa: BLE001, S112 - a proxy outside of its context, say
            continue
    if len(_in_vain) < 64:
        _in_vain.add(key)
    return None


def _neighbours(each: Any) -> Iterator[Any]:
    """Yield what an object refers to: a method's, a partial's, a function's or an instance's."""
    if isinstance(each, (types.MethodType, types.BuiltinMethodType)):
        yield each.__self__
        yield getattr(each, "__func__", None)
    elif isinstance(each, functools.partial):
        yield each.func
        yield from each.args
        yield from each.keywords.values()
    elif isinstance(each, types.FunctionType):
        for cell in each.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not filled yet
                continue
        yield from each.__defaults__ or ()
    else:
        yield from list(getattr(each, "__dict__", {}).values())[:64]
        for cls in type(each).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                private = f"_{cls.__name__.lstrip('_')}" if name.startswith("__") else ""
                yield getattr(each, private + name, None)
