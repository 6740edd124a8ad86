"""Prometheus with the shipped rules, Alertmanager with the shipped routing, and who is woken."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from asgi_ws_observe.operations.expressions import duration
from tests.laboratory.harness.ports import stable_port
from tests.laboratory.harness.programs import Program
from tests.servers.processes import absent
from tests.support import posts

__all__ = ["Alert", "Prometheus", "Receiver", "alertmanager", "prometheus"]

_CONFIGURATION: Final = """
global:
  scrape_interval: {interval}
  scrape_timeout: {interval}
  evaluation_interval: {interval}
rule_files: [{rules}]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ["{alertmanager}"]}}]
scrape_configs:
  - job_name: demo
    static_configs:
{targets}
"""
_TARGET: Final = '      - {{targets: ["{address}"], labels: {{instance: "{name}"}}}}'


@dataclass(frozen=True)
class Alert:
    """One alert that was delivered.

    Attributes:
        name: Its name.
        instance: The node it is about; empty for the fleet.
        at: When it came, seconds of `time.monotonic`.
    """

    name: str
    instance: str
    at: float


class Receiver:
    """Keeps what Alertmanager delivers."""

    def __init__(self) -> None:
        self._alerts: dict[tuple[str, str], Alert] = {}
        self._lock = threading.Lock()

    def take(self, _: str, headers: dict[str, str], body: bytes) -> None:
        """Take one notification in."""
        now = time.monotonic()
        with self._lock:
            for each in json.loads(body)["alerts"]:
                labels = each["labels"]
                if each["status"] == "firing":
                    key = labels["alertname"], labels.get("instance", "")
                    self._alerts.setdefault(key, Alert(*key, now))

    def alerts(self) -> list[Alert]:
        """Return what came, the earliest first."""
        with self._lock:
            return sorted(self._alerts.values(), key=lambda alert: alert.at)

    def names(self) -> set[str]:
        """Return the names of all that came."""
        return {alert.name for alert in self.alerts()}

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Listen until the end of the block; yields the URL."""
        with posts(self.take) as port:
            yield f"http://127.0.0.1:{port}/"


class Prometheus(Program):
    """A running Prometheus.

    Attributes:
        url: Where it is.
    """

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def is_ready(self) -> bool:
        """Return whether it answers queries, which it does a moment after it listens."""
        return httpx.get(f"{self.url}/-/ready", timeout=10).is_success

    def query(self, text: str) -> list[dict[str, Any]]:
        """Return the series that a query has now, each with ``metric`` and ``value``."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": text}, timeout=10).json()
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def fired(self) -> set[str]:
        """Return the names of the alerts that have fired since it runs."""
        found = self.query('max_over_time(ALERTS{alertstate="firing"}[1h])')
        return {series["metric"]["alertname"] for series in found}

    def pending(self) -> set[str]:
        """Return the names of the alerts that wait for their time to pass."""
        found = self.query('ALERTS{alertstate="pending"}')
        return {series["metric"]["alertname"] for series in found}


def alertmanager(directory: Path, configuration: str) -> Program:
    """Return an Alertmanager with this configuration."""
    file = directory / "alertmanager.yml"
    file.write_text(configuration)
    port = stable_port()
    arguments = [
        _found("prometheus-alertmanager", "alertmanager"),
        f"--config.file={file}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    return Program(arguments, port, directory / "alertmanager.log")


def prometheus(
    directory: Path,
    rules: str,
    targets: Mapping[str, str],
    alerts_to: str,
    scale: float,
    interval: float,
) -> Prometheus:
    """Return a Prometheus.

    Args:
        directory: Where its files go.
        rules: The rules.
        targets: Addresses by name.
        alerts_to: The Alertmanager's address.
        scale: How much faster than usual time passes, below 1: what it looks back for a sample.
        interval: Seconds between two scrapes, and between two evaluations.
    """
    rule_file, file = directory / "rules.yml", directory / "prometheus.yml"
    rule_file.write_text(rules)
    lines = [_TARGET.format(address=address, name=name) for name, address in targets.items()]
    file.write_text(
        _CONFIGURATION.format(
            interval=duration(interval),
            rules=rule_file,
            alertmanager=alerts_to,
            targets="\n".join(lines),
        )
    )
    port = stable_port()
    arguments = [
        _found("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--query.lookback-delta={duration(max(300 * scale, 3 * interval))}",
        "--rules.alert.resend-delay=1s",
        "--log.level=warn",
    ]
    return Prometheus(arguments, port, directory / "prometheus.log")


def _found(*names: str) -> str:
    """Return where a program is, by any of its names."""
    for path in map(shutil.which, names):
        if path is not None:
            return path
    return absent(f"{names[0]} is missing; get it with: apt-get install {names[0]}")
