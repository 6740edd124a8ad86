"""The runbook."""

from __future__ import annotations

import re
from typing import Final

import pytest

from asgi_ws_observe.operations.runbook import runbook_text
from asgi_ws_observe.operations.signal import Signal
from asgi_ws_observe.operations.signals import SIGNALS, expression
from asgi_ws_observe.operations.thresholds import DEFAULTS

PAGE: Final = runbook_text()
SECTIONS: Final = dict(
    zip(
        re.findall(r"^## (\w+)$", PAGE, re.M),
        re.split(r"^## \w+$", PAGE, flags=re.M)[1:],
        strict=True,
    )
)


def test_every_alert_has_a_section_and_a_row() -> None:
    """In the order of the table."""
    names = [signal.name for signal in SIGNALS]
    assert names == list(SECTIONS)
    assert names == re.findall(r"^\| \[(\w+)\]", PAGE, re.M)


def test_links_lead_to_sections() -> None:
    """GitHub makes anchors in lower case."""
    anchors = set(re.findall(r"\]\(#([^)]+)\)", PAGE))
    assert anchors == {name.lower() for name in SECTIONS}


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda each: str(each.name))
def test_section_says_everything_of_a_signal(signal: Signal) -> None:
    """What it means, the query with its thresholds, what to look at, and what to do."""
    section = SECTIONS[signal.name]
    told = [signal.means, expression(signal.expr, DEFAULTS), signal.panel, signal.command]
    told += [*signal.do, *(each for asked in signal.look for each in asked)]
    told += [f"`{name}=" for name in re.findall(r"\$(\w+)", signal.expr)]
    told += [f"**{signal.severity}**, "]
    told += [f"[{name}]" for name in signal.explains]
    told += [f"[{other.name}]" for other in SIGNALS if signal.name in other.explains]
    assert [] == [each for each in told if each not in section]
    assert "$" not in re.sub(r"```.*?```", "", section, flags=re.S)
    assert 0 == section.count("```") % 2


def test_thresholds_and_the_job_are_those_that_are_given() -> None:
    """As `asgi-ws-observe runbook` passes them on."""
    page = runbook_text({**DEFAULTS, "send_buffer_p95": 2097152, "capacity": 0.7}, job="chat")
    assert "`send_buffer_p95=2097152` B: What five per cent of the looks exceed." in page
    assert "> 0.7" in page
    assert 'ws_connections_limit{job="chat"}' in page


def test_alert_at_once_has_no_wait() -> None:
    """It does not say after 0s."""
    assert "**warning**, at once; look for it at a deploy." in SECTIONS["WebSocketFleetRestarted"]
    assert "after 0s" not in PAGE
