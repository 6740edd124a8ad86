"""Alertmanager's configuration: who is told, and what is kept back since its cause is told."""

from __future__ import annotations

from typing import Any

from .expressions import scaled
from .signals import SIGNALS
from .yaml_text import to_yaml

__all__ = ["alertmanager", "alertmanager_text", "inhibitions"]


def inhibitions() -> list[dict[str, Any]]:
    """Return the rules by which an alert keeps back those that follow from it.

    An alert about an instance keeps back others about the same instance, and those about its
    fleet; an alert about a fleet keeps back what is about its instances as well.
    """
    scopes = {signal.name: signal.scope for signal in SIGNALS}
    rules = []
    for signal in SIGNALS:
        for scope in ("instance", "fleet"):
            targets = sorted(name for name in signal.explains if scopes[name] == scope)
            if not targets:
                continue
            same = ["job", "instance"] if {scope, signal.scope} == {"instance"} else ["job"]
            rules.append(
                {
                    "source_matchers": [f'alertname="{signal.name}"'],
                    "target_matchers": [f'alertname=~"{"|".join(targets)}"'],
                    "equal": same,
                }
            )
    return rules


def alertmanager(webhook: str, *, scale: float = 1.0) -> dict[str, Any]:
    """Return a configuration that sends every alert to one webhook.

    Args:
        webhook: Its URL.
        scale: What times are multiplied by.
    """
    return {
        "route": {
            "receiver": "on-call",
            # One message for each cause and fleet, with all instances in it.
            "group_by": ["alertname", "job"],
            "group_wait": scaled("30s", scale),
            "group_interval": scaled("5m", scale),
            "repeat_interval": "4h",
            "routes": [
                {
                    "receiver": "on-call",
                    "matchers": ['severity="critical"'],
                    "repeat_interval": "1h",
                },
            ],
        },
        "receivers": [
            {"name": "on-call", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
        ],
        "inhibit_rules": inhibitions(),
    }


def alertmanager_text(webhook: str, *, scale: float = 1.0) -> str:
    """Return it as YAML."""
    return to_yaml(alertmanager(webhook, scale=scale))
