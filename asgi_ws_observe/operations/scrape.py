"""Prometheus' scrape configuration for nodes that serve ``/metrics``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .yaml_text import to_yaml

__all__ = ["scrape_text"]


def scrape_text(
    targets: Sequence[str],
    *,
    job: str = "websockets",
    path: str = "/metrics",
    interval: str = "15s",
    token_file: str | None = None,
    rules_file: str | None = None,
    alertmanager: str | None = None,
) -> str:
    """Return a Prometheus configuration as YAML.

    Args:
        targets: ``host:port`` of each node.
        job: What they are called together.
        path: Where the metrics are.
        interval: How often they are asked.
        token_file: A file with the bearer token that ``/metrics`` demands.
        rules_file: The file with the alert rules, if it is to be read.
        alertmanager: ``host:port`` of Alertmanager, if alerts are to be sent there.
    """
    scrape: dict[str, Any] = {"job_name": job, "metrics_path": path}
    if token_file is not None:
        scrape["authorization"] = {"type": "Bearer", "credentials_file": token_file}
    scrape["static_configs"] = [{"targets": list(targets)}]
    content: dict[str, Any] = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval}
    }
    if rules_file is not None:
        content["rule_files"] = [rules_file]
    if alertmanager is not None:
        content["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return to_yaml(content | {"scrape_configs": [scrape]})
