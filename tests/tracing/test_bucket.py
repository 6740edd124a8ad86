"""How many message spans a process makes a second."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe.tracing.bucket import ALWAYS, NEVER, TokenBucket


def taken(bucket: TokenBucket, times: list[float]) -> list[float]:
    """Return at which of these times something could be taken, and was."""
    found = []
    for now in times:
        if now >= bucket.opens_at:
            bucket.take(now)
            found.append(now)
    return found


@pytest.mark.parametrize("rate", [1.0, 2.0, 3.0, 100.0])
def test_second_worth_is_taken_at_once_after_quiet(rate: float) -> None:
    """A burst is not cut off before it is as large as the rate."""
    bucket = TokenBucket(rate)
    # Two messages are never received at the very same time.
    at_once = [n * 1e-7 for n in range(1000)]
    first = taken(bucket, [5.0 + n for n in at_once])
    later = taken(bucket, [50.0 + n for n in at_once])

    assert [rate, rate] == [len(first), len(later)]


@pytest.mark.parametrize("rate", [1.0, 3.0, 100.0])
def test_rate_holds_after_a_burst(rate: float) -> None:
    """One is let through whenever a step has passed, not a second's worth once a second."""
    bucket = TokenBucket(rate)
    taken(bucket, [5.0] * 1000)
    steady = taken(bucket, [5.0 + n / rate / 10 for n in range(10 * int(rate) + 2)])

    assert rate == len(steady)
    gaps = [after - before for before, after in pairwise(steady)]
    assert [] == [gap for gap in gaps if not isclose(gap, 1 / rate, abs_tol=0.11 / rate)]


@pytest.mark.parametrize(("rate", "wait"), [(0.5, 2.0), (0.1, 10.0), (0.01, 100.0)])
def test_rate_below_one_lets_one_through_at_a_time(rate: float, wait: float) -> None:
    """The next one after the reciprocal, however long it was quiet."""
    bucket = TokenBucket(rate)
    first = taken(bucket, [1000.0] * 10)
    early = taken(bucket, [1000.0 + wait * 0.99])
    late = taken(bucket, [1000.0 + wait * 1.01] * 10)
    after_quiet = taken(bucket, [1e6] * 10)

    assert [1, 0, 1, 1] == [len(each) for each in (first, early, late, after_quiet)]


def test_rate_between_whole_numbers_takes_what_fits_into_the_second() -> None:
    """Two of a rate of 2.5 fit."""
    assert [7.0, 7.0] == taken(TokenBucket(2.5), [7.0] * 10)


def test_new_bucket_is_open_at_any_time() -> None:
    """The clock's zero is arbitrary."""
    assert -inf == TokenBucket(7.0).opens_at


@given(
    rate=st.floats(0.01, 1000.0),
    steps=st.lists(st.one_of(st.just(0.0), st.floats(0.0, 2.0)), min_size=1, max_size=200),
)
def test_no_window_has_more_than_its_share(rate: float, steps: list[float]) -> None:
    """Never more than the rate allows and one second's worth, whatever the clients do."""
    now, times = 0.0, []
    for step in steps:
        now += step
        times.append(now)
    found = taken(TokenBucket(rate), times)

    burst = max(1.0, rate)
    for begin, first in enumerate(found):
        for end in range(begin, len(found)):
            assert end - begin + 1 <= ceil(rate * (found[end] - first) + burst + 1e-6)


@given(times=st.lists(st.floats(0.0, 1e9), min_size=1, max_size=50).map(sorted))
def test_fixed_buckets_let_everything_or_nothing_through(times: list[float]) -> None:
    """What is taken changes nothing."""
    assert times == taken(ALWAYS, times)
    assert [] == taken(NEVER, times)
    NEVER.take(times[0])
    assert (-inf, inf) == (ALWAYS.opens_at, NEVER.opens_at)
