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
    Ending,
    State,
    Verdict,
    judge_close,
    judge_disconnect,
    judge_ending,
)

#: What the record knows of an application that is done and did not close.
RETURNED = Verdict(1006, "", "server", "no_close")
RAISED = Verdict(1006, "", "server", "handler_error")
STOPPED = Verdict(1006, "", "server", "cancelled")
#: What it knows by ASGI alone.
LEFT = Verdict(1000, "", "client", "normal")
VANISHED = Verdict(1006, "", "network", "unknown")
KICKED = Verdict(4000, "kicked", "server", "application")

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
    """Nothing stays open after the application, which ends once."""
    assert {State.CLOSED} == {state for state, row in TABLE.items() if "end" not in row}
    assert FINAL == {row["end"] for row in TABLE.values() if "end" in row}


def test_the_end_of_the_tcp_connection_is_expected_in_every_state() -> None:
    """It can come at any time, also after everything else, and leaves nothing open."""
    assert set(State) == {state for state, row in TABLE.items() if "lost" in row}
    assert {State.CLOSING, *FINAL} == {row["lost"] for row in TABLE.values()}


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


@pytest.mark.parametrize(
    ("ending", "known", "expected"),
    [
        # The peer's close frame came first, whatever follows.
        (Ending((1000, "bye"), None, True), None, (1000, "bye", "client", "normal")),
        (Ending((1001, ""), (1001, ""), True), None, (1001, "", "client", "going_away")),
        (Ending((1005, ""), (1000, ""), True), LEFT, (1005, "", "client", "normal")),
        (Ending((1009, ""), (1009, ""), True), None, (1009, "", "client", "too_big")),
        (Ending((4001, "own"), None, True), RETURNED, (4001, "own", "client", "application")),
        (
            Ending((1000, ""), (1000, ""), True, "server_shutdown", "tcp_reset"),
            RAISED,
            (1000, "", "client", "normal"),
        ),
        # No frame of the server's, and nothing that it did: the peer's is the first.
        (Ending((1000, "")), VANISHED, (1000, "", "client", "normal")),
        # A ping without an answer is the network's, though the server says 1011 after it.
        (
            Ending(sent=(1011, "keepalive ping timeout"), cause="ping_timeout"),
            None,
            (1006, "", "network", "ping_timeout"),
        ),
        (
            Ending((1011, ""), (1011, ""), cause="ping_timeout", lost_by="tcp_reset"),
            STOPPED,
            (1006, "", "network", "ping_timeout"),
        ),
        (Ending(cause="ping_timeout"), None, (1006, "", "network", "ping_timeout")),
        (Ending((1000, ""), cause="ping_timeout"), None, (1006, "", "network", "ping_timeout")),
        # The server's frame came first: acknowledged, or not.
        (Ending((4000, ""), (4000, "kicked")), KICKED, (4000, "kicked", "server", "application")),
        (Ending(None, (4000, "kicked")), KICKED, (4000, "kicked", "server", "application")),
        (
            Ending(None, (4000, ""), lost_by="tcp_reset"),
            VANISHED,
            (4000, "", "server", "application"),
        ),
        # Why the server sent it, where it says so.
        (
            Ending(None, (1012, ""), cause="server_shutdown"),
            STOPPED,
            (1012, "", "server", "server_shutdown"),
        ),
        (
            Ending(None, (1002, "bad"), cause="protocol_error"),
            RETURNED,
            (1002, "bad", "server", "protocol_error"),
        ),
        # Some servers send one when the application has ended without.
        (Ending(None, (1011, "")), RETURNED, (1011, "", "server", "no_close")),
        (Ending(None, (1000, "")), RETURNED, (1000, "", "server", "no_close")),
        (Ending((1011, ""), (1011, "")), RAISED, (1011, "", "server", "handler_error")),
        (Ending(None, (1012, "")), STOPPED, (1012, "", "server", "cancelled")),
        (Ending(None, (1012, "")), None, (1012, "", "server", "server_shutdown")),
        # The application had closed, and another frame was sent all the same.
        (Ending(None, (1012, "")), KICKED, (1012, "", "server", "server_shutdown")),
        (Ending(None, (1011, "")), VANISHED, (1011, "", "server", "handler_error")),
        # The server failed the connection and sent no frame.
        (Ending(cause="too_big"), None, (1006, "", "server", "too_big")),
        (
            Ending((1000, ""), cause="protocol_error", lost_by="eof"),
            LEFT,
            (1006, "", "server", "protocol_error"),
        ),
        # No frame: how the TCP connection ended.
        (Ending(lost_by="tcp_reset"), VANISHED, (1006, "", "network", "tcp_reset")),
        (Ending(lost_by="eof"), None, (1006, "", "network", "eof")),
        (Ending(lost_by="eof"), RAISED, (1006, "", "network", "eof")),
        # Nothing was seen: what the application did.
        (Ending(), RETURNED, (1006, "", "server", "no_close")),
        (Ending(), RAISED, (1006, "", "server", "handler_error")),
        (Ending(), STOPPED, (1006, "", "server", "cancelled")),
        (Ending(), KICKED, (1006, "", "server", "application")),
        (Ending(), VANISHED, (1006, "", "server", "unknown")),
        (Ending(), LEFT, (1006, "", "server", "unknown")),
        (Ending(), None, (1006, "", "server", "unknown")),
    ],
)
def test_ending_tells_who_and_why(
    ending: Ending, known: Verdict | None, expected: tuple[Any, ...]
) -> None:
    """The first close frame decides, then the server's own cause, then the TCP connection."""
    assert Verdict(*expected) == judge_ending(ending, known)


def test_text_of_a_frame_is_made_harmless() -> None:
    """Either side's: the server's is often a client's, repeated."""
    frame = (4000, "a\nb\x1b[2J" + "x" * 200)

    for ending in (Ending(received=frame, received_first=True), Ending(sent=frame)):
        verdict = judge_ending(ending, None)
        assert verdict.text.startswith(r"a\nb\x1b[2Jxxx")
        assert 123 == len(verdict.text)


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
FRAMES = st.none() | st.tuples(st.integers(990, 5010) | st.integers(), ANY_TEXT)
ENDINGS = st.builds(
    Ending,
    FRAMES,
    FRAMES,
    st.booleans(),
    st.sampled_from(["", *REASONS]),
    st.sampled_from(["", "tcp_reset", "eof", "unknown"]),
)
VERDICTS = st.builds(
    Verdict,
    st.integers(990, 5010) | st.integers(),
    ANY_TEXT,
    st.sampled_from(sorted(CLOSED_BY)),
    st.sampled_from(REASONS),
)


@given(ending=ENDINGS, known=st.none() | VERDICTS)
def test_any_ending_is_judged_inside_the_closed_sets(ending: Ending, known: Verdict | None) -> None:
    """Whatever a probe saw and the record knew: nothing raises, and no label grows."""
    verdict = judge_ending(ending, known)

    assert isinstance(verdict.code, int)
    assert verdict.closed_by in CLOSED_BY
    assert verdict.reason in REASONS
    assert len(verdict.text) <= 123
    assert not any(unicodedata.category(each) in ("Cc", "Cs") for each in verdict.text)


@given(ending=ENDINGS, known=st.none() | VERDICTS)
def test_code_of_an_ending_is_that_of_a_frame_or_1006(
    ending: Ending, known: Verdict | None
) -> None:
    """The record never makes up what nobody sent, and the author is that of the frame."""
    verdict = judge_ending(ending, known)

    frames = {"client": ending.received, "server": ending.sent}
    code, _ = frames.get(verdict.closed_by) or (1006, "")
    assert verdict.code in (code, 1006)
