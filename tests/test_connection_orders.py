"""The record, in the orders of events that servers really produce."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.websockets import WebSocketDisconnect

from asgi_ws_observe import Connection, ConnectionHook
from asgi_ws_observe.states import State
from tests.support import ACCEPT, CONNECT, disconnect, scope, text
from tests.test_connection import AnyLife, Life

SEND: dict[str, Any] = {"type": "websocket.send", "text": "abc"}
CLOSE: dict[str, Any] = {"type": "websocket.close"}
DENY: dict[str, Any] = {"type": "websocket.http.response.start", "status": 429, "headers": []}
BODY: dict[str, Any] = {"type": "websocket.http.response.body", "body": b"slow down"}
ROUTED = {"route": SimpleNamespace(path_format="/ws")}
CANCELLED, BROKEN = asyncio.CancelledError(), RuntimeError("broken")


class Witness(ConnectionHook):
    """Note the events of a life, and what the record says when it is over."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.outcome = ""
        self.close: tuple[Any, ...] = ()

    def opened(self, connection: Connection) -> None:
        self.events.append("opened")

    def errored(self, connection: Connection, error: BaseException) -> None:
        self.events.append(type(error).__name__)

    def closed(self, connection: Connection) -> None:
        self.outcome = connection.outcome
        self.close = (connection.close_code, connection.closed_by, connection.reason)
        self.events.append("closed")

    def returned(self, connection: Connection) -> None:
        self.events.append("returned")

    def ended(self, connection: Connection) -> None:
        self.events.append("ended")


def live(life: AnyLife, *messages: dict[str, Any]) -> AnyLife:
    """Let messages pass, each in the direction that its type tells."""
    for message in messages:
        kind = message["type"].removeprefix("websocket.")
        way = life.receive if kind in ("connect", "receive", "disconnect") else life.send
        way(message)
    return life


def close_of(life: Life) -> tuple[Any, ...]:
    """Return how an accepted connection ended, and check that the store says the same."""
    connection = life.connection
    counted = {key: count for key, count in life.numbers.closes.items() if count}
    label = life.observation.codes.label(connection.close_code or 0)
    assert {(label, connection.closed_by, connection.reason): 1} == counted
    assert (0, 0, 1) == (life.store.live, life.numbers.active, life.numbers.connects)
    return connection.close_code, connection.closed_by, connection.reason, connection.outcome


def failure_of(life: Life) -> tuple[Any, ...]:
    """Return how a handshake failed, and check that the store says the same."""
    connection = life.connection
    counted = {reason: count for reason, count in life.numbers.failures.items() if count}
    assert {connection.reason: 1} == counted
    assert (0, 0, 0) == (life.store.live, life.numbers.active, life.numbers.connects)
    assert (None, "", 0.0) == (connection.close_code, connection.closed_by, connection.duration)
    assert 1 == sum(life.numbers.handshake.counts)
    return connection.outcome, connection.reason, connection.status


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([disconnect(1000)], (1000, "client", "normal", "normal")),
        ([disconnect(1001)], (1001, "client", "going_away", "going_away")),
        ([disconnect(1005)], (1005, "client", "normal", "normal")),
        ([disconnect(1005, None)], (1006, "network", "unknown", "abnormal")),
        ([disconnect(1012)], (1012, "server", "server_shutdown", "going_away")),
        ([disconnect(1009)], (1009, "unknown", "too_big", "abnormal")),
        ([disconnect(4001)], (4001, "client", "application", "application")),
        # The first one decides: uvicorn hands out a second one.
        ([disconnect(1000), disconnect(1005, None)], (1000, "client", "normal", "normal")),
        # A send after the client left, and a close in a `finally`.
        ([disconnect(1001), SEND], (1001, "client", "going_away", "going_away")),
        ([disconnect(1001), CLOSE], (1001, "client", "going_away", "going_away")),
        # The application closes; messages on their way and a disconnect follow.
        ([CLOSE], (1000, "server", "normal", "normal")),
        ([CLOSE, CLOSE], (1000, "server", "normal", "normal")),
        ([CLOSE | {"code": 4000}, disconnect(4000)], (4000, "server", *["application"] * 2)),
        (
            [CLOSE | {"code": 1011}, disconnect(1005, None)],
            (1011, "server", "handler_error", "error"),
        ),
        ([CLOSE, text("late"), disconnect()], (1000, "server", "normal", "normal")),
    ],
)
def test_accepted_connection_is_closed(
    messages: list[dict[str, Any]], expected: tuple[Any, ...]
) -> None:
    """Whoever is first, whatever follows."""
    witness = Witness()
    life = live(Life(hooks=(witness,)), CONNECT, ACCEPT, text("a"), SEND, *messages)
    life.end()

    assert expected == close_of(life)
    assert ["opened", "closed", "returned", "ended"] == witness.events
    assert State.CLOSED is life.connection.state
    assert {} == life.numbers.errors


def test_message_after_the_applications_close_is_counted_and_one_sent_is_not() -> None:
    """The client's were on their way; the application's reached nobody."""
    life = live(Life(), CONNECT, ACCEPT, CLOSE, text("late"), SEND)

    assert (1, 0) == (life.connection.messages_in, life.connection.messages_out)
    assert {("closing", "send"): 1} == life.store.unexpected


@pytest.mark.parametrize(
    ("messages", "error", "expected"),
    [
        ([], None, ("rejected", "error", 500)),
        ([], BROKEN, ("rejected", "error", 500)),
        ([], CANCELLED, ("rejected", "cancelled", 500)),
        ([disconnect(1006)], None, ("rejected", "abandoned", None)),
        ([disconnect(1006)], WebSocketDisconnect(1006), ("rejected", "abandoned", None)),
        ([disconnect(1006), CLOSE], None, ("rejected", "abandoned", None)),
        ([disconnect(1006), ACCEPT], CANCELLED, ("rejected", "abandoned", None)),
        ([CLOSE], None, ("rejected", "rejected", 403)),
        ([CLOSE, disconnect(1006)], None, ("rejected", "rejected", 403)),
        ([CLOSE, disconnect(1006)], BROKEN, ("rejected", "rejected", 403)),
        ([CLOSE], CANCELLED, ("rejected", "rejected", 403)),
        ([DENY, BODY, BODY, disconnect(1006)], None, ("denied", "denied", 429)),
        ([DENY], BROKEN, ("denied", "denied", 429)),
        ([DENY, BODY], CANCELLED, ("denied", "denied", 429)),
        ([DENY | {"status": None}], None, ("denied", "denied", None)),
    ],
)
def test_handshake_fails(
    messages: list[dict[str, Any]], error: BaseException | None, expected: tuple[Any, ...]
) -> None:
    """Abandoned by the client, refused by the application, or never answered."""
    witness = Witness()
    life = live(Life(hooks=(witness,)), CONNECT, *messages)
    life.end(error)

    raised = [type(error).__name__] if error is BROKEN else []
    assert expected == failure_of(life)
    assert sorted([*raised, "closed", "returned", "ended"]) == sorted(witness.events)
    assert ["returned", "ended"] == witness.events[-2:]
    assert dict.fromkeys(raised, 1) == life.numbers.errors


@pytest.mark.parametrize(
    ("routing", "reason"),
    [
        ({}, "rejected"),
        ({"router": Starlette().router}, "not_found"),
        ({"router": Starlette().router} | ROUTED, "rejected"),
    ],
)
def test_close_before_accept_is_not_found_where_no_route_matched(
    routing: dict[str, Any], reason: str
) -> None:
    """Both are 403 to the client; an application without a router only rejects."""
    life = live(Life(scope(**routing)), CONNECT, CLOSE)
    life.end()

    assert ("rejected", reason, 403) == failure_of(life)


@pytest.mark.parametrize("answer", [[CLOSE], [DENY, BODY], []])
def test_handshake_above_the_limit_fails_for_that_reason(answer: list[dict[str, Any]]) -> None:
    """However it is refused."""
    life = Life()
    life.connection.is_limited = True
    live(life, CONNECT, *answer).end()

    assert "limit" == failure_of(life)[1]


@pytest.mark.parametrize(
    ("messages", "error", "expected"),
    [
        ([], None, (1006, "server", "no_close", "abnormal")),
        ([], BROKEN, (1006, "server", "handler_error", "error")),
        ([], CANCELLED, (1006, "server", "cancelled", "abnormal")),
        ([disconnect()], BROKEN, (1000, "client", "normal", "normal")),
        ([disconnect()], CANCELLED, (1000, "client", "normal", "normal")),
        ([CLOSE], BROKEN, (1000, "server", "normal", "normal")),
        ([CLOSE], CANCELLED, (1000, "server", "normal", "normal")),
    ],
)
def test_application_ends_in_an_accepted_connection(
    messages: list[dict[str, Any]], error: BaseException | None, expected: tuple[Any, ...]
) -> None:
    """Open or closing; what it raises is an error either way, being cancelled is none."""
    witness = Witness()
    life = live(Life(hooks=(witness,)), CONNECT, ACCEPT, text("a"), *messages)
    life.end(error)

    raised = [type(error).__name__] if error is BROKEN else []
    assert expected == close_of(life)
    assert dict.fromkeys(raised, 1) == life.numbers.errors
    assert raised == [event for event in witness.events if event == "RuntimeError"]
    assert 1 == sum(life.numbers.handler.counts)


class Group(Exception):
    """Stand for an exception group, which Python 3.10 does not have."""

    def __init__(self, message: str, exceptions: tuple[Exception, ...]) -> None:
        super().__init__(message)
        self.exceptions = exceptions


GROUPS: list[Any] = [Group]
if sys.version_info >= (3, 11):
    GROUPS.append(ExceptionGroup)  # noqa: F821


def test_starlettes_disconnect_is_no_error_after_the_client_left() -> None:
    """`receive_text` raises it, and most handlers let it pass."""
    life = live(Life(), CONNECT, ACCEPT, disconnect(1001))
    life.end(WebSocketDisconnect(1001))

    assert (1001, "client", "going_away", "going_away") == close_of(life)
    assert {} == life.numbers.errors


def test_starlettes_disconnect_without_a_disconnect_is_an_error() -> None:
    """Somebody raised it by hand."""
    life = live(Life(), CONNECT, ACCEPT)
    life.end(WebSocketDisconnect(1000))

    assert (1006, "server", "handler_error", "error") == close_of(life)
    assert {"WebSocketDisconnect": 1} == life.numbers.errors


@pytest.mark.parametrize("as_starlette", [True, False])
@pytest.mark.parametrize("wrap", [lambda error: error, *(
    lambda error, group=group: group("tasks", (error, group("more", (error,)))) for group in GROUPS
)])  # fmt: skip
def test_refused_send_that_leaves_the_application_is_no_error(
    wrap: Any, as_starlette: bool
) -> None:
    """It says that the client is gone; Starlette makes a disconnect of it, task groups a group."""
    life = live(Life(), CONNECT, ACCEPT)
    error: Exception = OSError("gone")
    life.refuse(error)
    life.end(wrap(WebSocketDisconnect(1006) if as_starlette else error))

    assert (1006, "network", "unknown", "abnormal") == close_of(life)
    assert {} == life.numbers.errors


def test_refused_send_that_the_application_swallows_is_the_networks() -> None:
    """The application returns, and did not close."""
    life = live(Life(), CONNECT, ACCEPT)
    life.refuse(OSError("gone"))
    life.end()

    assert (1006, "network", "unknown", "abnormal") == close_of(life)


def test_refused_send_after_a_disconnect_is_no_error() -> None:
    """uvicorn's legacy implementation raises RuntimeError then."""
    life = live(Life(), CONNECT, ACCEPT, disconnect(1001))
    life.refuse(BROKEN)
    life.end(BROKEN)

    assert (1001, "client", "going_away", "going_away") == close_of(life)
    assert {} == life.numbers.errors


def test_refused_send_tells_of_the_close_frame_that_was_received() -> None:
    """uvicorn's legacy implementation raises from the exception of websockets that has it."""
    life = live(Life(), CONNECT, ACCEPT)
    error = OSError("gone")
    error.__cause__ = RuntimeError()
    error.__cause__.rcvd = SimpleNamespace(code=4001, reason="bye")  # type: ignore[attr-defined]
    life.refuse(error)
    life.end(error)

    assert (4001, "client", "application", "application") == close_of(life)
    assert "bye" == life.connection.close_text
    assert {} == life.numbers.errors


def test_send_after_the_applications_own_close_is_an_error() -> None:
    """That is a mistake of the application, which servers name by another exception."""
    life = live(Life(), CONNECT, ACCEPT, CLOSE)
    error = RuntimeError("after close")
    life.refuse(error)
    life.end(error)

    assert (1000, "server", "normal", "normal") == close_of(life)
    assert {"RuntimeError": 1} == life.numbers.errors


@pytest.mark.parametrize("closing", [CLOSE, disconnect(1012)])
def test_send_into_a_connection_that_the_server_ended_is_no_error(closing: dict[str, Any]) -> None:
    """An OSError says that nobody is there any more, whoever closed."""
    life = live(Life(), CONNECT, ACCEPT, closing)
    error = OSError("gone")
    life.refuse(error)
    life.end(error)

    assert {} == life.numbers.errors


def test_several_refused_sends_in_a_group_are_no_error() -> None:
    """As a task group with several senders raises them."""

    class Group(Exception):
        exceptions = (OSError("first"), OSError("second"))

    life = live(Life(), CONNECT, ACCEPT)
    for each in Group.exceptions:
        life.refuse(each)
    life.end(Group())

    assert (1006, "network", "unknown", "abnormal") == close_of(life)
    assert {} == life.numbers.errors


def test_group_that_contains_itself_is_an_error() -> None:
    """Its end is found, and it is counted as what it is."""

    class Endless(Exception):
        @property
        def exceptions(self) -> tuple[Exception, ...]:
            return (self,)

    life = live(Life(), CONNECT, ACCEPT)
    life.end(Endless())

    assert {"Endless": 1} == life.numbers.errors


def test_accept_that_the_client_did_not_wait_for() -> None:
    """The handshake is abandoned, by an OSError of the accept as by a disconnect."""
    life = live(Life(), CONNECT)
    error = OSError("gone")
    life.refuse(error)
    life.end(error)

    assert 1 == life.numbers.failures["abandoned"]
    assert None is life.connection.status


def test_oserror_of_something_else_is_an_error() -> None:
    """A database that cannot be reached is not the client's leaving."""
    life = live(Life(), CONNECT, ACCEPT)
    life.refuse(OSError("gone"))
    life.end(ConnectionRefusedError("database"))

    assert (1006, "server", "handler_error", "error") == close_of(life)
    assert {"ConnectionRefusedError": 1} == life.numbers.errors


def test_cancelled_send_does_not_say_that_the_client_left() -> None:
    """The server did not refuse it."""
    life = live(Life(), CONNECT, ACCEPT)
    life.refuse(CANCELLED)
    life.end(CANCELLED)

    assert (1006, "server", "cancelled", "abnormal") == close_of(life)


@pytest.mark.parametrize("group", GROUPS)
def test_group_with_one_real_error_is_an_error(group: Any) -> None:
    """Next to the client's leaving something else went wrong."""
    life = live(Life(), CONNECT, ACCEPT, disconnect())
    life.end(group("tasks", (WebSocketDisconnect(1000), group("more", (BROKEN,)))))

    assert (1000, "client", "normal", "normal") == close_of(life)
    assert {group.__name__: 1} == life.numbers.errors


def test_empty_group_is_an_error() -> None:
    """It says nothing about the client."""
    life = live(Life(), CONNECT, ACCEPT, disconnect())
    life.end(Group("tasks", ()))

    assert {"Group": 1} == life.numbers.errors


@pytest.mark.parametrize(
    ("messages", "unexpected"),
    [
        ([text("early")], ("connecting", "message")),
        ([SEND], ("connecting", "send")),
        ([{"type": "websocket.strange"}], ("connecting", "unknown")),
        ([ACCEPT, ACCEPT], ("open", "accept")),
        ([ACCEPT, CONNECT], ("open", "connect")),
        ([ACCEPT, DENY], ("open", "response_start")),
        ([CLOSE, ACCEPT], ("rejected", "accept")),
        ([DENY, text("late")], ("denied", "message")),
    ],
)
def test_event_that_no_state_expects_is_counted_and_changes_nothing(
    messages: list[dict[str, Any]], unexpected: tuple[str, str]
) -> None:
    """The record neither raises nor believes it."""
    life = live(Life(), *messages)

    assert {unexpected: 1} == life.store.unexpected
    assert unexpected[0] == life.connection.state.value
    assert (0, 0) == (life.connection.messages_in, life.connection.messages_out)
