"""All scenarios, by subject."""

from __future__ import annotations

from typing import Final

from tests.laboratory.harness.scenario import Scenario
from tests.laboratory.scenarios import bus, capacity, deploy, handlers, network, quiet, readers

__all__ = ["SCENARIOS"]

#: Name -> scenario; the faults first.
SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for part in (network, readers, handlers, capacity, deploy, bus, quiet)
    for scenario in part.SCENARIOS
}
