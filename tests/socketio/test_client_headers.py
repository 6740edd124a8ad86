"""Headers of a client's connections: the carrier is added, and nothing else is different."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import Any

import pytest

from asgi_ws_observe.socketio.client_headers import ConnectHeaders
from tests.socketio.test_carrier import CARRIER, PARENT


def carrier() -> dict[str, str]:
    """Return a carrier, a new one each time."""
    return dict(CARRIER)


@pytest.mark.parametrize("meant", [None, {}, {"x-user": "7"}])
def test_headers_get_a_carrier(meant: Any) -> None:
    """In a copy: the application's own stay what they are."""
    before = None if meant is None else dict(meant)
    assert {**(before or {}), **CARRIER} == ConnectHeaders(meant, carrier).ask()
    assert before == meant


def test_function_is_called_each_time() -> None:
    """As the client itself would call it."""
    given = iter(({"x-turn": "1"}, {"x-turn": "2"}))
    headers = ConnectHeaders(lambda: next(given), carrier)
    assert {"x-turn": "1", **CARRIER} == headers.ask()
    assert {"x-turn": "2", **CARRIER} == headers.ask()


def test_coroutine_function_is_awaited() -> None:
    """The client is given a coroutine function too."""

    async def meant() -> dict[str, str]:
        return {"x-user": "7"}

    assert {"x-user": "7", **CARRIER} == asyncio.run(ConnectHeaders(meant, carrier).ask())


def test_failure_of_the_applications_function_goes_on() -> None:
    """It is the application's, and its client's."""

    def meant() -> dict[str, str]:
        raise KeyError("token")

    with pytest.raises(KeyError, match="token"):
        ConnectHeaders(meant, carrier).ask()


@pytest.mark.parametrize("name", ["traceparent", "Traceparent"])
def test_applications_own_header_goes_before(name: str) -> None:
    """Whoever sets it knows why."""
    meant = {name: "00-of-its-own"}
    assert meant is ConnectHeaders(meant, carrier).ask()


def test_without_a_carrier_headers_are_the_applications() -> None:
    """The very same object."""
    meant = {"x-user": "7"}
    assert meant is ConnectHeaders(meant, dict).ask()


@pytest.mark.parametrize("meant", [7, [1, 2], MappingProxyType({"x-user": "7"})])
def test_headers_that_cannot_be_extended_are_the_applications(meant: Any) -> None:
    """What the client makes of them is its affair."""
    assert meant is ConnectHeaders(meant, carrier).ask()


def test_what_the_client_changes_is_changed_in_the_applications() -> None:
    """All but the carrier."""
    meant = {"cookie": "a=1", "x-user": "7", "x-turn": "1"}
    headers = ConnectHeaders(meant, carrier)
    given = headers.ask()
    del given["cookie"]
    given.update({"authorization": "Bearer x", "x-turn": "2"})
    headers.settle()
    assert {"x-user": "7", "x-turn": "2", "authorization": "Bearer x"} == meant
    given["late"] = "1"
    headers.settle()
    assert "late" not in meant


@pytest.mark.parametrize("meant", [None, {}])
def test_what_the_client_adds_to_no_headers_is_lost(meant: Any) -> None:
    """As it is without us: it makes a dict of its own."""
    headers = ConnectHeaders(meant, carrier)
    headers.ask()["x-user"] = "7"
    headers.settle()
    assert not meant


def test_what_a_function_returned_is_left_alone() -> None:
    """It is asked again the next time."""
    meant = {"x-user": "7"}
    headers = ConnectHeaders(lambda: meant, carrier)
    headers.ask()["x-turn"] = "1"
    headers.settle()
    assert {"x-user": "7"} == meant


def test_headers_that_were_never_asked_for_are_left_alone() -> None:
    """A connection may fail before."""
    meant = {"x-user": "7"}
    ConnectHeaders(meant, carrier).settle()
    assert {"x-user": "7"} == meant


class ReadOnly(dict[str, str]):
    """Headers that nobody may change, and whose copy may be."""

    def __copy__(self) -> dict[str, str]:
        return dict(self)

    def __setitem__(self, name: str, value: str) -> None:
        raise TypeError("read-only")


def test_headers_that_cannot_be_changed_stay_as_they_are() -> None:
    """Nothing is raised."""
    meant = ReadOnly({"x-user": "7"})
    headers = ConnectHeaders(meant, carrier)
    assert PARENT == headers.ask()["traceparent"]
    headers.ask()["x-turn"] = "1"
    headers.settle()
    assert {"x-user": "7"} == meant
