"""Alertmanager's configuration, and a real Alertmanager that keeps back what follows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from asgi_ws_observe.operations.routing import alertmanager, alertmanager_text, inhibitions
from asgi_ws_observe.operations.signals import SIGNALS
from tests.servers.processes import free_port, program, started
from tests.support import posts, wait_until

SCOPES = {signal.name: signal.scope for signal in SIGNALS}


@pytest.mark.parametrize("scale", [1.0, 0.02])
def test_amtool_takes_the_configuration(scale: float, tmp_path: Path) -> None:
    """With all inhibitions."""
    file = tmp_path / "alertmanager.yml"
    file.write_text(alertmanager_text("http://127.0.0.1:9/", scale=scale), encoding="utf-8")
    amtool = program("amtool", package="prometheus-alertmanager")
    done = subprocess.run(
        [amtool, "check-config", str(file)], capture_output=True, text=True, timeout=60
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert f"{len(inhibitions())} inhibit rules" in done.stdout


def test_text_is_the_configuration() -> None:
    """YAML that says the same."""
    text = alertmanager_text("http://127.0.0.1:9/")
    assert alertmanager("http://127.0.0.1:9/") == yaml.safe_load(text)


def test_every_consequence_is_kept_back_by_its_cause() -> None:
    """And nothing else; at the same instance where both are about one."""
    told = {
        (source, target): rule["equal"]
        for rule in inhibitions()
        for source in [rule["source_matchers"][0].split('"')[1]]
        for target in rule["target_matchers"][0].split('"')[1].split("|")
    }
    expected = {
        (signal.name, name): ["job", "instance"]
        if {signal.scope, SCOPES[name]} == {"instance"}
        else ["job"]
        for signal in SIGNALS
        for name in signal.explains
    }
    assert expected == told


class Manager:
    """A running Alertmanager.

    Attributes:
        address: Its ``host:port``.
        delivered: The alerts that it delivered, by name and instance.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.delivered: list[tuple[str, str]] = []

    def take(self, _: str, __: dict[str, str], body: bytes) -> None:
        """Take what the webhook gets."""
        for alert in json.loads(body)["alerts"]:
            labels = alert["labels"]
            self.delivered.append((labels["alertname"], labels.get("instance", "")))

    def post(self, *names: str, instance: str = "a:1") -> None:
        """Tell it of alerts that are on, as Prometheus does."""
        now = datetime.now(timezone.utc).isoformat()
        alerts = []
        for name in names:
            labels = {"alertname": name, "job": "chat", "severity": "critical"}
            if SCOPES[name] == "instance":
                labels["instance"] = instance
            alerts.append({"labels": labels, "annotations": {}, "startsAt": now})
        answer = httpx.post(f"http://{self.address}/api/v2/alerts", json=alerts)
        assert 200 == answer.status_code, answer.text

    def states(self) -> dict[tuple[str, str], str]:
        """Return whether each alert is active, or suppressed, by name and instance."""
        found: list[dict[str, Any]] = httpx.get(f"http://{self.address}/api/v2/alerts").json()
        return {
            (each["labels"]["alertname"], each["labels"].get("instance", "")): each["status"][
                "state"
            ]
            for each in found
        }


@contextmanager
def manager(directory: Path) -> Iterator[Manager]:
    """Run an Alertmanager with our configuration, which delivers after a third of a second."""
    command = program("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager")
    port = free_port()
    found = Manager(f"127.0.0.1:{port}")
    with posts(found.take) as webhook:
        file = directory / "alertmanager.yml"
        file.write_text(alertmanager_text(f"http://127.0.0.1:{webhook}/", scale=0.01))
        arguments = [command, f"--config.file={file}", f"--storage.path={directory / 'data'}"]
        arguments += [f"--web.listen-address={found.address}", "--cluster.listen-address="]
        with started(arguments, port, directory / "log"):
            wait_until(lambda: httpx.get(f"http://{found.address}/-/ready").status_code == 200)
            yield found


def test_cause_is_delivered_and_its_consequences_are_not(tmp_path: Path) -> None:
    """Of one instance; the same consequence elsewhere, without the cause, is delivered."""
    with manager(tmp_path) as running:
        running.post("WebSocketEventLoopBlocked", "WebSocketSlowHandlers")
        running.post("WebSocketSlowHandlers", instance="b:1")
        expected = {("WebSocketEventLoopBlocked", "a:1"), ("WebSocketSlowHandlers", "b:1")}
        wait_until(lambda: expected <= set(running.delivered), 20)
        assert expected == set(running.delivered)
        assert "suppressed" == running.states()["WebSocketSlowHandlers", "a:1"]


def test_fleet_and_its_instances_keep_each_other_back(tmp_path: Path) -> None:
    """A deploy explains what is about its nodes; a node explains what is about the fleet."""
    with manager(tmp_path) as running:
        running.post("WebSocketFleetRestarted", "WebSocketNodeDown", "WebSocketHandshakesSlow")
        running.post("WebSocketHandlerErrors", "WebSocketReconnectStorm", instance="b:1")
        expected = {("WebSocketFleetRestarted", ""), ("WebSocketHandlerErrors", "b:1")}
        wait_until(lambda: expected <= set(running.delivered), 20)
        assert expected == set(running.delivered)
        suppressed = {key for key, state in running.states().items() if state == "suppressed"}
        assert {
            ("WebSocketNodeDown", "a:1"),
            ("WebSocketHandshakesSlow", "a:1"),
            ("WebSocketReconnectStorm", ""),
        } == suppressed
