"""Putting the observation on a server and taking it off, whatever else is on it."""

from __future__ import annotations

import importlib
import sys
from typing import Any
from unittest import mock

import engineio
import pytest
import socketio
from prometheus_client import CollectorRegistry

import asgi_ws_observe.socketio as package
from asgi_ws_observe import MissingExtraError, Settings, SettingsError
from asgi_ws_observe.socketio import Instrumentation, instrument_manager, instrument_server
from tests.socketio.conftest import Make
from tests.socketio.memory import AsyncMemoryManager, MemoryBus, MemoryManager
from tests.socketio.peers import Peer
from tests.support import sample, total


def state(sio: Any) -> list[dict[str, Any]]:
    """Return everything that a server, its manager and its Engine.IO hold."""
    return [dict(vars(each)) for each in (sio, sio.manager, sio.eio)] + [dict(sio.eio.handlers)]


@pytest.mark.parametrize("kind", ["asyncio", "bus", "threads", "threads-bus"])
def test_everything_is_restored(registry: CollectorRegistry, kind: str) -> None:
    """Nothing of ours is left on the server, its manager, Engine.IO, or in the numbers."""
    managers: dict[str, Any] = {
        "bus": AsyncMemoryManager(MemoryBus()),
        "threads-bus": MemoryManager(MemoryBus()),
    }
    threaded = kind.startswith("threads")
    server = (socketio.Server if threaded else socketio.AsyncServer)(
        async_mode="threading" if threaded else "asgi", client_manager=managers.get(kind)
    )
    before = state(server)
    instrumentation = instrument_server(server, registry=registry)
    during = state(server)
    assert instrumentation.active
    instrumentation.uninstrument()

    assert before == state(server)
    assert before != during
    assert not instrumentation.active
    instrumentation.uninstrument()
    assert before == state(server)


def test_second_call_returns_the_first(make: Make) -> None:
    """Idempotent, as `observe` is."""
    sio = make()
    first = instrument_server(sio)
    assert isinstance(first, Instrumentation)
    assert first is instrument_server(sio, trust_client=True)


async def test_server_can_be_observed_again(make: Make, registry: CollectorRegistry) -> None:
    """After it was given back."""
    sio = make()
    instrument_server(sio).uninstrument()
    await Peer.join(sio)
    assert 0 == total(registry, "socketio_connects_total")
    make(server=sio)
    await Peer.join(sio)
    assert 1 == total(registry, "socketio_connects_total")


async def test_what_was_wrapped_since_stays_and_passes_all_on(
    make: Make, registry: CollectorRegistry
) -> None:
    """Another tool's wrapper is not ours to remove; ours below it does nothing any more."""
    sio = make()
    seen: list[str] = []
    sio.on("chat", lambda sid, *args: seen.append("handler"))
    below, eio_below = sio._trigger_event, sio.eio.handlers["connect"]
    handle, leave, find = sio._handle_event, sio.manager.basic_leave_room, sio.manager.emit

    async def theirs(event: str, *args: Any) -> Any:
        seen.append(f"theirs {event}")
        return await below(event, *args)

    async def eio_theirs(*args: Any) -> Any:
        return await eio_below(*args)

    sio._trigger_event = theirs
    sio._handle_event = lambda *args: handle(*args)
    sio.manager.basic_leave_room = lambda *args: leave(*args)
    sio.manager.emit = lambda *args, **kwargs: find(*args, **kwargs)
    log = sio.eio._log_error_once
    sio.eio._log_error_once = lambda *args: log(*args)
    sio.eio.on("connect", eio_theirs)
    instrument_server(sio).uninstrument()

    peer = await Peer.join(sio)
    await sio.enter_room(peer.sids["/"], "room:1")
    await peer.emit("chat", {"traceparent": f"00-{1:032x}-{1:016x}-01"})
    await sio.emit("news", "a", room="room:1")
    sio.eio._log_error_once("what", "bad-sid")
    await peer.leave()

    assert ["theirs connect", "theirs chat", "handler", "theirs disconnect"] == seen
    assert [["news", "a"]] == peer.events()
    for name in ("connects", "events", "emits", "room_joins", "disconnects"):
        assert 0 == total(registry, f"socketio_{name}_total")
    assert 0 == total(registry, "engineio_rejections_total")


async def test_clients_that_are_connected_stay(make: Make, registry: CollectorRegistry) -> None:
    """What began observed ends as ever."""
    sio = make()
    answers: list[Any] = []
    peer = await Peer.join(sio)
    await sio.emit("question", to=peer.sids["/"], callback=lambda *args: answers.append(args))
    instrument_server(sio).uninstrument()
    await peer.acknowledge(1, "blue")
    await peer.leave()
    assert [("blue",)] == answers
    assert 0 == total(registry, "socketio_acks_total")


async def test_servers_of_one_process_do_not_mix(make: Make, registry: CollectorRegistry) -> None:
    """Each has its own registry, or shares one."""
    other = CollectorRegistry()
    first = make()
    second = socketio.AsyncServer(async_mode="asgi")
    apart = instrument_server(second, registry=other)
    third = socketio.AsyncServer(async_mode="asgi")
    for sio in (first, second, third):
        sio.on("chat", lambda sid: None)
        await (await Peer.join(sio)).emit("chat")

    assert 1 == total(registry, "socketio_events_total")
    assert 1 == total(other, "socketio_events_total")
    apart.uninstrument()


async def test_disabled_settings_leave_the_server_alone(registry: CollectorRegistry) -> None:
    """`Settings.enabled` counts here as well."""
    sio = socketio.AsyncServer(async_mode="asgi")
    before = state(sio)
    instrumentation = instrument_server(sio, registry=registry, settings=Settings(enabled=False))
    assert not instrumentation.active
    assert set(vars(sio)) - set(before[0]) == {"_asgi_ws_observe"}
    instrumentation.uninstrument()
    assert before == state(sio)


def test_environment_disables_as_well(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that are not given come from there."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_ENABLED", "false")
    assert not instrument_server(socketio.AsyncServer(async_mode="asgi"), registry=registry).active


def test_what_is_no_server_is_refused() -> None:
    """The message says what to give instead."""
    sio = socketio.AsyncServer(async_mode="asgi")
    wrong: Any = socketio.ASGIApp(sio)
    with pytest.raises(SettingsError, match="give it the server, not the ASGIApp"):
        instrument_server(wrong)


@pytest.mark.parametrize("wrong", [socketio.AsyncServer(async_mode="asgi").manager, 7])
def test_manager_of_a_server_is_refused(wrong: Any) -> None:
    """It is observed with its server."""
    with pytest.raises(SettingsError, match="a manager without a server"):
        instrument_manager(wrong)


async def test_engine_that_is_no_engineio_is_left_alone(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests of applications put other objects there."""

    class Engine:
        def __init__(self, **options: Any) -> None:
            self.handlers: dict[str, Any] = {}
            self.sockets: dict[str, Any] = {}
            self.async_mode = "asgi"

        def on(self, event: str, handler: Any) -> None:
            self.handlers[event] = handler

    monkeypatch.setattr(engineio, "AsyncServer", Engine)
    sio = socketio.AsyncServer(async_mode="asgi")
    monkeypatch.undo()
    before = dict(sio.eio.handlers)
    instrumentation = instrument_server(sio, registry=registry)
    assert before == sio.eio.handlers
    instrumentation.uninstrument()


def test_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "socketio", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'asgi-ws-observe\[socketio\]'"):
        importlib.reload(package)


async def test_manager_that_is_none_is_left_alone(registry: CollectorRegistry) -> None:
    """Tests of applications put mocks there."""
    manager: Any = mock.MagicMock()
    sio = socketio.AsyncServer(async_mode="asgi", client_manager=manager)
    instrumentation = instrument_server(sio, registry=registry)
    assert isinstance(manager.emit, mock.MagicMock)
    instrumentation.uninstrument()


async def test_handler_of_engineio_that_is_anothers_already_calls_ours(
    make: Make, registry: CollectorRegistry
) -> None:
    """As the Admin UI's does, by the server's own method."""
    sio = socketio.AsyncServer(async_mode="asgi")

    async def theirs(*args: Any) -> None:
        await sio._handle_eio_connect(*args)

    sio.eio.on("connect", theirs)
    make(server=sio)
    peer = await Peer.join(sio)
    assert hasattr(type(peer.session), "is_observed")
    instrument_server(sio).uninstrument()
    assert theirs is sio.eio.handlers["connect"]


async def test_second_look_at_the_recipients_does_not_count(
    make: Make, registry: CollectorRegistry
) -> None:
    """The Admin UI looks again, inside the emit."""
    sio = socketio.AsyncServer(async_mode="asgi")
    original = sio.manager.emit

    async def emit(event: str, data: Any, namespace: str, **more: Any) -> None:
        await original(event, data, namespace, **more)
        assert [] == list(sio.manager.get_participants("/nowhere", None))

    sio.manager.emit = emit
    make(server=sio)
    await Peer.join(sio)
    await sio.emit("news")
    assert 1 == total(registry, "socketio_emit_recipients_sum")


async def test_failure_of_ours_in_events_and_acknowledgements_changes_nothing(
    make: Make, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are handled, and the failures are counted."""

    def fail(*args: Any) -> Any:
        raise RuntimeError("bug")

    sio = make()
    seen: list[Any] = []
    sio.on("chat", lambda sid, *args: seen.append(args))
    peer = await Peer.join(sio)
    await sio.emit("question", to=peer.sids["/"], callback=lambda *args: seen.append(args))
    monkeypatch.setattr("asgi_ws_observe.socketio.hooks.received", fail)
    monkeypatch.setattr("asgi_ws_observe.socketio.acks.Ack._answered", fail)
    await peer.emit("chat", 1)
    await peer.acknowledge(1, "blue")
    assert [(1,), ("blue",)] == seen
    assert 2 == sample(registry, "ws_observe_errors_total", part="socketio")


async def test_session_that_cannot_be_saved_is_logged_and_traced(
    make: Make, lines: Any, spans: Any
) -> None:
    """The client is gone, which the application learns by an exception of its own."""
    sio = make()
    peer = await Peer.join(sio)
    sid = peer.sids["/"]
    await sio.save_session(sid, {"user": 7})
    assert {"user": 7} == await sio.get_session(sid)
    with pytest.raises(KeyError):
        await sio.save_session("gone", {}, "/")

    (line,) = lines("socketio_error")
    assert ("save_session", "gone", "KeyError") == (
        line["operation"],
        line["sid"],
        line["error_type"],
    )
    (span,) = spans.named("save_session")
    assert "KeyError" == (span.attributes or {})["error.type"]


async def test_session_that_cannot_be_saved_without_an_sdk_is_logged(
    make: Make, lines: Any
) -> None:
    """There is no span to make."""
    sio = make(traced=False)
    with pytest.raises(KeyError):
        await sio.save_session("gone", {})
    assert 1 == len(lines("socketio_error"))


def test_numbers_exist_from_the_start(make: Make, registry: CollectorRegistry) -> None:
    """`rate()` works from the first event of each kind that has no names."""
    make()
    assert 0 == sample(registry, "socketio_reserved_events_total")
    assert 0 == sample(registry, "engineio_rejections_total", reason="bad-sid")
    assert 0 == sample(registry, "engineio_queue_depth")
