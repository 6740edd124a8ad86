"""Every fault has its own alert and no other, `diagnose` names the cause; quiet times are quiet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asgi_ws_observe.operations.signals import SIGNALS
from tests.laboratory.__main__ import main
from tests.laboratory.matrix import PAGE
from tests.laboratory.scenarios import SCENARIOS
from tests.laboratory.suite import Suite, wrong

# A client whose connection is cut, or whose scenario ends, may leave its socket to the garbage
# collector. Clients are no part of what is tested here.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_BY_NAME = {signal.name: signal for signal in SIGNALS}


@pytest.fixture(scope="module")
def suite(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Suite]:
    """The scenarios of the chosen tests, which run side by side."""
    chosen = [
        SCENARIOS[str(item.callspec.params["name"])]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and "suite" in item.fixturenames
    ]
    with Suite(chosen, tmp_path_factory.mktemp("laboratory")) as running:
        yield running


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_is_told_as_what_it_is(suite: Suite, name: str) -> None:
    """Its own alert is delivered and no other; the first finding of `diagnose` is the cause."""
    scenario = SCENARIOS[name]
    first = wrong(scenario, suite.results[name].result())
    if first:
        # Half a second in which the machine stands still is half a minute here, and an outage.
        print(f"the first time: {first}")
        assert [] == wrong(scenario, suite.again(scenario))


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_a_scenario_expects_is_a_signal(name: str) -> None:
    """Names and sides are those of the table; what is found first is what wakes somebody."""
    scenario = SCENARIOS[name]
    finding = scenario.finding
    expected = {_BY_NAME[each].name for each in scenario.expected}
    assert expected == ({finding.signal} if finding else set())
    assert finding is None or _BY_NAME[finding.signal].side == finding.side


def test_every_scenario_has_a_line_in_the_documentation() -> None:
    """The page says how each is made, and the matrix what came of it."""
    pages = [PAGE.read_text(encoding="utf-8"), PAGE.with_name("laboratory.md").read_text("utf-8")]
    assert [] == [name for name in SCENARIOS for page in pages if f"`{name}`" not in page]


def test_list_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` shows them all."""
    assert 0 == main(["--list"])
    shown = capsys.readouterr().out
    assert [] == [name for name in SCENARIOS if name not in shown]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reset-strom"], "did you mean reset-storm?"),
        (["--keep"], "accepted with one name"),
        (["--write", "night"], "since the page shows all"),
        (["--seconds", "0"], "a number above 0"),
    ],
)
def test_wrong_argument_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what is accepted."""
    assert 2 == main(arguments)
    assert said in capsys.readouterr().err
