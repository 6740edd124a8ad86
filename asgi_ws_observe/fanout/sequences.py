"""What a subscription lost, by the gaps in its publishers' numbers; without I/O and clocks.

Each publisher numbers the messages of each topic: 1, 2, 3 and so on. Nothing tells a subscriber
that a broker dropped a message but the number that never comes. Messages may come late, since a
publisher's tasks can overtake each other, so a gap is a loss only after some time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from math import inf
from typing import Final

__all__ = ["MAX_GAPS", "Sequences"]

#: How many gaps of one publisher and topic are known.
MAX_GAPS: Final = 1000

_Pair = tuple[str, str]
# First and last number, both missing, and when that was seen.
_Gap = tuple[int, int, float]


class _Stream:
    """What is known of one publisher's messages on one topic.

    Attributes:
        last: The largest number that came.
        gaps: What is missing below, by number and so by time as well.
        settled: How many of these, from the first on, are counted or are no losses.
    """

    __slots__ = ("gaps", "last", "settled")

    def __init__(self, first: int) -> None:
        self.last = first
        # What was published before is no loss, but may be on its way still.
        self.gaps: list[_Gap] = [(1, first - 1, -inf)] if first > 1 else []
        self.settled = len(self.gaps)

    def open_gap(self, until: int, now: float) -> None:
        """Note that everything between the last number and this one is missing."""
        self.gaps.append((self.last + 1, until - 1, now))

    def fill(self, sequence: int) -> bool:
        """Take a number out of the gap that it is in; return whether there is one."""
        index = bisect_right(self.gaps, (sequence, inf)) - 1
        if index < 0:
            return False
        first, last, since = self.gaps[index]
        if sequence > last:
            return False
        rest = [
            (low, high, since)
            for low, high in ((first, sequence - 1), (sequence + 1, last))
            if low <= high
        ]
        self.gaps[index : index + 1] = rest
        if index < self.settled:
            self.settled += len(rest) - 1
        return True

    def settle(self, now: float, grace: float) -> int:
        """Return how many numbers have been missing for that long, each once."""
        start = end = self.settled
        while end < len(self.gaps) and now - self.gaps[end][2] >= grace:
            end += 1
        self.settled = end
        return _total(self.gaps[start:end])

    def shrink(self) -> int:
        """Forget the oldest gap, were there too many; return what of it was not counted yet."""
        if len(self.gaps) <= MAX_GAPS:
            return 0
        oldest = self.gaps.pop(0)
        if not self.settled:
            return _total([oldest])
        self.settled -= 1
        return 0


def _total(gaps: list[_Gap]) -> int:
    return sum(last - first + 1 for first, last, _ in gaps)


class Sequences:
    """Finds what a subscription lost, and what came twice.

    The first message of a publisher on a topic is where its numbers begin: what it published
    before is no loss. A publisher that starts again takes another name, so its numbers begin
    again too, and a number that came before is always a duplicate. The state is bounded,
    whatever numbers come; calls belong to one thread.

    Args:
        grace: How long a message may be late before it counts as lost, seconds.
        most: How many pairs of publisher and topic are known. Above, the one whose last message
            is the longest ago is forgotten; its next message is a first one.

    Raises:
        ValueError: An argument is out of range.
    """

    __slots__ = ("_grace", "_lost", "_most", "_open", "_streams")

    def __init__(self, grace: float, most: int = 10_000) -> None:
        if not 0 <= grace < inf:
            raise ValueError(f"grace: got {grace!r}; accepted: a number of seconds, from 0")
        if most < 1:
            raise ValueError(f"most: got {most!r}; accepted: 1 or more")
        self._grace = grace
        self._most = most
        # The longest silent first.
        self._streams: OrderedDict[_Pair, _Stream] = OrderedDict()
        # Those with gaps that are not counted.
        self._open: dict[_Pair, _Stream] = {}
        self._lost = 0

    def arrived(self, publisher: str, topic: str, sequence: int, now: float) -> bool:
        """Return whether a message is new; one that came before is to be dropped.

        A message whose gap was forgotten, being the oldest of more than 1,000, counts as one that
        came before: it was counted as lost.

        Args:
            publisher: Who published it.
            topic: Where.
            sequence: Its number among the publisher's on that topic, from 1.
            now: Seconds of a clock that only goes forward.
        """
        pair = (publisher, topic)
        stream = self._streams.get(pair)
        if stream is None:
            self._begin(pair, sequence)
            return True
        self._streams.move_to_end(pair)
        expected = stream.last + 1
        if sequence == expected:
            stream.last = sequence
            return True
        if sequence > expected:
            stream.open_gap(sequence, now)
            stream.last = sequence
        elif not stream.fill(sequence):
            return False
        self._lost += stream.shrink()
        self._note(pair, stream)
        return True

    def settle(self, now: float) -> int:
        """Return how many messages are found lost since the last call, each once.

        They have been missing for the grace time, or were missing when their publisher was
        forgotten. One that comes later still is delivered, and stays counted.

        Args:
            now: Seconds of the same clock; `math.inf` counts all that is missing.
        """
        for pair, stream in list(self._open.items()):
            self._lost += stream.settle(now, self._grace)
            self._note(pair, stream)
        lost, self._lost = self._lost, 0
        return lost

    def _begin(self, pair: _Pair, sequence: int) -> None:
        if len(self._streams) >= self._most:
            self._end(*self._streams.popitem(last=False))
        self._streams[pair] = _Stream(sequence)

    def _end(self, pair: _Pair, stream: _Stream) -> None:
        self._lost += stream.settle(inf, 0)
        self._open.pop(pair, None)

    def _note(self, pair: _Pair, stream: _Stream) -> None:
        if stream.settled < len(stream.gaps):
            self._open[pair] = stream
        else:
            self._open.pop(pair, None)
