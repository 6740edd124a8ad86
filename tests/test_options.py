"""The kinds of value that a setting can have."""

from __future__ import annotations

import math
import os.path
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe.close_codes import CloseCodes
from asgi_ws_observe.options import (
    Callback,
    Choice,
    DeclaredCodes,
    ErrorCodes,
    Kind,
    Names,
    Number,
    Path,
    Patterns,
    Switch,
    Text,
    TokenOrCallback,
    WordOrCallback,
)


def allow(scope: object) -> bool:
    """Stand for a user's function, found by its import path."""
    return True


class Holder:
    """Stand for a user's class with a function in it."""

    allow = staticmethod(allow)


def accepts(kind: Kind, value: object) -> bool:
    """Return whether a value is of a kind; only `ValueError` means that it is not."""
    try:
        kind.check(value)
    except ValueError:
        return False
    return True


PATH = "tests.test_options:"
WHOLE, SECONDS = Number(1), Number(0, whole=False, unit="seconds")
KINDS: list[Kind] = [
    Switch(),
    WHOLE,
    SECONDS,
    Text(),
    Choice("all", "off"),
    Patterns(),
    ErrorCodes(),
    DeclaredCodes(),
    Names(),
    Path(),
    WordOrCallback("all", "off"),
    TokenOrCallback(),
]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Switch(), "true", True),
        (Switch(), " YES ", True),
        (Switch(), "1", True),
        (Switch(), "On", True),
        (Switch(), "false", False),
        (Switch(), "0", False),
        (Switch(), "no", False),
        (Switch(), "OFF", False),
        (WHOLE, " 7 ", 7),
        (SECONDS, "0.25", 0.25),
        (SECONDS, "0", 0.0),
        (SECONDS, "1e3", 1000.0),
        (Text(), "node-7", "node-7"),
        (Path(), "/metrics", "/metrics"),
        (Names(), "type, op,", ("type", "op")),
        (WordOrCallback("all", "off"), " off ", "off"),
        (WordOrCallback("all", "off"), PATH + "allow", allow),
        (Choice("all", "off"), "off", "off"),
        (Patterns(), "/health, /internal/* ,,", ("/health", "/internal/*")),
        (Patterns(), "/one", ("/one",)),
        (ErrorCodes(), "1011, 4500,", (1011, 4500)),
        (DeclaredCodes(), "4000,4001", (4000, 4001)),
        (Callback(), PATH + "allow", allow),
        (Callback(), PATH + "Holder.allow", allow),
        (Callback(), "os.path:join", os.path.join),
        (TokenOrCallback(), "s3cret", "s3cret"),
    ],
)
def test_text_of_the_environment_is_read(kind: Kind, text: str, expected: Any) -> None:
    """Every kind has a notation in an environment variable."""
    value = kind.check(kind.parse(text))

    assert expected == value
    assert type(expected) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Switch(), "maybe"),
        (Switch(), "2"),
        (WHOLE, "0"),
        (WHOLE, "-1"),
        (WHOLE, "1.5"),
        (WHOLE, "ten"),
        (WHOLE, "inf"),
        (SECONDS, "-0.1"),
        (SECONDS, "inf"),
        (SECONDS, "nan"),
        (SECONDS, "1e999"),
        (SECONDS, "1s"),
        (Text(), "  "),
        (Choice("all", "off"), "All"),
        (ErrorCodes(), "999"),
        (ErrorCodes(), "5000"),
        (ErrorCodes(), "4000;4001"),
        (DeclaredCodes(), "1000"),
        (DeclaredCodes(), ",".join(map(str, range(4000, 4001 + CloseCodes.max_declared())))),
        (Callback(), PATH + "PATH"),
        (TokenOrCallback(), "tökén"),
    ],
)
def test_text_of_another_kind_raises(kind: Kind, text: str) -> None:
    """A text that is not accepted reaches `check` and fails there."""
    assert not accepts(kind, kind.parse(text))


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("no_such_module_at_all:name", "ModuleNotFoundError: No module named"),
        (PATH + "no_such_name", "AttributeError: "),
        ("tests.test_options", "AttributeError: "),
        (PATH, "AttributeError: "),
        (":allow", "ValueError: Empty module name"),
        (".", "TypeError: "),
        (".relative:name", "TypeError: "),
    ],
)
def test_import_path_that_leads_nowhere_says_why(path: str, why: str) -> None:
    """The reason stands in the message, an exception of the module itself too."""
    with pytest.raises(ValueError, match=why):
        Callback().parse(path)


def test_coroutine_function_is_no_callback() -> None:
    """It would never be awaited; as `metrics_auth` it is."""

    async def later(scope: object) -> bool:
        return True

    assert not accepts(Callback(), later)
    assert accepts(TokenOrCallback(), later)


def test_members_of_enums_become_what_they_are_equal_to() -> None:
    """A setting is compared and printed as a plain value."""

    class Word(str, Enum):
        OFF = "off"

    class Code(IntEnum):
        MINE = 4001

    word = Choice("all", "off").check(Word.OFF)
    (code,) = ErrorCodes().check([Code.MINE])
    assert ("off", str) == (word, type(word))
    assert (4001, int) == (code, type(code))


@pytest.mark.parametrize("number", [10**400, 2**53 + 1])
@pytest.mark.parametrize("kind", [WHOLE, SECONDS])
def test_number_beyond_every_use_raises(kind: Kind, number: int) -> None:
    """The exposition could not show it."""
    assert not accepts(kind, number)


def test_text_is_stripped_and_harmless() -> None:
    """It becomes a label and a part of a line."""
    assert r"a\nb" == Text().check(" a\nb ")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (WHOLE, 1, 1),
        (SECONDS, 2, 2.0),
        (Patterns(), ["/a", "/b*"], ("/a", "/b*")),
        (Patterns(), (text for text in ("/a",)), ("/a",)),
        (Patterns(), (), ()),
        (ErrorCodes(), [4000, 1000], (4000, 1000)),
        (DeclaredCodes(), range(4000, 4003), (4000, 4001, 4002)),
        (Callback(), allow, allow),
        (TokenOrCallback(), allow, allow),
    ],
)
def test_argument_is_brought_into_its_final_form(kind: Kind, value: Any, expected: Any) -> None:
    """Lists and generators become tuples, so that settings are hashable and never change."""
    checked = kind.check(value)

    assert expected == checked
    assert type(expected) is type(checked)


class Code(IntEnum):
    """Stand for something that only looks like a number."""

    TOO_LOW = 12


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Switch(), 1),
        (Switch(), "true"),
        (Switch(), None),
        (WHOLE, True),
        (WHOLE, 1.0),
        (WHOLE, "1"),
        (WHOLE, None),
        (SECONDS, False),
        (SECONDS, math.inf),
        (SECONDS, math.nan),
        (SECONDS, "0.5"),
        (SECONDS, 1j),
        (Text(), ""),
        (Text(), 5),
        (Text(), b"node"),
        (Choice("all", "off"), None),
        (Choice("all", "off"), ["all"]),
        (Patterns(), "/health"),
        (Patterns(), ["/a", ""]),
        (Patterns(), [b"/a"]),
        (Patterns(), 5),
        (ErrorCodes(), "4000"),
        (ErrorCodes(), 4000),
        (ErrorCodes(), ["4000"]),
        (ErrorCodes(), [4000.0]),
        (ErrorCodes(), [True]),
        (ErrorCodes(), [Code.TOO_LOW]),
        (DeclaredCodes(), [3999, 5000]),
        (DeclaredCodes(), [1011]),
        (Callback(), "os.path:join"),
        (Callback(), None),
        (TokenOrCallback(), ""),
        (TokenOrCallback(), b"token"),
        (TokenOrCallback(), None),
    ],
)
def test_argument_of_another_kind_raises(kind: Kind, value: Any) -> None:
    """An argument is checked as strictly as a text, and never guessed at."""
    assert not accepts(kind, value)


@pytest.mark.parametrize(
    ("kind", "phrase"),
    [
        (Switch(), "true or false (also 1, 0, yes, no, on, off)"),
        (WHOLE, "a whole number, 1 or more"),
        (SECONDS, "a number of seconds, 0 or more"),
        (Choice("all", "off"), "one of all, off"),
        (Number(1, optional=True), "a whole number, 1 or more, or None (empty) for none"),
        (DeclaredCodes(), "at most 11 close codes from 3000 to 4999, separated by commas"),
    ],
)
def test_kind_says_what_it_accepts(kind: Kind, phrase: str) -> None:
    """The phrase is part of error messages and of the reference."""
    assert phrase == kind.describe()


@pytest.mark.parametrize("kind", [*KINDS, Callback()], ids=lambda kind: type(kind).__name__)
def test_every_kind_has_a_phrase(kind: Kind) -> None:
    """No error message ends in nothing."""
    assert kind.describe()


def test_kind_without_a_check_cannot_be_used() -> None:
    """A new kind has to say what it accepts."""
    with pytest.raises(NotImplementedError):
        Kind().check(Kind().parse("text"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@given(text=st.text(), more=st.sampled_from(["", "1", "4000", ",", " off "]))
def test_any_text_is_read_or_refused(kind: Kind, text: str, more: str) -> None:
    """Only `ValueError` comes out, and what was accepted is accepted again."""
    try:
        value = kind.parse(more + text)
    except ValueError:
        return

    assert not accepts(kind, value) or accepts(kind, kind.check(value))
