"""A histogram in plain numbers: nothing is lost, whoever reads it when."""

from __future__ import annotations

import math
import os
import threading
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe import buckets as module
from asgi_ws_observe.buckets import MOST_PENDING, Buckets
from asgi_ws_observe.store import SIZE_BOUNDS
from tests.support import wait_until


@pytest.mark.parametrize(
    ("value", "bucket"), [(0.0, 0), (1.0, 0), (1.0001, 1), (5.0, 1), (5.1, 2), (math.inf, 2)]
)
def test_observation_falls_into_the_bucket_below_its_bound(value: float, bucket: int) -> None:
    """A bound belongs to its bucket, as in Prometheus's ``le``."""
    buckets = Buckets((1.0, 5.0))

    buckets.observe(value)

    assert [bucket] == [place for place, count in enumerate(buckets.counts) if count]


@given(values=st.lists(st.integers(0, 2**40) | st.integers(0, 70)), times=st.integers(1, 200))
def test_histogram_loses_nothing(values: list[int], times: int) -> None:
    """Every observation is in its bucket and in the sum, however many are counted together."""
    buckets = Buckets(SIZE_BOUNDS)
    for value in values * times:
        buckets.observe(value)

    assert len(buckets.pending) < MOST_PENDING
    counts, total = buckets.read()
    assert sum(values) * times == total
    expected = [0] * (len(SIZE_BOUNDS) + 1)
    for value in values:
        expected[bisect_left(SIZE_BOUNDS, value)] += times
    assert expected == counts == buckets.counts


def test_histogram_read_while_it_is_written_is_consistent() -> None:
    """Another thread's reading loses nothing, counts nothing twice, and agrees with itself."""
    buckets = Buckets((0.5,))
    written = threading.Event()
    seen: list[tuple[int, float]] = []

    def read() -> None:
        while not written.is_set():
            counts, total = buckets.read()
            seen.append((sum(counts), total))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100_000):
        buckets.observe(1.0)
        if not number % 10_000:
            reads = len(seen)
            wait_until(lambda: len(seen) > reads)  # noqa: B023
    written.set()
    reader.join()

    assert all(number == total for number, total in seen)
    assert seen == sorted(seen)
    assert ([0, 100_000], 100_000.0) == buckets.read()


def test_histogram_that_somebody_counts_just_now_is_not_waited_for() -> None:
    """The event loop goes on; what it wrote is counted the next time."""
    buckets = Buckets((0.5,))
    with module._counting:
        for _ in range(2 * MOST_PENDING):
            buckets.observe(1.0)
        kept = len(buckets.pending)

    buckets.observe(1.0)

    assert (2 * MOST_PENDING, []) == (kept, buckets.pending)
    assert [0, kept + 1] == buckets.counts


# Python warns of forks beside threads, since they may hold locks such as this one.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_while_a_thread_counts_leaves_the_child_able_to_read() -> None:
    """The fork waits for the thread, which the child does not have."""
    buckets = Buckets((0.5,))
    counting, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with module._counting:
            counting.set()
            forked.wait(0.05)

    thread = threading.Thread(target=hold)
    thread.start()
    counting.wait()
    buckets.observe(1.0)
    child = os.fork()
    if not child:
        os._exit(0 if ([0, 1], 1.0) == buckets.read() else 1)
    thread.join()

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
