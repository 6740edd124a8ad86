"""Prometheus' rules: what is recorded, and the alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .dashboard import DASHBOARD_UID, panel_id
from .expressions import LABEL, scaled
from .signal import Signal, Unit
from .signals import RECORDINGS, SIGNALS, expression
from .thresholds import DEFAULTS
from .yaml_text import to_yaml

__all__ = ["rules", "rules_text"]

#: How Prometheus' templates write a value.
_VALUES: Final[Mapping[Unit, str]] = {
    "count": '{{ printf "%.0f" $value }}',
    "per second": '{{ printf "%.2f" $value }}',
    "per hour": '{{ printf "%.0f" $value }}',
    "seconds": "{{ humanizeDuration $value }}",
    "bytes": "{{ humanize1024 $value }}B",
    "ratio": "{{ humanizePercentage $value }}",
    "times": '{{ printf "%.1f" $value }}',
}
#: Averages of hours and days hardly change within seconds, and cost much.
_LONG: Final = ("rate2h", "rate6h", "rate1d", "rate3d")


def rules(
    values: Mapping[str, float] = DEFAULTS,
    *,
    job: str | None = None,
    scale: float = 1.0,
    runbook: str = "docs/operations/runbook.md",
    grafana: str = "",
) -> dict[str, Any]:
    """Return the groups of rules.

    Args:
        values: The thresholds.
        job: For this job only; None: for every job that has such series.
        scale: What times are multiplied by; below 1 for fleets that live fast.
        runbook: Where the runbook is, a URL or a path.
        grafana: The URL of Grafana, for links; empty for paths.
    """
    recorded: dict[str, list[Any]] = {"recorded": [], "recorded_slowly": []}
    for each in RECORDINGS:
        recorded["recorded_slowly" if each.name.endswith(_LONG) else "recorded"].append(
            {"record": each.name, "expr": expression(each.expr, values, job=job, scale=scale)}
        )
    alerts: dict[str, list[Any]] = {}
    for signal in SIGNALS:
        alerts.setdefault(signal.side, []).append(
            {
                "alert": signal.name,
                "expr": expression(signal.expr, values, job=job, scale=scale),
                "for": scaled(signal.hold, scale),
                "labels": {
                    "severity": signal.severity,
                    "side": signal.side,
                    "scope": signal.scope,
                },
                "annotations": _annotations(signal, runbook, grafana.rstrip("/")),
            }
        )
    groups: list[dict[str, Any]] = [
        {"name": f"asgi_ws_observe.{name}", "rules": made} for name, made in recorded.items()
    ]
    groups[1]["interval"] = scaled("2m", scale)
    groups += [{"name": f"asgi_ws_observe.{side}", "rules": made} for side, made in alerts.items()]
    return {"groups": groups}


def rules_text(values: Mapping[str, float] = DEFAULTS, **options: Any) -> str:
    """Return them as YAML; the options are those of `rules`."""
    return to_yaml(rules(values, **options))


def _annotations(signal: Signal, runbook: str, grafana: str) -> dict[str, str]:
    where = "{{ $labels.instance }}" if signal.scope == "instance" else "{{ $labels.job }}"
    says = signal.says.replace("{value}", _VALUES[signal.unit])
    says = LABEL.sub(lambda found: f"{{{{ $labels.{found[1]} }}}}", says)
    instance = "&var-instance={{ $labels.instance }}" if signal.scope == "instance" else ""
    panel = f"/d/{DASHBOARD_UID}?viewPanel={panel_id(signal.panel)}"
    return {
        "summary": f"{where}: {says}",
        "description": signal.means,
        "runbook_url": f"{runbook}#{signal.name.lower()}",
        "dashboard_url": f"{grafana}{panel}&var-job={{{{ $labels.job }}}}{instance}",
    }
