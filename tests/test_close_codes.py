"""Close codes: labels, classes and causes."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe.close_codes import (
    CLOSE_CLASSES,
    MAX_CODE_LABELS,
    NO_CLOSE_FRAME,
    NO_STATUS,
    REASONS,
    CloseCodes,
)

REGISTERED = [*range(1000, 1004), *range(1005, 1016), 3000, 3003, 3008]
DECLARABLE = st.sets(st.integers(3000, 4999), max_size=CloseCodes.max_declared())


@pytest.mark.parametrize("code", REGISTERED)
def test_registered_code_is_its_own_label(code: int) -> None:
    """What IANA has registered keeps its number."""
    assert str(code) == CloseCodes().label(code)


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (999, "other"),
        (1004, "other"),
        (1016, "other"),
        (2999, "other"),
        (3001, "3xxx"),
        (3999, "3xxx"),
        (4000, "4xxx"),
        (4999, "4xxx"),
        (5000, "other"),
        (0, "other"),
        (-1, "other"),
        (2**80, "other"),
    ],
)
def test_unregistered_code_gets_a_collective_label(code: int, label: str) -> None:
    """Ranges stand for the codes that anybody may make up."""
    assert label == CloseCodes().label(code)


def test_declared_code_gets_its_own_label_and_its_neighbours_do_not() -> None:
    """Declaring a code changes that one's label only."""
    codes = CloseCodes(declared=(4001, 3500))

    assert ["4001", "4xxx", "3500", "3xxx"] == [codes.label(n) for n in (4001, 4002, 3500, 3501)]


def test_enum_member_is_judged_by_its_number() -> None:
    """Servers hand out members of enums of their own."""
    assert "other" == CloseCodes().label(HTTPStatus.OK)


@pytest.mark.parametrize("code", [2999, 5000, 1000, 1011, 0, -4000])
def test_declaring_a_code_of_another_range_raises(code: int) -> None:
    """Only 3000 to 4999 are the application's to declare."""
    with pytest.raises(ValueError, match=f"^{code} is not an application's close code"):
        CloseCodes(declared=(code,))


def test_declaring_as_many_as_allowed_reaches_the_bound_exactly() -> None:
    """The bound of the label is used up, not exceeded."""
    codes = CloseCodes(declared=range(4000, 4000 + CloseCodes.max_declared()))

    assert MAX_CODE_LABELS == len(codes.labels) == len(set(codes.labels))


def test_declaring_one_too_many_raises() -> None:
    """The error says how many are allowed."""
    most = CloseCodes.max_declared()

    with pytest.raises(ValueError, match=f"at most {most} close codes"):
        CloseCodes(declared=range(4000, 4000 + most + 1))


def test_declaring_a_registered_code_uses_no_place() -> None:
    """3000, 3003 and 3008 have labels already."""
    codes = CloseCodes(declared=(3000, *range(4000, 4000 + CloseCodes.max_declared())))

    assert MAX_CODE_LABELS == len(codes.labels)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, "normal"),
        (1001, "going_away"),
        (1002, "abnormal"),
        (NO_STATUS, "normal"),
        (NO_CLOSE_FRAME, "abnormal"),
        (1008, "abnormal"),
        (1011, "error"),
        (1012, "going_away"),
        (1013, "going_away"),
        (1014, "abnormal"),
        (3000, "application"),
        (3001, "application"),
        (4999, "application"),
        (1004, "abnormal"),
        (5000, "abnormal"),
        (0, "abnormal"),
    ],
)
def test_class_of_a_code(code: int, expected: str) -> None:
    """The close policy: 1000, 1001 and 1005 are fine, 1006 is abnormal, 1011 is an error."""
    assert expected == CloseCodes().classify(code)


def test_codes_that_the_application_calls_errors_are_errors() -> None:
    """Of any range, and instead of the default."""
    codes = CloseCodes(errors=(1000, 4000))

    assert ["error", "error"] == [codes.classify(1000), codes.classify(4000)]
    assert "abnormal" == codes.classify(1011)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, "normal"),
        (1001, "going_away"),
        (1002, "protocol_error"),
        (1003, "bad_data"),
        (1005, "normal"),
        (1006, "unknown"),
        (1007, "bad_data"),
        (1008, "policy"),
        (1009, "too_big"),
        (1010, "protocol_error"),
        (1011, "handler_error"),
        (1012, "server_shutdown"),
        (1013, "overload"),
        (3500, "application"),
        (4000, "application"),
        (1004, "unknown"),
        (5000, "unknown"),
        (-1, "unknown"),
    ],
)
def test_cause_that_a_code_tells(code: int, expected: str) -> None:
    """The cause is the registry's meaning."""
    assert expected == CloseCodes.reason(code)


@given(code=st.integers(), declared=DECLARABLE, errors=st.sets(st.integers()))
def test_any_code_stays_inside_the_closed_sets(
    code: int, declared: set[int], errors: set[int]
) -> None:
    """Whatever is sent and whatever is declared, labels, classes and causes are bounded."""
    codes = CloseCodes(declared, errors)

    assert codes.label(code) in codes.labels
    assert len(codes.labels) <= MAX_CODE_LABELS
    assert codes.classify(code) in CLOSE_CLASSES
    assert codes.reason(code) in REASONS


@given(codes=st.lists(st.integers(0, 6000), max_size=300), declared=DECLARABLE)
def test_many_clients_make_no_more_labels_than_the_bound(
    codes: list[int], declared: set[int]
) -> None:
    """The label's number of values does not grow with the traffic."""
    judge = CloseCodes(declared)

    assert len({judge.label(code) for code in codes}) <= MAX_CODE_LABELS


@given(declared=DECLARABLE)
def test_every_declared_code_keeps_its_number(declared: set[int]) -> None:
    """A declared code is never thrown together with others."""
    codes = CloseCodes(declared)

    assert {str(code) for code in declared} == {codes.label(code) for code in declared}
