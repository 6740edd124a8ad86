"""Every signal's query and questions: here and by a real Prometheus, the same answers."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Final

import pytest

from asgi_ws_observe.metrics.catalogue import CATALOGUE
from asgi_ws_observe.operations.promql import Samples, evaluate
from asgi_ws_observe.operations.signal import Signal
from asgi_ws_observe.operations.signals import SIGNALS, expression
from asgi_ws_observe.operations.thresholds import DEFAULTS
from tests.operations.answers import answer, assert_same
from tests.operations.fleet import taken
from tests.operations.prometheus import Prometheus, Written, prometheus

#: When it ends.
END: Final = 1_780_000_007.25
BEGIN: Final = END - 5400
STEP: Final = 15.0
#: The values of labels that signals choose by.
CHOSEN: Final = {
    (label, value)
    for signal in SIGNALS
    for label, values in re.findall(r'(\w+)[!=]~?"([^"]+)"', signal.expr)
    for value in values.split("|")
}
#: Thresholds so low that comparisons let values through.
LOW: Final = {name: min(value, 0.01) for name, value in DEFAULTS.items()}


def lives(chance: random.Random, falls: bool) -> list[tuple[float, float | None]]:
    """Return a counter that is reset now and then, or a gauge."""
    value, points = 0.0, list[tuple[float, "float | None"]]()
    for i in range(int(5400 / STEP)):
        reset = chance.random() < 0.004
        if falls:
            value = float(chance.randrange(60))
        else:
            value = 0.0 if reset else value + float(chance.choice((0, 0, 1, 5)))
        points.append((BEGIN + i * STEP, value))
    return points


def some(chance: random.Random, names: tuple[str, ...]) -> list[dict[str, str]]:
    """Return several different sets of labels; a metric without labels has one."""
    values = {name: ["x", *sorted(v for label, v in CHOSEN if label == name)] for name in names}
    found = [{name: chance.choice(values[name]) for name in names} for _ in range(12)]
    return [each for i, each in enumerate(found) if each not in found[:i]]


def catalogue() -> Iterator[Written]:
    """Yield all metrics of the catalogue, on two nodes."""
    chance = random.Random(11)
    for node in ("a:1", "b:1"):
        target = {"job": "signals", "instance": node}
        for gauge in ("up", "process_open_fds", "process_max_fds"):
            yield {"__name__": gauge, **target}, lives(chance, True)
        begun = [(time, BEGIN) for time, _ in lives(chance, True)]
        yield {"__name__": "process_start_time_seconds", **target}, begun
        for each in CATALOGUE:
            suffix = {"counter": "_total", "info": "_info"}.get(each.kind, "")
            for labels in some(chance, each.labels):
                found = {**labels, **target}
                if each.kind != "histogram":
                    yield (
                        {"__name__": each.name + suffix, **found},
                        lives(chance, each.kind == "gauge"),
                    )
                    continue
                yield {"__name__": f"{each.name}_count", **found}, lives(chance, False)
                for bound in (*map(float, each.bounds), "+Inf"):
                    bucket = {"__name__": f"{each.name}_bucket", "le": str(bound)}
                    yield {**bucket, **found}, lives(chance, False)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Return a Prometheus that has samples of all metrics."""
    with prometheus(tmp_path_factory.mktemp("signals")) as found:
        found.write(list(catalogue()))
        yield found


@pytest.fixture(scope="module")
def everything() -> Samples:
    """Return the same samples."""
    return taken(catalogue())


def same(database: Prometheus, samples: Samples, query: str) -> int:
    """Assert that a query has the same answer, and return how many values that has."""
    expected = answer(database.query(query, END))
    assert_same(expected, answer(evaluate(query, samples, END)), 1e-9)
    return len(expected)


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_signal_is_on_where_prometheus_says(
    database: Prometheus, everything: Samples, signal: Signal, scale: float
) -> None:
    """`diagnose` says of pages what it says of a Prometheus, at any scale and any thresholds."""
    for values in (DEFAULTS, LOW):
        query = expression(signal.expr, values, job="signals", scale=scale, inline=True)
        same(database, everything, query)


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_question_has_the_answer_of_prometheus(
    database: Prometheus, everything: Samples, signal: Signal
) -> None:
    """What is looked at next is the same, too."""
    known = {"job": "signals", "instance": "a:1"}
    for _, template in signal.look:
        asked = re.sub(r"<(\w+)>", lambda found: known.get(found[1], "x"), template)
        # Which of equal values are among the first is anybody's choice.
        whole = re.sub(r"topk\(\d+, ", "(", asked)
        same(database, everything, expression(whole, {}, inline=True))


def test_low_thresholds_let_most_signals_through(database: Prometheus, everything: Samples) -> None:
    """Two empty answers would be the same, and say nothing."""
    on = [
        signal.name
        for signal in SIGNALS
        if same(database, everything, expression(signal.expr, LOW, job="signals", inline=True))
    ]
    assert len(on) > len(SIGNALS) / 2, sorted({each.name for each in SIGNALS} - set(on))
