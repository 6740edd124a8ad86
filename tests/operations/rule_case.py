"""One case of an alert, and the file that `promtool test rules` reads of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asgi_ws_observe.operations.expressions import duration, seconds
from asgi_ws_observe.operations.rules import rules
from tests.operations.rule_series import Series, values

__all__ = ["Case", "Fired", "named_rules", "promtool_file"]

#: Between two scrapes, and between two evaluations.
STEP: Final = "15s"


@dataclass(frozen=True)
class Fired:
    """An alert that is on.

    Attributes:
        summary: What it says.
        labels: Those of the expression.
    """

    summary: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Series, and what an alert makes of them.

    Attributes:
        alert: Its name.
        what: What happens, in one sentence.
        series: The series.
        lasts: How long it is looked at.
        fires: What is on at the end; empty: it is never on.
        quiet: Until when nothing is on, where something is on at the end.
        records: Values of queries at the end, by the query; `None` where it has no answer.
        step: Between two scrapes.
    """

    alert: str
    what: str
    series: Series
    lasts: str = "30m"
    fires: Sequence[Fired] = ()
    quiet: str = ""
    records: Mapping[str, float | None] = field(default_factory=dict)
    step: str = STEP


def named_rules(alert: str) -> dict[str, Any]:
    """Return the group of one alert, with the recorded series that it asks for."""
    every = [rule for group in rules()["groups"] for rule in group["rules"]]
    found = next(rule for rule in every if rule.get("alert") == alert)
    needed = [rule for rule in every if "record" in rule and rule["record"] in found["expr"]]
    return {"groups": [{"name": "tested", "rules": [*needed, found]}]}


def promtool_file(cases: Sequence[Case], rule_file: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a promtool test file.

    Args:
        cases: Of one alert, with the same step.
        rule_file: Where the rules are.
        made: The rules.
    """
    return {
        "rule_files": [rule_file],
        "evaluation_interval": cases[0].step,
        "tests": [_test(case, made) for case in cases],
    }


def _test(case: Case, made: Mapping[str, Any]) -> dict[str, Any]:
    step = seconds(case.step)
    count = round(seconds(case.lasts) / step) + 1
    quiet = case.quiet if case.fires else case.lasts
    named = f'alertname="{case.alert}",' if case.alert else ""
    asked = [_never(named, quiet)] if quiet else []
    asked += [
        {
            "expr": query,
            "eval_time": case.lasts,
            "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
        }
        for query, value in case.records.items()
    ]
    test = {
        "name": f"{case.alert}: {case.what}",
        "interval": case.step,
        "input_series": [
            {"series": name, "values": values(line, step, count)}
            for name, line in case.series.items()
        ],
        "promql_expr_test": asked,
    }
    if case.fires:
        rule = next(
            rule
            for group in made["groups"]
            for rule in group["rules"]
            if rule.get("alert") == case.alert
        )
        test["alert_rule_test"] = [
            {
                "eval_time": case.lasts,
                "alertname": case.alert,
                "exp_alerts": [_expected(fired, rule) for fired in case.fires],
            }
        ]
    return test


def _never(named: str, until: str) -> dict[str, Any]:
    """Return a test that nothing fired, at no evaluation."""
    window = duration(seconds(until))
    fired = f'ALERTS{{{named}alertstate="firing"}}'
    return {
        "expr": f"count by (alertname, instance) (count_over_time({fired}[{window}]))",
        "eval_time": until,
        "exp_samples": [],
    }


def _expected(fired: Fired, rule: Mapping[str, Any]) -> dict[str, Any]:
    labels = {"job": "chat", **fired.labels}

    def filled(text: str) -> str:
        return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)

    told = {name: text for name, text in rule["annotations"].items() if name != "summary"}
    return {
        "exp_labels": rule["labels"] | labels,
        "exp_annotations": {name: filled(text) for name, text in told.items()}
        | {"summary": fired.summary},
    }
