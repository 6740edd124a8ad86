"""What a subscription lost, and what came twice."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe.fanout.sequences import MAX_GAPS, Sequences

GRACE = 5.0


def feed(
    sequences: Sequences,
    numbers: Iterable[int],
    *,
    publisher: str = "f3a1",
    topic: str = "room",
    now: float = 0.0,
) -> list[bool]:
    """Return what is said of numbers that arrive in this order."""
    return [sequences.arrived(publisher, topic, number, now) for number in numbers]


# One publisher on one topic.


@pytest.mark.parametrize("first", [1, 2, 17, 2**63 - 4])
def test_numbers_in_order_are_new_and_nothing_is_lost(first: int) -> None:
    """Whatever the first one is: what was published before is no loss."""
    sequences = Sequences(GRACE)

    assert [True] * 4 == feed(sequences, range(first, first + 4))
    assert 0 == sequences.settle(inf)


@pytest.mark.parametrize("again", [1, 2, 5])
def test_number_that_came_before_is_a_duplicate(again: int) -> None:
    """A publisher that starts again has another name: its 1 does not come twice."""
    sequences = Sequences(GRACE)
    feed(sequences, range(1, 6))

    assert [False, True] == feed(sequences, [again, 6])
    assert 0 == sequences.settle(inf)


def test_gap_is_a_loss_after_the_grace_time() -> None:
    """Counted once."""
    sequences = Sequences(GRACE)
    feed(sequences, [1, 5], now=100.0)

    assert [0, 0, 3, 0] == [sequences.settle(now) for now in (100.0, 104.9, 105.0, 1000.0)]


def test_each_gap_has_its_own_time() -> None:
    """From when it was seen."""
    sequences = Sequences(GRACE)
    feed(sequences, [1, 3], now=0.0)
    feed(sequences, [6], now=3.0)

    assert [1, 2, 0] == [sequences.settle(now) for now in (5.0, 8.0, 20.0)]


def test_late_message_is_new_once_and_no_loss() -> None:
    """Tasks of a publisher can overtake each other."""
    sequences = Sequences(GRACE)

    assert [True, True, True, False] == feed(sequences, [1, 3, 2, 2])
    assert 0 == sequences.settle(inf)


@pytest.mark.parametrize(
    ("late", "lost"), [([2], 3), ([5], 3), ([3], 3), ([3, 4], 2), ([2, 5, 3, 4], 0)]
)
def test_late_message_leaves_the_rest_of_its_gap(late: list[int], lost: int) -> None:
    """At its begin, at its end, or in the middle."""
    sequences = Sequences(GRACE)
    feed(sequences, [1, 6])

    assert [True] * len(late) == feed(sequences, late, now=3.0)
    assert [False] * len(late) == feed(sequences, late, now=3.0)
    assert (lost, 0) == (sequences.settle(GRACE), sequences.settle(inf))


def test_message_after_the_grace_time_is_new_and_stays_counted() -> None:
    """It is delivered, late as it is."""
    sequences = Sequences(GRACE)
    feed(sequences, [1, 5, 7])

    assert 4 == sequences.settle(inf)
    assert [True, True, True, False] == feed(sequences, [3, 2, 4, 3])
    assert 0 == sequences.settle(inf)


def test_message_from_before_the_first_is_new_once_and_nothing_else_is_lost() -> None:
    """The first to arrive need not be the first published."""
    sequences = Sequences(GRACE)

    assert [True, True, False, True, False] == feed(sequences, [17, 15, 15, 1, 17])
    assert [True, True, False, False] == feed(sequences, [2, 1, 1, 2], topic="other")
    assert 0 == sequences.settle(inf)


def test_late_message_before_a_counted_gap_leaves_the_others_to_be_counted() -> None:
    """What is counted and what is not are kept apart, however gaps are split."""
    sequences = Sequences(GRACE)
    feed(sequences, [10, 20])
    assert 9 == sequences.settle(inf)
    feed(sequences, [25, 5, 12, 11, 22], now=100.0)

    assert [0, 3, 0] == [sequences.settle(now) for now in (104.0, 105.0, inf)]


def test_gap_of_any_size_costs_nothing() -> None:
    """A publisher can claim any number."""
    sequences = Sequences(GRACE)
    began = time.perf_counter()
    feed(sequences, [2**60, 2, 2**63 - 1, 2**62])

    assert 2**63 - 1 - 2**60 - 1 - 1 == sequences.settle(inf)
    assert 1 > time.perf_counter() - began


def test_oldest_of_too_many_gaps_is_lost_at_once() -> None:
    """And a message of it, if it comes, came too late."""
    sequences = Sequences(GRACE)
    feed(sequences, range(1, 2 * MAX_GAPS + 2, 2))
    assert 0 == sequences.settle(GRACE - 1)

    feed(sequences, [2 * MAX_GAPS + 3])
    assert 1 == sequences.settle(GRACE - 1)
    assert [False, True] == feed(sequences, [2, 4])
    assert MAX_GAPS - 1 == sequences.settle(inf)


def test_oldest_of_too_many_gaps_is_not_counted_twice() -> None:
    """It was counted, or lies before the first message."""
    sequences = Sequences(GRACE)
    feed(sequences, range(3, 2 * MAX_GAPS + 3, 2))
    assert MAX_GAPS - 1 == sequences.settle(inf)

    feed(sequences, [2 * MAX_GAPS + 3])
    feed(sequences, [2 * MAX_GAPS + 5])
    assert [False, False, True] == feed(sequences, [1, 4, 6])
    assert 2 == sequences.settle(inf)


def test_gap_that_is_split_can_be_one_too_many() -> None:
    """The bound is that of the gaps, however they came to be."""
    sequences = Sequences(GRACE)
    feed(sequences, [1, *range(5, 2 * MAX_GAPS + 4, 2)])
    feed(sequences, [3])

    assert [1, MAX_GAPS] == [sequences.settle(0.0), sequences.settle(inf)]


# Several publishers and topics.


def test_publishers_and_topics_have_numbers_of_their_own() -> None:
    """A gap of one is none of the others."""
    sequences = Sequences(GRACE)
    for publisher, topic, numbers in (("a", "x", [1, 3]), ("a", "y", [1]), ("b", "x", [1])):
        assert all(feed(sequences, numbers, publisher=publisher, topic=topic))

    assert [True] == feed(sequences, [2], publisher="b", topic="x")
    assert 1 == sequences.settle(inf)


def test_longest_silent_is_forgotten_and_what_it_lacks_is_lost() -> None:
    """At the next settle, whatever the time is."""
    sequences = Sequences(GRACE, most=2)
    feed(sequences, [1, 3], publisher="a")
    feed(sequences, [1, 4], publisher="b")
    feed(sequences, [4], publisher="a")
    feed(sequences, [1], publisher="c")

    assert 2 == sequences.settle(0.0)
    assert [True] == feed(sequences, [4], publisher="b")
    assert [1, 0] == [sequences.settle(0.0), sequences.settle(inf)]


def test_duplicate_is_a_sign_of_life() -> None:
    """Who sends anything at all is not the longest silent."""
    sequences = Sequences(GRACE, most=2)
    feed(sequences, [1], publisher="a")
    feed(sequences, [1], publisher="b")
    feed(sequences, [1], publisher="a")
    feed(sequences, [1], publisher="c")

    assert [False] == feed(sequences, [1], publisher="a")


def test_what_is_kept_is_bounded() -> None:
    """However many topics, publishers and gaps there were."""
    sequences = Sequences(GRACE, most=2)
    sizes = set()
    for number in range(100, 200):
        feed(sequences, [1, 3, 5], topic=f"room {number}")
        feed(sequences, [1, 3, 5], publisher=f"node {number}")
        sequences.settle(inf)
        sizes.add(len(pickle.dumps(sequences)))

    assert 2 >= len(sizes)


@pytest.mark.parametrize(
    ("grace", "most", "named"),
    [
        *((-1.0, 1, "grace: got -1.0"), (nan, 1, "grace: got nan"), (inf, 1, "grace: got inf")),
        (0.0, 0, "most: got 0"),
    ],
)
def test_argument_out_of_range_is_refused(grace: float, most: int, named: str) -> None:
    """When it is made, not when a message comes."""
    with pytest.raises(ValueError, match=named):
        Sequences(grace, most)


# Against a set of numbers.


class Model:
    """One publisher's numbers on one topic, each remembered."""

    def __init__(self) -> None:
        self.came: set[int] = set()
        self.counted: set[int] = set()
        self.baseline: int | None = None

    def arrived(self, number: int) -> bool:
        """Return whether it is new."""
        if self.baseline is None:
            self.baseline = number
        new = number not in self.came
        self.came.add(number)
        return new

    def settle(self) -> int:
        """Return how many are missing that were not before."""
        missing = set(range(self.baseline or 0, max(self.came, default=0)))
        missing -= self.came | self.counted
        self.counted |= missing
        return len(missing)


@given(numbers=st.lists(st.integers(1, 60), min_size=1, max_size=120))
def test_any_order_with_losses_and_duplicates_is_counted_right(numbers: list[int]) -> None:
    """Each new number once, each duplicate, and in the end what never came."""
    sequences, model = Sequences(GRACE), Model()

    assert list(map(model.arrived, numbers)) == feed(sequences, numbers)
    assert [model.settle(), 0] == [sequences.settle(inf), sequences.settle(inf)]


SETTLE = 0


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(SETTLE, 30)),
        max_size=150,
    )
)
def test_losses_are_counted_once_however_often_one_asks(steps: list[tuple[str, str, int]]) -> None:
    """Several publishers and topics, and late messages after they were counted."""
    sequences = Sequences(0.0)
    models = {(publisher, topic): Model() for publisher in "ab" for topic in "xy"}
    for now, (publisher, topic, number) in enumerate(steps):
        if number == SETTLE:
            assert sum(each.settle() for each in models.values()) == sequences.settle(now)
        else:
            expected = models[publisher, topic].arrived(number)
            assert expected == sequences.arrived(publisher, topic, number, now)

    assert sum(each.settle() for each in models.values()) == sequences.settle(inf)


@given(numbers=st.permutations(range(1, 40)), start=st.integers(0, 2**63 - 41))
def test_any_order_of_everything_loses_nothing(numbers: list[int], start: int) -> None:
    """Where all come, wherever the numbers begin."""
    sequences = Sequences(GRACE)

    assert all(feed(sequences, [start + number for number in numbers]))
    assert 0 == sequences.settle(inf)
