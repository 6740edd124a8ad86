"""The JSON formatter, for the records of others and for values that JSON does not know."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe import JSONFormatter

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def record_of(message: Any = "plain %s", *args: Any, **extra: Any) -> logging.LogRecord:
    """Return a record of somebody else's."""
    made = logging.getLogger("foreign").makeRecord(
        "foreign", logging.WARNING, "file.py", 1, message, args or ("text",), None, extra=extra
    )
    made.created = 0.5
    return made


def test_json_line_of_a_foreign_record() -> None:
    """The formatter can serve the whole application."""
    line = JSONFormatter().format(record_of(user="ann", count=3))

    expected: dict[str, object] = {"level": "WARNING", "logger": "foreign", "message": "plain text"}
    expected |= {"time": "1970-01-01T00:00:00.500000+00:00", "user": "ann", "count": 3}
    assert expected == json.loads(line)


class Thing:
    """Stand for what JSON does not know."""

    def __str__(self) -> str:
        return "a\nthing"


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Thing(), "a\nthing"),
        ({1: [Thing()]}, {"1": ["a\nthing"]}),
        (datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02T00:00:00+00:00"),
        (float("nan"), None),
        ("\ud800", r"\ud800"),
        (2**70, str(2**70)),
        (CIRCLE, "[[...]]"),
        ({"\udfff": 1}, r"{'\udfff': 1}"),
        (b"\xff\n", r"b'\xff\n'"),
    ],
)
def test_json_line_with_a_value_that_json_does_not_know(value: object, expected: object) -> None:
    """It becomes text, and the rest of the line stays readable."""
    line = JSONFormatter().format(record_of(value=value))

    said = json.loads(line)
    assert expected == said["value"]
    assert ("plain text", "WARNING") == (said["message"], said["level"])
    assert 1 == len(line.splitlines())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary()
    | st.builds(Thing) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
)  # fmt: skip


@given(value=JSON_VALUES, message=ANY_TEXT, name=ANY_TEXT)
def test_any_record_is_one_line_of_json(value: object, message: str, name: str) -> None:
    """Whatever is logged by whomever."""
    record = record_of("%s", message)
    vars(record).setdefault(name, value)

    line = JSONFormatter().format(record)

    assert isinstance(json.loads(line), dict)
    assert not {"\n", "\r"} & set(line)
    line.encode()


def test_json_line_of_an_exception_is_one_line() -> None:
    """The traceback's lines are escaped."""
    record = record_of()
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record.exc_info = sys.exc_info()

    line = JSONFormatter().format(record)

    assert 1 == len(line.splitlines())
    assert json.loads(line)["exception"].endswith("ValueError: first\nsecond")


class Textless:
    """Raises when it is asked for its text."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def test_json_line_with_a_value_without_text() -> None:
    """Its class stands for it."""
    assert "Textless" == json.loads(JSONFormatter().format(record_of(value=Textless())))["value"]


def test_json_line_keeps_what_it_can_beside_what_it_cannot() -> None:
    """One number beyond 64 bits turns no other into text."""
    said = json.loads(JSONFormatter().format(record_of(count=5, big=2**70)))
    assert (5, str(2**70)) == (said["count"], said["big"])


def test_json_line_with_a_field_of_our_name() -> None:
    """The level is the record's; the field stands beside it."""
    said = json.loads(JSONFormatter().format(record_of(level="theirs")))
    assert ("WARNING", "theirs") == (said["level"], said["app.level"])


def test_json_line_has_the_stack() -> None:
    """As asked for by `stack_info`."""
    record = record_of()
    record.stack_info = "Stack (most recent call last): here"
    assert record.stack_info == json.loads(JSONFormatter().format(record))["stack"]
