"""The runbook: a page with an anchor for each alert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .expressions import THRESHOLD
from .signal import SIDES, Side, Signal
from .signals import SIGNALS, expression
from .thresholds import DEFAULTS, THRESHOLDS

__all__ = ["runbook_text"]

#: Of any node and any deploy.
_SIDES: Final[Mapping[Side, str]] = {**SIDES, "node": "a node", "deploy": "a deploy"}

_HEAD: Final = """# Runbook

What each alert means, what to look at next, and what to do. An alert that follows from another one
is kept back while that is on; `asgi-ws-observe diagnose URL` asks for all of them at once and names
the cause. In the queries `<instance>`, `<job>` and the like stand for the alert's labels.
"""


def runbook_text(values: Mapping[str, float] = DEFAULTS, *, job: str | None = None) -> str:
    """Return the page, in Markdown.

    Args:
        values: The thresholds.
        job: With the queries for this job only; None: for every job.
    """
    rows = [
        f"| [{signal.name}](#{signal.name.lower()}) | {_SIDES[signal.side]} | {signal.severity} | "
        f"{signal.means} |"
        for signal in SIGNALS
    ]
    parts = [
        _HEAD,
        "| alert | side | severity | what it means |\n| --- | --- | --- | --- |\n"
        + "\n".join(rows),
        *(_section(signal, values, job) for signal in SIGNALS),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _section(signal: Signal, values: Mapping[str, float], job: str | None) -> str:
    query = expression(signal.expr, values, job=job)
    held = "at once" if signal.hold == "0s" else f"after {signal.hold}"
    causes = [each.name for each in SIGNALS if signal.name in each.explains]
    lines = [
        f"## {signal.name}",
        signal.means,
        f"**{signal.severity}**, {held}; look for it at {_SIDES[signal.side]}.",
        f"```\n{query}\n```",
        _thresholds(signal, values),
        "Look at:",
        "\n".join(
            [
                *(_asked(*each) for each in signal.look),
                f"- On the dashboard: *{signal.panel}*",
                _asked("Type:", signal.command),
            ]
        ),
        "Do:",
        "\n".join(f"- {step}" for step in signal.do),
        _named("It keeps back what follows from it", signal.explains),
        _named("It is kept back while its cause is on", causes),
    ]
    return "\n\n".join(line for line in lines if line)


def _asked(what: str, text: str) -> str:
    return f"- {what}\n  ```\n  {text}\n  ```"


def _thresholds(signal: Signal, values: Mapping[str, float]) -> str:
    known = {each.name: each for each in THRESHOLDS}
    names = dict.fromkeys(THRESHOLD.findall(signal.expr))
    return "\n".join(
        f"- `{name}={values[name]:.10g}`{known[name].unit and ' ' + known[name].unit}: "
        f"{known[name].text}"
        for name in names
    )


def _named(text: str, names: tuple[str, ...] | list[str]) -> str:
    links = ", ".join(f"[{name}](#{name.lower()})" for name in names)
    return f"{text}: {links}." if names else ""
