"""Hooks: what is called, what costs nothing, and what happens to one that fails."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from asgi_ws_observe import Connection, ConnectionHook, Settings, SettingsError
from asgi_ws_observe.hooks import EVENTS, Hooks, OwnErrors
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.store import ERROR_PARTS, Store
from tests.support import ACCEPT, CONNECT, disconnect, text

ARGUMENTS: dict[str, tuple[Any, ...]] = dict.fromkeys(EVENTS, ()) | {
    "message_received": (text("a"), 1),
    "message_sent": (text("a"), 1),
    "message_handled": (0.5,),
    "errored": (ValueError(),),
}


class Everything(ConnectionHook):
    """Note every call."""

    def __init__(self, calls: list[str] | None = None, name: str = "") -> None:
        self.calls: list[str] = [] if calls is None else calls
        self.name = name

    def _note(self, event: str) -> None:
        self.calls.append(self.name + event)

    def started(self, connection: Connection) -> None:
        self._note("started")

    def opened(self, connection: Connection) -> None:
        self._note("opened")

    def message_received(self, connection: Connection, message: Any, size: int) -> None:
        self._note("message_received")

    def message_handled(self, connection: Connection, duration: float) -> None:
        self._note("message_handled")

    def message_sent(self, connection: Connection, message: Any, size: int) -> None:
        self._note("message_sent")

    def errored(self, connection: Connection, error: BaseException) -> None:
        self._note("errored")

    def alive(self, connection: Connection) -> None:
        self._note("alive")

    def closed(self, connection: Connection) -> None:
        self._note("closed")

    def returned(self, connection: Connection) -> None:
        self._note("returned")

    def ended(self, connection: Connection) -> None:
        self._note("ended")


class Opened(ConnectionHook):
    """Override one method only, and fail in it if told so."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls = 0
        self._error = error

    def opened(self, connection: Connection) -> None:
        self.calls += 1
        if self._error is not None:
            raise self._error


def make(*hooks: Any) -> tuple[Hooks, Store]:
    """Return hooks and the store where their failures are counted."""
    store = Store()
    return Hooks(hooks, OwnErrors(store)), store


def connection() -> Connection:
    """Return a record that belongs to nothing."""
    return Connection(None, {}, 1.0)


@pytest.mark.parametrize("event", EVENTS)
def test_hook_that_overrides_nothing_costs_nothing(event: str) -> None:
    """The hot path asks for the truth of a list."""
    hooks, store = make(ConnectionHook())

    assert [] == getattr(hooks, event)
    getattr(ConnectionHook(), event)(connection(), *ARGUMENTS[event])
    hooks.call(event, connection(), *ARGUMENTS[event])
    assert {0} == set(store.own_errors.values())


@pytest.mark.parametrize("event", EVENTS)
def test_overridden_method_is_called_with_its_arguments(event: str) -> None:
    """Each event reaches the method of its name."""
    hook = Everything()
    hooks, _ = make(hook)

    hooks.call(event, connection(), *ARGUMENTS[event])

    assert [event] == hook.calls


def test_only_the_overridden_method_is_kept() -> None:
    """One overridden method makes the others no dearer."""
    hooks, _ = make(Opened())

    assert ["opened"] == [event for event in EVENTS if getattr(hooks, event)]


def test_method_of_a_base_class_is_an_override() -> None:
    """What counts is that it is not `ConnectionHook`'s."""

    class Derived(Opened):
        pass

    hook = Derived()
    make(hook)[0].call("opened", connection())

    assert 1 == hook.calls


def test_hooks_are_called_in_the_order_given() -> None:
    """Readers that need another one's work stand behind it."""
    calls: list[str] = []
    hooks, _ = make(Everything(calls, "first "), Everything(calls, "second "))

    hooks.call("closed", connection())

    assert ["first closed", "second closed"] == calls


@pytest.mark.parametrize("wrong", [object(), ConnectionHook, None, "hook"])
def test_something_that_is_no_hook_raises(wrong: Any) -> None:
    """Also the class instead of an instance."""
    with pytest.raises(SettingsError, match=r"hooks: got .*ConnectionHook$"):
        make(ConnectionHook(), wrong)


def test_coroutine_function_raises() -> None:
    """Nobody would await it."""

    class Late(ConnectionHook):
        async def closed(self, connection: Connection) -> None:  # type: ignore[override]
            """Do nothing, too late."""

    with pytest.raises(SettingsError, match=r"hooks: Late\.closed is a coroutine function"):
        make(Late())


def test_failing_hook_is_logged_once_counted_and_called_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The hook behind it is called all the same."""
    failing, other = Opened(ValueError("broken")), Opened()
    hooks, store = make(failing, other)

    hooks.call("opened", connection())
    hooks.call("opened", connection())

    assert (1, 2) == (failing.calls, other.calls)
    assert 1 == store.own_errors["hook"] == sum(store.own_errors.values())
    assert 1 == len(caplog.records)
    assert "hook failed in <" in caplog.text
    assert "it is called no more" in caplog.text
    assert "ValueError: broken" in caplog.text


def test_failing_hook_is_taken_out_of_every_event() -> None:
    """What a broken reader does afterwards would be wrong anyway."""

    class Broken(Everything):
        def opened(self, connection: Connection) -> None:
            raise ValueError

    hook, other = Broken(), Everything()
    hooks, _ = make(hook, other)

    for event in EVENTS:
        hooks.call(event, connection(), *ARGUMENTS[event])

    assert ["started"] == hook.calls
    assert list(EVENTS) == other.calls


def test_failing_hook_is_disabled_for_live_connections_too() -> None:
    """Connections that began before the failure do not call it again either."""

    class Broken(Everything):
        def message_received(self, connection: Connection, message: Any, size: int) -> None:
            super().message_received(connection, message, size)
            raise ValueError

    hook, store = Broken(), Store()
    observation = Observation(Settings(), store, [hook], OwnErrors(store))
    first, second = (Connection(observation, {}, 1.0) for _ in range(2))
    for each in (first, second):
        each.received(CONNECT, 1.0)
        each.sent(ACCEPT, 1.0, 1.0)
    first.received(text("a"), 2.0)
    second.received(text("a"), 2.0)
    for each in (first, second):
        each.received(disconnect(), 3.0)
        each.ended(None, 3.0)

    assert ["opened", "opened", "message_received"] == hook.calls
    assert 1 == store.own_errors["hook"]
    assert (2, 0) == (sum(store.route("unmatched").size_in.counts), store.live)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt()])
def test_cancellation_in_a_hook_is_no_failure_of_it(error: BaseException) -> None:
    """Who is told to stop must stop."""
    hooks, store = make(Opened(error))

    with pytest.raises(type(error)):
        hooks.call("opened", connection())
    assert 0 == store.own_errors["hook"]


def test_failures_are_counted_under_the_hooks_part() -> None:
    """Built-in readers are told apart."""

    class Reader(Opened):
        part = "logs"

    hooks, store = make(Reader(ValueError()))
    hooks.call("opened", connection())

    assert {"logs": 1} == {part: count for part, count in store.own_errors.items() if count}


def test_every_failure_is_counted_and_the_first_of_each_culprit_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A reader that fails a million times writes one line."""
    store = Store()
    errors = OwnErrors(store)
    one, other = ["unhashable"], ["unhashable"]

    for culprit in (one, other, one, one):
        errors.report("record", ValueError("broken"), culprit, "so what")

    assert 4 == store.own_errors["record"]
    assert ["record failed in ['unhashable']; so what"] * 2 == caplog.messages
    assert {("asgi_ws_observe", logging.ERROR)} == {
        (record.name, record.levelno) for record in caplog.records
    }


def test_culprit_that_is_a_text_is_known_by_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    """A name that is put together anew each time is the same culprit."""
    errors = OwnErrors(Store())

    for name in ("one", "two"):
        for _ in range(2):
            errors.report("collector", ValueError(), f"the metric {name}", "it is missing")

    assert 2 == len(caplog.records)


def test_parts_are_known_and_the_default_is_one_of_them() -> None:
    """The label's values are a closed set."""
    assert ConnectionHook.part in ERROR_PARTS
    assert len(set(ERROR_PARTS)) == len(ERROR_PARTS)


class Static(ConnectionHook):
    """Fails in a method that knows no instance."""

    @staticmethod
    def started(connection: Connection) -> None:
        raise ValueError


class OwnPart(ConnectionHook):
    """Fails under a name of its own."""

    part = "mine"

    def started(self, connection: Connection) -> None:
        raise ValueError


@pytest.mark.parametrize("hook", [Static(), OwnPart()])
def test_unusual_hook_that_fails_is_silenced_as_any_other(hook: ConnectionHook) -> None:
    """It is counted as a hook, and called no more."""
    store = Store()
    hooks = Hooks([hook], OwnErrors(store))
    for _ in range(2):
        hooks.call("started", None)
    assert 1 == store.own_errors["hook"]
