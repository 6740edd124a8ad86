"""The record, fed by hand: handshake, life and fields of one connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from asgi_ws_observe import Connection, ConnectionHook, Settings
from asgi_ws_observe.buckets import Buckets
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.store import RouteNumbers, Store
from tests.support import ACCEPT, CONNECT, disconnect, scope

AnyLife = TypeVar("AnyLife", bound="Life")


class Life:
    """A record between a server and an application that are played by hand.

    Time stands still unless a test moves `now`.
    """

    def __init__(
        self,
        given: dict[str, Any] | None = None,
        hooks: tuple[ConnectionHook, ...] = (),
        **more: Any,
    ) -> None:
        self.store = Store()
        self.errors = OwnErrors(self.store)
        self.observation = Observation(Settings(**more), self.store, hooks, self.errors)
        self.now = 100.0
        self.connection = Connection(self.observation, given or scope(), self.now)

    @property
    def numbers(self) -> RouteNumbers:
        return self.store.route(self.connection.route)

    def opened(self: AnyLife, **message: Any) -> AnyLife:
        """Let the handshake be accepted."""
        self.receive(CONNECT)
        self.send(ACCEPT | message)
        return self

    def receive(self, message: dict[str, Any]) -> None:
        """Let the application ask for a message and get this one."""
        self.connection.handled(self.now)
        self.connection.received(message, self.now)

    def send(self, message: dict[str, Any], took: float = 0.0) -> None:
        """Let the application send a message that the server takes."""
        self.connection.sent(message, self.now - took, self.now)

    def refuse(self, error: BaseException, took: float = 0.0) -> None:
        """Let the server refuse what the application sends."""
        message = {"type": "websocket.send", "text": "hello"}
        self.connection.send_failed(message, error, self.now - took, self.now)

    def end(self, error: BaseException | None = None) -> None:
        """Let the application return or raise."""
        self.connection.ended(error, self.now)


def observations(buckets: Buckets) -> int:
    """Return how many values a histogram has seen."""
    return sum(buckets.counts)


def test_times_of_handshake_and_life() -> None:
    """Both are seconds, seen from the application."""
    life = Life()
    life.now += 0.25
    life.opened()
    life.now += 90.0
    life.receive(disconnect())

    assert (0.25, 90.0) == (life.connection.handshake_duration, life.connection.duration)
    assert (0.25, 90.0) == (life.numbers.handshake.sum, life.numbers.duration.sum)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"subprotocol": None}, None),
        ({"subprotocol": "v2"}, "v2"),
        ({"subprotocol": "x" * 65}, "x" * 63 + "…"),
    ],
)
def test_subprotocol_is_what_was_accepted(given: dict[str, Any], expected: str | None) -> None:
    """Not what was offered."""
    connection = Life(scope(subprotocols=["v1", "v2"])).opened(**given).connection

    assert (expected, 101, "accepted") == (
        *(connection.subprotocol, connection.status, connection.outcome),
    )


def test_route_is_known_when_the_handshake_is_answered() -> None:
    """Routers write into the scope while the application runs."""
    given = scope()
    life = Life(given)
    given["route"] = SimpleNamespace(path_format="/rooms/{room}")
    before = life.connection.route
    life.opened()

    assert ("unmatched", "/rooms/{room}") == (before, life.connection.route)
    assert (1, 1) == (life.numbers.active, life.numbers.connects)


def test_numbers_are_those_of_its_route_once_it_is_known() -> None:
    """Who looks at open connections adds them up by route."""
    life = Life(scope(route=SimpleNamespace(path_format="/rooms/{room}")))
    with pytest.raises(AttributeError):
        _ = life.connection.numbers
    life.opened()

    assert life.store.routes["/rooms/{room}"] is life.connection.numbers


def test_fields_keep_numbers_and_make_the_rest_harmless_text() -> None:
    """They end up in log lines and on spans."""
    connection = Life().connection
    for name, value in {"on": True, "n": 3, "f": 0.5, "who": "a\nb", "none": None}.items():
        connection.set(name, value)
    connection.set("long\n" * 20, "x" * 300)

    *first, (name, value) = connection.fields.items()
    assert [("on", True), ("n", 3), ("f", 0.5), ("who", r"a\nb"), ("none", "None")] == first
    assert (64, 256) == (len(name), len(str(value)))
    assert "\n" not in name


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63)])
def test_field_of_64_bits_stays_a_number(value: int) -> None:
    """One beyond is a text, since OTLP and readers of JSON take no more."""
    connection = Life().connection
    beyond = value + (1 if value > 0 else -1)
    connection.set("fits", value)
    connection.set("beyond", beyond)

    assert {"fits": value, "beyond": str(beyond)} == connection.fields


def test_fields_are_bounded_and_known_ones_can_change() -> None:
    """A loop over a client's keys does not fill the memory."""
    connection = Life().connection
    for number in range(100):
        connection.set(f"field{number}", number)
    connection.set("field0", "changed")

    assert Connection.MAX_FIELDS == len(connection.fields) == 32
    assert "changed" == connection.fields["field0"]
    assert "field32" not in connection.fields
