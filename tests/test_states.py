"""The state table, and what a close or a disconnect means."""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe.close_codes import REASONS
from asgi_ws_observe.states import (
    EVENT_NAMES,
    RECEIVED,
    SENT,
    TABLE,
    State,
    Verdict,
    judge_close,
    judge_disconnect,
)

FINAL = {State.CLOSED, State.REJECTED, State.DENIED}
CLOSED_BY = {"client", "server", "network", "unknown"}


class Code(IntEnum):
    """Stand for the enum of a server's library."""

    AWAY = 1001


def test_table_covers_every_state_and_knows_every_event() -> None:
    """A state that is added has to be thought through."""
    assert set(State) == set(TABLE)
    assert {event for row in TABLE.values() for event in row} == set(EVENT_NAMES) - {"unknown"}


def test_final_states_are_left_by_nothing() -> None:
    """A connection ends once."""
    assert {state: {state} for state in FINAL} == {
        state: {state, *TABLE[state].values()} for state in FINAL
    }


def test_every_state_but_the_first_can_be_reached() -> None:
    """There is no state without a way to it."""
    reached, new = {State.CONNECTING}, {State.CONNECTING}
    while new:
        new = {target for state in new for target in TABLE[state].values()} - reached
        reached |= new

    assert set(State) == reached


def test_the_end_of_the_application_leads_to_a_final_state_from_anywhere() -> None:
    """Nothing stays open after the application."""
    assert {row["end"] for state, row in TABLE.items() if row} == FINAL


def test_no_state_is_reached_twice_on_one_way() -> None:
    """There is no way back, so that every transition happens once."""
    order = [State.CONNECTING, State.OPEN, State.CLOSING, State.CLOSED]
    order += [State.REJECTED, State.DENIED]

    for state, row in TABLE.items():
        for target in row.values():
            assert order.index(state) <= order.index(target)


def test_messages_of_asgi_are_events() -> None:
    """The names are those of the ASGI specification, and no event means two things."""
    assert {"connect", "receive", "disconnect"} == {name.split(".")[1] for name in RECEIVED}
    assert len(set(EVENT_NAMES)) == len(EVENT_NAMES)
    assert all(name.startswith("websocket.") for name in (*RECEIVED, *SENT))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"code": 1000, "reason": "bye"}, (1000, "bye", "client", "normal")),
        ({"code": 1001, "reason": ""}, (1001, "", "client", "going_away")),
        ({"code": 1000}, (1000, "", "client", "normal")),
        ({"code": 4321, "reason": "own"}, (4321, "own", "client", "application")),
        ({"code": Code.AWAY, "reason": None}, (1001, "", "client", "going_away")),
        # An empty close frame: uvicorn gives an empty text, daphne no code.
        ({"code": 1005, "reason": ""}, (1005, "", "client", "normal")),
        ({"code": None}, (1005, "", "client", "normal")),
        ({}, (1005, "", "client", "normal")),
        # A lost connection: uvicorn's default and wsproto leave the key out, legacy says 1006.
        ({"code": 1005}, (1006, "", "network", "unknown")),
        ({"code": 1006, "reason": ""}, (1006, "", "network", "unknown")),
        ({"code": 1006}, (1006, "", "network", "unknown")),
        # Either side's word.
        ({"code": 1002, "reason": ""}, (1002, "", "unknown", "protocol_error")),
        ({"code": 1007, "reason": ""}, (1007, "", "unknown", "bad_data")),
        ({"code": 1009, "reason": ""}, (1009, "", "unknown", "too_big")),
        # The server is shut down.
        ({"code": 1012, "reason": ""}, (1012, "", "server", "server_shutdown")),
        # Not numbers.
        ({"code": "1001", "reason": ""}, (1001, "", "client", "going_away")),
        ({"code": "gone", "reason": ""}, (1005, "", "client", "normal")),
        ({"code": float("inf"), "reason": ""}, (1005, "", "client", "normal")),
        ({"code": 99999, "reason": ""}, (99999, "", "client", "unknown")),
    ],
)
def test_disconnect_tells_who_and_why(message: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """What uvicorn's implementations and other servers say, put right."""
    assert Verdict(*expected) == judge_disconnect(message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, (1000, "", "server", "normal")),
        ({"code": None, "reason": None}, (1000, "", "server", "normal")),
        ({"code": 4000, "reason": "kicked"}, (4000, "kicked", "server", "application")),
        ({"code": 1011}, (1011, "", "server", "handler_error")),
        ({"code": 1013}, (1013, "", "server", "overload")),
        ({"code": Code.AWAY}, (1001, "", "server", "going_away")),
    ],
)
def test_close_of_the_application_is_the_servers(
    message: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """A missing code is 1000 by the ASGI specification."""
    assert Verdict(*expected) == judge_close(message)


def test_close_text_is_made_harmless() -> None:
    """A client can write anything there; a log line shows it."""
    verdict = judge_disconnect({"code": 4000, "reason": "a\nb\x1b[2J" + "x" * 200})

    assert verdict.text.startswith(r"a\nb\x1b[2Jxxx")
    assert 123 == len(verdict.text)


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary()
    | st.text(st.characters(exclude_categories=())) | st.lists(st.integers())
)  # fmt: skip


@pytest.mark.parametrize("judge", [judge_disconnect, judge_close])
@given(
    message=st.fixed_dictionaries(
        {}, optional={"code": ANYTHING | st.integers(990, 5010), "reason": ANYTHING}
    )
)
def test_any_close_is_judged_inside_the_closed_sets(judge: Any, message: dict[str, Any]) -> None:
    """Nothing raises, and nothing grows with what is sent."""
    verdict = judge(message)

    assert isinstance(verdict.code, int)
    assert verdict.closed_by in CLOSED_BY
    assert verdict.reason in REASONS
    assert len(verdict.text) <= 123
    assert not any(unicodedata.category(each) in ("Cc", "Cs") for each in verdict.text)
