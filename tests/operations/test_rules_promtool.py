"""Every alert fires where it should, and is silent where it nearly does: `promtool test rules`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from asgi_ws_observe.operations.rules import rules
from asgi_ws_observe.operations.signals import SIGNALS
from asgi_ws_observe.operations.yaml_text import to_yaml
from tests.operations.rule_case import Case, named_rules, promtool_file
from tests.operations.rule_cases_bus import BUS_CASES
from tests.operations.rule_cases_capacity import CAPACITY_CASES
from tests.operations.rule_cases_clients import CLIENT_CASES
from tests.operations.rule_cases_network import NETWORK_CASES
from tests.operations.rule_cases_node import NODE_CASES
from tests.operations.rule_cases_objectives import OBJECTIVE_CASES
from tests.operations.rule_cases_processes import PROCESS_CASES
from tests.operations.rule_cases_stalls import STALL_CASES
from tests.operations.rule_fleets import QUIET
from tests.servers.processes import program

CASES: Final[tuple[Case, ...]] = (
    *CLIENT_CASES,
    *NETWORK_CASES,
    *NODE_CASES,
    *STALL_CASES,
    *PROCESS_CASES,
    *CAPACITY_CASES,
    *BUS_CASES,
    *OBJECTIVE_CASES,
)
NAMES: Final = [signal.name for signal in SIGNALS]


@pytest.mark.parametrize("name", NAMES)
def test_alert_fires_in_its_cases_and_in_no_other(name: str, tmp_path: Path) -> None:
    """promtool finds each case of the alert as its table says."""
    made = named_rules(name)
    cases = [case for case in CASES if case.alert == name]
    for step in sorted({case.step for case in cases}):
        _promtool([case for case in cases if case.step == step], made, tmp_path)


@pytest.mark.parametrize("what", QUIET)
def test_no_alert_fires_in_a_fleet_that_is_well(what: str, tmp_path: Path) -> None:
    """Not one of all alerts, at any time."""
    make, lasts, step = QUIET[what]
    case = Case(alert="", what=what, series=make(), lasts=lasts, step=step)
    _promtool([case], rules(), tmp_path)


@pytest.mark.parametrize("fires", [True, False])
def test_each_alert_has_a_case(fires: bool) -> None:
    """At least one in which it fires, and one in which it is silent."""
    assert set(NAMES) == {case.alert for case in CASES if bool(case.fires) is fires}


def test_each_case_says_what_happens() -> None:
    """No two cases of an alert have one name."""
    told = [(case.alert, case.what) for case in CASES]
    assert len(set(told)) == len(told)


def _promtool(cases: list[Case], made: dict[str, object], directory: Path) -> None:
    promtool = program("promtool", package="prometheus")
    (directory / "rules.yml").write_text(to_yaml(made), encoding="utf-8")
    file = directory / "test.yml"
    file.write_text(to_yaml(promtool_file(cases, "rules.yml", made)), encoding="utf-8")
    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=300
    )
    assert 0 == done.returncode, done.stdout + done.stderr
