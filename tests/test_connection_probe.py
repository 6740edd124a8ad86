"""The record with a probe that sees the true end of a connection, in any order of events."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from asgi_ws_observe.probe import Probe
from asgi_ws_observe.states import Ending, State, Verdict
from tests.support import ACCEPT, CONNECT, disconnect, text
from tests.test_connection import Life, observations
from tests.test_connection_orders import (
    BROKEN,
    CANCELLED,
    CLOSE,
    DENY,
    SEND,
    Witness,
    close_of,
    failure_of,
    live,
)
from tests.test_probe import Seen, Watch

LEFT = Ending((1000, ""), (1000, ""), True)
RESET = Ending(lost_by="tcp_reset")


def test_connection_lasts_until_it_is_lost() -> None:
    """The application's close is not the end: the client has yet to answer it."""
    witness = Witness()
    life = Seen(hooks=(witness,))
    live(life, CONNECT, ACCEPT, CLOSE | {"code": 4000})
    life.now += 1.0
    life.end()
    before = (*witness.events, life.numbers.active, life.store.live, life.connection.duration)
    life.now += 5.0
    life.lose(Ending((4000, ""), (4000, "")))

    assert ("opened", "returned", 1, 1, 0.0) == before
    assert ["opened", "returned", "closed", "ended"] == witness.events
    assert (4000, "server", "application", "application") == close_of(life)
    assert (6.0, 6.0) == (life.connection.duration, life.numbers.duration.sum)
    assert State.CLOSED is life.connection.state


@pytest.mark.parametrize(
    ("messages", "ending", "expected"),
    [
        ([disconnect()], LEFT, (1000, "client", "normal", "normal")),
        ([], LEFT, (1000, "client", "normal", "normal")),
        # uvicorn says 1005 of a lost connection and of an empty close frame.
        (
            [disconnect(1005, None)],
            Ending((1005, ""), None, True),
            (1005, "client", "normal", "normal"),
        ),
        ([disconnect(1005, None)], RESET, (1006, "network", "tcp_reset", "abnormal")),
        ([disconnect(1006)], Ending(lost_by="eof"), (1006, "network", "eof", "abnormal")),
        (
            [disconnect(1006)],
            Ending(None, (1011, "keepalive ping timeout"), cause="ping_timeout"),
            (1006, "network", "ping_timeout", "abnormal"),
        ),
        # Either side may have said this by ASGI.
        ([disconnect(1009)], Ending(None, (1009, "")), (1009, "server", "too_big", "abnormal")),
        (
            [disconnect(1009)],
            Ending((1009, ""), None, True),
            (1009, "client", "too_big", "abnormal"),
        ),
        ([], Ending(cause="too_big"), (1006, "server", "too_big", "abnormal")),
        (
            [disconnect(1012)],
            Ending(None, (1012, ""), cause="server_shutdown"),
            (1012, "server", "server_shutdown", "going_away"),
        ),
        # The application closes, and the client answers, or vanishes.
        ([CLOSE], Ending((1000, ""), (1000, "")), (1000, "server", "normal", "normal")),
        (
            [CLOSE | {"code": 1011}],
            Ending(None, (1011, ""), lost_by="tcp_reset"),
            (1011, "server", "handler_error", "error"),
        ),
        # Its close crossed the client's.
        ([CLOSE | {"code": 4000}], LEFT, (1000, "client", "normal", "normal")),
        ([CLOSE | {"code": 4000}], RESET, (1006, "network", "tcp_reset", "abnormal")),
        ([], Ending(), (1006, "server", "unknown", "abnormal")),
    ],
)
def test_accepted_connection_ends_as_its_probe_saw(
    messages: list[dict[str, Any]], ending: Ending, expected: tuple[Any, ...]
) -> None:
    """Whatever the application was told before."""
    witness = Witness()
    life = live(Seen(hooks=(witness,)), CONNECT, ACCEPT, text("a"), SEND, *messages)
    life.lose(ending)
    life.end()

    assert expected == close_of(life)
    assert ["opened", "closed", "returned", "ended"] == witness.events
    assert ({}, {}) == (life.numbers.errors, life.store.unexpected)


@pytest.mark.parametrize(
    ("error", "ending", "expected"),
    [
        (None, Ending(), (1006, "server", "no_close", "abnormal")),
        (BROKEN, Ending(), (1006, "server", "handler_error", "error")),
        (CANCELLED, Ending(), (1006, "server", "cancelled", "abnormal")),
        # Some servers send a close frame of their own then.
        (None, Ending((1011, ""), (1011, "")), (1011, "server", "no_close", "error")),
        (BROKEN, Ending(None, (1011, "")), (1011, "server", "handler_error", "error")),
        (
            CANCELLED,
            Ending(None, (1012, ""), cause="server_shutdown"),
            (1012, "server", "server_shutdown", "going_away"),
        ),
        # The client was first, and the application never heard of it.
        (None, LEFT, (1000, "client", "normal", "normal")),
        (BROKEN, LEFT, (1000, "client", "normal", "normal")),
    ],
)
def test_connection_of_an_application_that_did_not_close(
    error: BaseException | None, ending: Ending, expected: tuple[Any, ...]
) -> None:
    """The server closes it afterwards."""
    life = live(Seen(), CONNECT, ACCEPT)
    life.end(error)
    life.lose(ending)

    assert expected == close_of(life)
    assert ({"RuntimeError": 1} if error is BROKEN else {}) == life.numbers.errors


@pytest.mark.parametrize(
    ("seen", "code"),
    [(None, 1000), (Ending(), 1000), (Ending((4001, "bye"), None, True), 4001)],
)
def test_close_code_is_known_before_the_end(seen: Ending | None, code: int) -> None:
    """What ASGI says stands until the probe has seen something."""
    life = Seen()
    life.probe.seen = seen
    live(life, CONNECT, ACCEPT, disconnect())

    assert (code, "client", 1) == (
        *(life.connection.close_code, life.connection.closed_by, life.numbers.active),
    )


@pytest.mark.parametrize("order", [*itertools.permutations(["lost", "returned", "disconnect"])])
def test_three_ends_in_any_order_are_one(order: tuple[str, ...]) -> None:
    """The server's disconnect, the application's return, the end of the TCP connection."""
    witness = Witness()
    life = Seen(hooks=(witness,)).opened()
    life.probe.seen = LEFT
    for each in order:
        life.now += 1.0
        if each == "lost":
            life.lose(LEFT)
        elif each == "returned":
            life.end()
        else:
            life.receive(disconnect(1005, None))

    lost, returned = order.index("lost"), order.index("returned")
    middle = ["closed", "returned"] if lost < returned else ["returned", "closed"]
    assert ["opened", *middle, "ended"] == witness.events
    assert (1000, "client", "normal", "normal") == close_of(life)
    assert 1.0 + lost == life.connection.duration


def test_connection_is_lost_once() -> None:
    """A second end says nothing new."""
    witness = Witness()
    life = Seen(hooks=(witness,)).opened()
    life.lose(LEFT)
    life.now += 1.0
    life.lose(RESET)
    life.end()
    life.lose(RESET)

    assert ["opened", "closed", "returned", "ended"] == witness.events
    assert (1000, "client", "normal", "normal") == close_of(life)
    assert 0.0 == life.connection.duration


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending(), ("rejected", "abandoned", None)),
        (RESET, ("rejected", "abandoned", None)),
        # The server answers 500 when it is told to stop.
        (Ending(cause="server_shutdown"), ("rejected", "cancelled", 500)),
    ],
)
@pytest.mark.parametrize("later", [[], [ACCEPT, SEND], [CLOSE], [disconnect(1006)]])
def test_handshake_is_lost(
    ending: Ending, expected: tuple[Any, ...], later: list[dict[str, Any]]
) -> None:
    """Whatever the application does then."""
    witness = Witness()
    life = live(Seen(hooks=(witness,)), CONNECT)
    life.lose(ending)
    live(life, *later).end()

    assert expected == failure_of(life)
    assert ["closed", "returned", "ended"] == witness.events


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([CLOSE], ("rejected", "rejected", 403)),
        ([DENY], ("denied", "denied", 429)),
        ([], ("rejected", "error", 500)),
    ],
)
def test_tcp_connection_of_a_failed_handshake_ends_later(
    answer: list[dict[str, Any]], expected: tuple[Any, ...]
) -> None:
    """That is no end of a WebSocket, and counts nothing."""
    witness = Witness()
    life = live(Seen(hooks=(witness,)), CONNECT, *answer)
    life.end()
    life.lose(LEFT)

    assert expected == failure_of(life)
    assert {0} == set(life.numbers.closes.values())
    assert {} == life.store.unexpected
    assert sorted(["closed", "returned", "ended"]) == sorted(witness.events)


def test_messages_after_the_end_are_counted() -> None:
    """The server had them, and the application takes them at its own pace."""
    life = Seen().opened()
    life.lose(LEFT)
    life.receive(text("late"))
    life.now += 0.5
    life.receive(disconnect())
    life.end()

    connection = life.connection
    assert (1, 4, 1, 4) == (
        *(connection.messages_in, connection.bytes_in),
        *(observations(life.numbers.size_in), life.numbers.size_in.sum),
    )
    assert (1, 0.5) == (observations(life.numbers.handler), life.numbers.handler.sum)
    assert {} == life.store.unexpected


def test_message_sent_after_the_end_is_not_counted() -> None:
    """It reached nobody, as one after a disconnect."""
    life = Seen().opened()
    life.lose(RESET)
    live(life, SEND)

    assert 0 == life.connection.messages_out
    assert {("closing", "send"): 1} == life.store.unexpected


@pytest.mark.parametrize("error", [OSError("gone"), BROKEN])
def test_send_that_the_server_refuses_after_the_end_is_no_error(error: Exception) -> None:
    """Nor is what Starlette makes of the disconnect."""
    for raised in (error, WebSocketDisconnect(1006)):
        life = Seen().opened()
        life.lose(RESET)
        life.refuse(error)
        life.end(raised)

        assert {} == life.numbers.errors
        assert (1006, "network", "tcp_reset", "abnormal") == close_of(life)


def test_application_that_fails_after_the_end_is_an_error() -> None:
    """Nobody is left to see it but the operator; the close is what it was."""
    witness = Witness()
    life = Seen(hooks=(witness,)).opened()
    life.lose(LEFT)
    life.end(BROKEN)

    assert {"RuntimeError": 1} == life.numbers.errors
    assert ["opened", "closed", "RuntimeError", "returned", "ended"] == witness.events
    assert (1000, "client", "normal", "normal") == close_of(life)


class Correcting(Probe):
    """A probe that sees no end, and knows what its server's word means."""

    def correct(self, verdict: Verdict) -> Verdict:
        return verdict._replace(code=1005, closed_by="unknown")


def test_probe_that_sees_no_end_corrects_what_asgi_says() -> None:
    """The connection ends where ASGI has it end."""
    witness = Witness()
    life = Life(hooks=(witness,))
    life.connection.probe = Correcting(life.connection, Watch())
    live(life, CONNECT, ACCEPT, disconnect(1000))
    before = list(witness.events)
    life.end()

    assert ["opened", "closed"] == before
    assert (1005, "unknown", "normal", "normal") == close_of(life)


def test_handshake_that_the_server_refuses_is_a_bad_request() -> None:
    """No application is called, and yet it was a handshake."""
    witness = Witness()
    life = Life(hooks=(witness,))
    life.now += 0.5
    life.connection.refused(426, life.now)

    assert ("rejected", "bad_request", 426) == failure_of(life)
    assert ["closed", "returned", "ended"] == witness.events
    assert (0.5, State.REJECTED) == (life.connection.handshake_duration, life.connection.state)
    assert {} == life.store.unexpected


FAILED = Ending(None, (1002, ""))


def test_send_refused_while_the_server_fails_the_connection_is_no_error() -> None:
    """uvicorn raises RuntimeError until what it has written is gone; nobody was told yet."""
    life = Seen().opened()
    life.probe.seen = FAILED
    life.refuse(BROKEN)
    life.end(BROKEN)
    life.lose(FAILED)

    assert {} == life.numbers.errors
    assert (1002, "server", "protocol_error", "abnormal") == close_of(life)


def test_send_refused_after_the_server_failed_the_connection_is_no_error() -> None:
    """The application did not close it: the client's mistake is not its own."""
    life = live(Seen(), CONNECT, ACCEPT, disconnect(1002))
    life.lose(FAILED)
    life.refuse(BROKEN)
    life.end(BROKEN)

    assert {} == life.numbers.errors


def test_abort_may_say_why() -> None:
    """Whoever looks at the closes finds the cause."""
    life = Seen().opened()
    assert life.connection.abort("overload")
    life.lose()
    assert (1006, "server", "overload", "abnormal") == close_of(life)


def test_application_that_ends_before_its_aborted_connection_changes_nothing() -> None:
    """Who closed first stays who closed."""
    life = Seen().opened()
    life.connection.abort()
    error = OSError("gone")
    life.refuse(error)
    life.end(error)
    life.lose()

    assert (1006, "server", "no_close", "abnormal") == close_of(life)


def test_handler_that_raised_is_an_error_whatever_code_its_client_sees() -> None:
    """granian sends an empty close frame then."""
    life = Life()
    life.connection.probe = Correcting(life.connection, Watch())
    live(life, CONNECT, ACCEPT).end(BROKEN)

    assert "error" == life.connection.outcome


def test_send_that_waits_while_the_connection_ends_is_counted_as_time_only() -> None:
    """Some servers let it return then; the application could not know."""
    life = Seen().opened()
    life.now += 5.0
    life.lose()
    life.now += 1.0
    life.send(SEND, took=3.0)

    assert (1, 3.0) == (observations(life.numbers.send), life.numbers.send.sum)
    assert {} == life.store.unexpected
    assert 0 == life.connection.messages_out


def test_send_after_the_connection_ended_is_unexpected() -> None:
    """Where the server lets it pass."""
    life = Seen().opened()
    life.lose()
    life.now += 1.0
    life.send(SEND, took=0.5)

    assert 0 == observations(life.numbers.send)
    assert {("closing", "send"): 1} == life.store.unexpected
