"""The Grafana dashboard that comes with the library.

It is made by ``python -m docs.dashboard`` in the project's repository, out of a table of panels.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, Final

__all__ = ["DASHBOARD_UID", "dashboard_text", "panel_id"]

#: Where Grafana has it: ``/d/asgi-ws-observe``.
DASHBOARD_UID: Final = "asgi-ws-observe"


def dashboard_text(*, job: str | None = None, title: str | None = None) -> str:
    """Return the dashboard, as JSON that Grafana imports.

    Args:
        job: What the variable ``job`` is at first. Default: all jobs.
        title: Default: WebSockets on ASGI.
    """
    if job is None and title is None:
        return _shipped()
    dashboard = json.loads(_shipped())
    if title is not None:
        dashboard["title"] = title
    if job is not None:
        for variable in dashboard["templating"]["list"]:
            if variable["name"] == "job":
                variable["current"] = {"selected": True, "text": [job], "value": [job]}
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def panel_id(title: str) -> int:
    """Return what a link to a panel needs: ``/d/asgi-ws-observe?viewPanel=ID``.

    Raises:
        KeyError: There is no panel of this title.
    """
    return _ids()[title]


@cache
def _ids() -> dict[str, int]:
    panels: list[dict[str, Any]] = json.loads(_shipped())["panels"]
    return {panel["title"]: panel["id"] for panel in panels if panel["type"] != "row"}


@cache
def _shipped() -> str:
    file = resources.files(__package__) / "dashboard.json"
    return file.read_text(encoding="utf-8")
