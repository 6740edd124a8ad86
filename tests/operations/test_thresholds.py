"""Thresholds: their defaults, what is accepted, and another time scale."""

from __future__ import annotations

import pytest

from asgi_ws_observe.exceptions import SettingsError
from asgi_ws_observe.operations.thresholds import (
    DEFAULTS,
    THRESHOLDS,
    Threshold,
    at_scale,
    parse_thresholds,
)


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda each: str(each.name))
def test_default_is_accepted(threshold: Threshold) -> None:
    """A default that is given by hand changes nothing."""
    assert dict(DEFAULTS) == parse_thresholds([f"{threshold.name}={threshold.default!r}"])


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda each: str(each.name))
def test_text_is_a_sentence(threshold: Threshold) -> None:
    """It is shown in lists."""
    assert "." == threshold.text[-1]
    assert threshold.text[0].isupper()


def test_value_that_is_given_counts() -> None:
    """The last one, where there are two."""
    values = parse_thresholds(["capacity=0.8", "close_wait=3", "capacity=0.7"])
    assert dict(DEFAULTS) | {"capacity": 0.7, "close_wait": 3.0} == values


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("capcity=0.8", "threshold: got 'capcity=0.8', accepted is name=value with a name of ab"),
        ("capacity", "threshold: got 'capacity', accepted is name=value"),
        ("capacity=high", "threshold capacity: got 'high', accepted is a number above 0 up to 1"),
        ("capacity=1.1", "threshold capacity: got '1.1', accepted is a number above 0 up to 1"),
        ("capacity=0", "threshold capacity: got '0', accepted is a number above 0 up to 1"),
        ("close_wait=-1", "threshold close_wait: got '-1', accepted is a number above 0$"),
        ("close_wait=inf", "threshold close_wait: got 'inf', accepted is a number above 0$"),
        ("close_wait=nan", "threshold close_wait: got 'nan', accepted is a number above 0$"),
        (
            "slo_heartbeat_seconds=0.7",
            "threshold slo_heartbeat_seconds: got '0.7', accepted is an upper bound of "
            "ws_heartbeat_rtt_seconds: 0.001, .*, 0.5, 1.0, 2.5",
        ),
    ],
)
def test_wrong_value_says_what_is_accepted(pair: str, says: str) -> None:
    """In one line."""
    with pytest.raises(SettingsError, match=says):
        parse_thresholds([pair])


def test_bound_of_a_histogram_is_accepted() -> None:
    """As a whole number as well."""
    assert 5 == parse_thresholds(["slo_handler_seconds=5"])["slo_handler_seconds"]


def test_scale_changes_ages_and_paces() -> None:
    """An hour that is shorter has more of what comes by the hour; a share stays a share."""
    values = at_scale(DEFAULTS, 0.5)
    assert [150, 20, 0.9] == [values[name] for name in ("warm_up", "leak_per_hour", "capacity")]
