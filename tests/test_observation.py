"""What connections share: ids, routes, and the callbacks that may fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from asgi_ws_observe import ConnectionHook, Settings, SettingsError
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.store import Store
from tests.support import scope


def make(**settings: Any) -> Observation:
    """Return an observation with a store of its own."""
    store = Store()
    return Observation(Settings(**settings), store, (), OwnErrors(store))


def at(template: str) -> dict[str, Any]:
    """Return the scope of a connection that was routed to a template."""
    return scope(route=SimpleNamespace(path_format=template))


def fail(given: Mapping[str, Any]) -> str:
    """Stand for a callback of the user that is broken."""
    raise LookupError(given["path"])


def test_ids_are_random() -> None:
    """16 hexadecimal digits, and each time others."""
    observation = make()

    ids = {observation.make_id({}) for _ in range(1000)}

    assert 1000 == len(ids)
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)


def test_id_of_the_callback_is_taken() -> None:
    """An id that a proxy made can be used; it is made harmless."""
    observation = make(connection_id=lambda given: given["path"] + "\n" + "x" * 200)

    made = observation.make_id(scope("/ws"))

    assert made.startswith(r"/ws\nxxx")
    assert 128 == len(made)


def test_callback_may_leave_the_id_to_the_library() -> None:
    """`None` is the default, and no text."""
    assert re.fullmatch("[0-9a-f]{16}", make(connection_id=lambda given: None).make_id({}))


def test_failing_id_callback_is_reported_once_and_asked_no_more() -> None:
    """The connection gets a random id."""
    asked: list[str] = []

    def broken(given: Mapping[str, Any]) -> str:
        asked.append(given["path"])
        raise LookupError

    observation = make(connection_id=broken)
    ids = [observation.make_id(scope()) for _ in range(3)]

    assert ["/ws"] == asked
    assert 1 == observation.store.own_errors["connection_id"]
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)


def test_route_is_the_template() -> None:
    """The numbers are the store's."""
    observation = make()

    numbers = observation.route(at("/rooms/{room}"))

    assert "/rooms/{room}" == numbers.label
    assert numbers is observation.store.routes["/rooms/{room}"]


def test_route_of_the_callback_is_taken() -> None:
    """Applications without routes can name theirs; anything becomes text."""
    observation = make(route=lambda given: given["path"].count("/"))

    assert "2" == observation.route(scope("/a/b")).label


def test_callback_may_leave_the_route_to_the_library() -> None:
    """`None` means: as usual."""
    observation = make(route=lambda given: None)

    assert "/rooms/{room}" == observation.route(at("/rooms/{room}")).label


def test_failing_route_callback_is_reported_once_and_asked_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Routes are found as usual from then on."""
    observation = make(route=fail)

    labels = [observation.route(at(template)).label for template in ("/a", "/b")]

    assert ["/a", "/b"] == labels
    assert 1 == observation.store.own_errors["route"] == len(caplog.records)
    assert "routes are found as usual from now on" in caplog.text


def test_too_many_routes_become_other() -> None:
    """The dropped ones are counted, and the known ones stay."""
    observation = make(max_routes=2)

    labels = [observation.route(at(f"/{place}")).label for place in (0, 1, 2, 3, 0)]

    assert ["/0", "/1", "other", "other", "/0"] == labels
    assert 2 == observation.store.dropped_labels["route"]


@pytest.mark.parametrize("callback", [None, lambda given: "unmatched" if "scan" in given else None])
def test_unmatched_uses_no_place_and_is_never_other(callback: Any) -> None:
    """Whoever scans for paths does not push the real ones out."""
    observation = make(max_routes=1, route=callback)
    scan = scope(scan=True)

    labels = [observation.route(given).label for given in (scan, at("/a"), at("/b"), scan)]

    assert ["unmatched", "/a", "other", "unmatched"] == labels


def test_label_of_the_callback_is_made_harmless() -> None:
    """A callback may hand on what a client sent."""
    assert r"a\nb" == make(route=lambda given: "a\nb").route(scope()).label


def test_settings_decide_on_close_codes() -> None:
    """Declared codes get a label, error codes a class."""
    codes = make(close_codes=[4001], error_close_codes=[4002]).codes

    assert ["4001", "4xxx"] == [codes.label(4001), codes.label(4002)]
    assert ["application", "error"] == [codes.classify(4001), codes.classify(4002)]


def test_something_that_is_no_hook_raises() -> None:
    """At start-up, not at the first connection."""
    store = Store()

    with pytest.raises(SettingsError, match="hooks: got"):
        Observation(Settings(), store, [ConnectionHook], OwnErrors(store))  # type: ignore[list-item]


class Textless:
    """Raises when it is asked for its text."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value", ["", None])
def test_callback_that_returns_nothing_means_the_default(value: str | None) -> None:
    """An empty id or label would say nothing."""
    store = Store()
    settings = Settings(route=lambda scope: value, connection_id=lambda scope: value)
    observation = Observation(settings, store, [], OwnErrors(store))
    assert "unmatched" == observation.route(scope()).label
    assert 16 == len(observation.make_id(scope()))


def test_route_callback_whose_value_has_no_text_is_dropped() -> None:
    """It is counted once, and the route is found as usual."""
    store = Store()
    settings = Settings(route=lambda scope: Textless())  # type: ignore[arg-type, return-value]
    observation = Observation(settings, store, [], OwnErrors(store))
    for _ in range(2):
        assert "unmatched" == observation.route(scope()).label
    assert 1 == store.own_errors["route"]


def test_route_that_is_given_counts_unless_the_settings_find_one() -> None:
    """The application's own word comes first, the router's last."""
    found = at("/rooms/{room}")
    assert "/socket.io/" == make().route(found, "/socket.io/").label
    own = make(route=lambda given: "/mine")
    assert "/mine" == own.route(found, "/socket.io/").label
