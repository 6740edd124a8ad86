"""Times at which nothing is wrong, however it looks."""

from __future__ import annotations

from typing import Final

from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.scenario import Scenario

__all__ = ["SCENARIOS"]


def _start(lab: Lab) -> None:
    for node in lab.nodes:
        node.start()
    lab.crowd.arrive(lab.scenario.clients)


def _roll(lab: Lab) -> None:
    for node in lab.nodes:
        node.drain()
        node.restart()
        if not lab.goes_on(3):
            return


def _leave(lab: Lab) -> None:
    lab.crowd.leave(over=15)


def _peak(lab: Lab) -> None:
    lab.crowd.arrive(24, over=10)


SCENARIOS: Final = (
    Scenario(
        name="start-up",
        what="a fleet that Prometheus looks for already starts, and its clients come at once",
        action=_start,
        nodes=2,
        warm_up=1,
        seconds=16,
        is_running=False,
    ),
    Scenario(
        name="rolling-deploy",
        what="one node after the other closes with 1001, ends and starts again",
        action=_roll,
        nodes=3,
        seconds=22,
    ),
    Scenario(
        name="night",
        what="everybody leaves, and nobody is there",
        action=_leave,
        nodes=2,
        seconds=26,
    ),
    Scenario(
        name="peak",
        what="twice as many clients come, and talk as the others do",
        action=_peak,
        nodes=2,
        seconds=20,
    ),
)
