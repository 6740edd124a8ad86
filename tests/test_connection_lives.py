"""The record, in any order of events: random lives."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.websockets import WebSocketDisconnect

from asgi_ws_observe.close_codes import CLOSE_CLASSES, REASONS
from asgi_ws_observe.states import EVENT_NAMES, Ending, State
from asgi_ws_observe.store import HANDSHAKE_FAILURES
from tests.support import ACCEPT, CONNECT
from tests.test_connection import Life
from tests.test_connection_orders import BODY, BROKEN, CANCELLED, DENY, Group, Witness
from tests.test_probe import Seen
from tests.test_states import ENDINGS

TYPES = ("connect", "receive", "disconnect", "accept", "send", "close", "strange")
MESSAGES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [f"websocket.{each}" for each in TYPES] * 2 + [DENY["type"], BODY["type"], ""]
        )
    },
    optional={
        "text": st.none() | st.text(st.characters(exclude_categories=()), max_size=20),
        "bytes": st.none() | st.binary(max_size=20),
        "code": st.none() | st.integers() | st.sampled_from([1000, 1005, 1006, 1011, 4000]),
        "reason": st.none() | st.text(max_size=200),
        "status": st.none() | st.integers(100, 599) | st.text(),
        "subprotocol": st.none() | st.text(),
    },
)
ERRORS = st.sampled_from([BROKEN, CANCELLED, OSError(), WebSocketDisconnect(1006), Group("", ())])
# What only a probe tells: the end, perhaps more than once, and what it sees until then.
SIGHTS = st.one_of(
    st.tuples(st.just("lost"), ENDINGS),
    st.tuples(st.just("lost"), ENDINGS),
    st.tuples(st.just("see"), st.none() | ENDINGS),
    st.tuples(st.just("abort"), st.booleans()),
    st.tuples(st.just("heartbeat"), st.sampled_from([(0.1, 0.0), (3.0, 2.9), None])),
    st.tuples(st.just("wired"), st.integers(0, 2**40)),
)
EVENTS = st.one_of(
    st.tuples(st.sampled_from(["received", "sent"]), MESSAGES),
    st.tuples(st.just("send_failed"), ERRORS),
    st.tuples(st.just("handled"), st.none()),
)
# Most lives are accepted, or random orders would seldom get further than the handshake.
BEGINNINGS = st.sampled_from([[], [("sent", ACCEPT)], [("received", CONNECT), ("sent", ACCEPT)]])


def tell(life: Life, event: str, value: Any) -> None:
    """Tell the record of one event, a second later."""
    life.now += 1.0
    if event == "sent":
        life.send(value, 0.5)
    elif event == "handled":
        life.connection.handled(life.now)
    elif event == "send_failed":
        life.refuse(value, 0.5)
    elif isinstance(life, Seen) and event in ("lost", "see", "abort", "heartbeat", "wired"):
        see(life, event, value)
    else:
        getattr(life.connection, event)(value, life.now)


def see(life: Seen, event: str, value: Any) -> None:
    """Let the probe see something, as far as there can be anything to see."""
    connection = life.connection
    if event == "lost":
        life.lose(value)
    elif event == "see":
        life.probe.seen = value
    elif event == "abort":
        life.probe.can_abort = value
        assert value == connection.abort()
    elif connection.outcome and event == "wired":
        connection.wired(connection.wire_in + value, connection.wire_out, 0.1)
    elif connection.outcome and value is None:
        connection.heartbeat_missed()
    elif connection.outcome:
        connection.heartbeat(*value)


def check(life: Life, witness: Witness) -> None:
    """Check what holds after every event."""
    for numbers in life.store.routes.values():
        assert numbers.connects - sum(numbers.closes.values()) == numbers.active
        assert set(numbers.failures) == set(HANDSHAKE_FAILURES)
        for code, closed_by, reason in numbers.closes:
            assert code in life.observation.codes.labels
            assert closed_by in ("client", "server", "network", "unknown")
            assert reason in REASONS
    states = {state.value for state in State}
    for state, event in life.store.unexpected:
        assert state in states
        assert event in EVENT_NAMES
    assert life.store.live == 1 - witness.events.count("closed")
    connection = life.connection
    assert connection.outcome in ("", "accepted", "rejected", "denied", *CLOSE_CLASSES)
    assert connection.bytes_in == sum(each.size_in.sum for each in life.store.routes.values())
    assert connection.bytes_out == sum(each.size_out.sum for each in life.store.routes.values())


def check_end(life: Life, witness: Witness) -> None:
    """Check what holds when the connection and the application have ended."""
    for event in ("closed", "returned", "ended"):
        assert 1 == witness.events.count(event)
    assert "ended" == witness.events[-1]
    connection = life.connection
    assert witness.outcome == connection.outcome
    assert witness.close == (connection.close_code, connection.closed_by, connection.reason)
    assert {0} == {life.store.live, *(each.active for each in life.store.routes.values())}
    assert {0} == set(life.store.own_errors.values())


@settings(max_examples=1000, deadline=None)
@given(
    beginning=BEGINNINGS,
    events=st.lists(EVENTS, max_size=15),
    error=st.none() | ERRORS,
    later=st.lists(EVENTS, max_size=4),
)
def test_any_life_ends_once_and_leaves_nothing_behind(
    beginning: list[tuple[str, Any]],
    events: list[tuple[str, Any]],
    error: BaseException | None,
    later: list[tuple[str, Any]],
) -> None:
    """Events in any order, also from tasks that outlive the application."""
    witness = Witness()
    life = Life(hooks=(witness,))
    for event in (*beginning, *events, ("ended", error), *later):
        tell(life, *event)
        check(life, witness)

    check_end(life, witness)


@settings(max_examples=1000, deadline=None)
@given(
    beginning=BEGINNINGS,
    events=st.lists(EVENTS | SIGHTS, max_size=15),
    error=st.none() | ERRORS,
    later=st.lists(EVENTS | SIGHTS, max_size=6),
    ending=ENDINGS,
    after=st.lists(EVENTS | SIGHTS, max_size=4),
)
def test_any_life_that_is_seen_ends_once_and_leaves_nothing_behind(
    beginning: list[tuple[str, Any]],
    events: list[tuple[str, Any]],
    error: BaseException | None,
    later: list[tuple[str, Any]],
    ending: Ending,
    after: list[tuple[str, Any]],
) -> None:
    """The application's return, the end of the TCP connection and all the rest in any order."""
    witness = Witness()
    life = Seen(hooks=(witness,))
    for event in (*beginning, *events, ("ended", error), *later, ("lost", ending), *after):
        tell(life, *event)
        check(life, witness)

    check_end(life, witness)
    assert [] == life.watch.probes
    assert life.connection.wire_in == sum(each.wire_in for each in life.store.routes.values())
