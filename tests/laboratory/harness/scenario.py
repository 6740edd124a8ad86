"""What a scenario is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.laboratory.harness.clients import Manners
from tests.laboratory.harness.nodes import NodeOptions

if TYPE_CHECKING:
    from tests.laboratory.harness.lab import Lab

__all__ = ["LAB_THRESHOLDS", "MINUTE_A_SECOND", "Finding", "Result", "Scenario"]

#: A minute of the alerts' time passes in a second.
MINUTE_A_SECOND: Final = 1 / 60

#: Thresholds that are seconds of a machine, and so not in the alerts' time scale: a tenth.
LAB_THRESHOLDS: Final[Mapping[str, float]] = {
    "probe_age": 3.0,
    "send_waiting": 3.0,
    "together": 1.0,
}


@dataclass(frozen=True)
class Finding:
    """What `diagnose` says.

    Attributes:
        signal: The signal.
        side: Where the cause is.
    """

    signal: str
    side: str


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A fault, or a quiet time.

    Attributes:
        name: Its name, and the test's.
        what: What is done, in one sentence.
        action: Does it, in a thread; may go on while `Lab.goes_on`.
        expected: The alerts that are delivered, no other; empty where all is as it should be.
        finding: What `diagnose` finds first; `None` for nothing.
        nodes: How many nodes.
        clients: How many clients are there all the time.
        node: How the nodes run.
        manners: Makes the clients' manners.
        bus: Returns the URL of the broker for the nodes; `None`: there is no broker.
        front: Returns where the clients connect; `None`: to the nodes.
        scale: What the alerts' times are multiplied by.
        interval: Seconds between two scrapes, and between two evaluations.
        thresholds: Thresholds that are not the default.
        warm_up: How long Prometheus sees first how all is as usual, seconds.
        seconds: How long the fault may go undetected, or how long a quiet time lasts.
        settle: How long other alerts may come after the expected one, seconds.
        is_running: Whether nodes and clients are there before the action.
    """

    name: str
    what: str
    action: Callable[[Lab], None]
    expected: frozenset[str] = frozenset()
    finding: Finding | None = None
    nodes: int = 1
    clients: int = 24
    node: NodeOptions = field(default_factory=NodeOptions)
    manners: Callable[[], Manners] = Manners
    bus: Callable[[Lab], str] | None = None
    front: Callable[[Lab], list[str]] | None = None
    scale: float = MINUTE_A_SECOND
    interval: float = 0.5
    thresholds: Mapping[str, float] = field(default_factory=lambda: LAB_THRESHOLDS)
    warm_up: float = 6.0
    seconds: float = 25.0
    settle: float = 3.0
    is_running: bool = True

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is wrong in it."""
        return not self.expected


@dataclass(kw_only=True)
class Result:
    """What came of a scenario.

    Attributes:
        name: The scenario's.
        delivered: The alerts that were delivered, with seconds from the fault's begin.
        inhibited: The alerts that fired and were held back, since another explains them.
        finding: What `diagnose` found first; `None` for nothing.
        scale: The alerts' time scale.
        seconds: How long all of it took.
        problem: What went wrong with the scenario itself; empty for nothing.
    """

    name: str
    scale: float
    delivered: dict[str, float] = field(default_factory=dict)
    inhibited: list[str] = field(default_factory=list)
    finding: Finding | None = None
    seconds: float = 0.0
    problem: str = ""

    def detected(self, expected: frozenset[str]) -> float | None:
        """Return after how many seconds all of these were delivered; `None`: they were not."""
        if not expected or not expected <= self.delivered.keys():
            return None
        return max(self.delivered[name] for name in expected)
