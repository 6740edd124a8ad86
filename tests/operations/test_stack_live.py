"""The stack, running: numbers, traces and alerts arrive where they are to be looked for."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from websockets.sync.client import ClientConnection, connect

from tests.operations.stack import OPERATIONS, Running, running
from tests.servers.processes import program
from tests.support import get_from, wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything, with a person in the lobby of each node."""
    with running(tmp_path_factory.mktemp("stack")) as found:
        people = [join(found.nginx, name) for name in ("Ada", "Grace")]
        try:
            yield found
        finally:
            for each in people:
                each.close()


def join(address: str, name: str) -> ClientConnection:
    """Enter the lobby, and say something there."""
    websocket = connect(f"ws://{address}/rooms/lobby", legacy=True)
    websocket.send(json.dumps({"type": "join", "name": name}))
    websocket.send(json.dumps({"type": "chat", "text": "hello"}))
    while json.loads(websocket.recv(timeout=20))["type"] != "chat":
        pass
    return websocket


def traces(stack: Running) -> set[str]:
    """Return the trace ids that the collector passed on to where Tempo would be."""
    return {
        span.trace_id.hex()
        for path, body in stack.otlp
        if path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(gzip.decompress(body)).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def metrics(stack: Running) -> set[str]:
    """Return the names of the metrics that it passed on to where Prometheus would be."""
    requests = [
        ExportMetricsServiceRequest.FromString(gzip.decompress(body))
        for path, body in stack.otlp
        if path == "/api/v1/otlp/v1/metrics"
    ]
    return {
        metric.name
        for request in requests
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_prometheus_scrapes_every_node_and_what_watches(stack: Running) -> None:
    """Each is up, and the connections that nginx spread are counted."""
    wait_until(lambda: 4 == len(stack.query("up == 1")), 30)
    jobs = {
        each["metric"]["job"]: each["value"][1] for each in stack.query("count by (job) (up == 1)")
    }
    assert {"websockets": "2", "monitoring": "2"} == jobs
    wait_until(lambda: stack.query("sum(ws_connections_active) == 2"), 30)
    # The fewest connections first: one each.
    assert 2 == len(stack.query("sum by (instance) (ws_connections_active) == 1"))
    assert 2 == len(stack.query("ws_connections_limit == 2000"))


def test_prometheus_takes_the_generated_rules(stack: Running) -> None:
    """None of them fails."""
    wait_until(
        lambda: (
            {"ok"}
            == {rule["health"] for group in stack.ask("rules")["groups"] for rule in group["rules"]}
        ),
        30,
    )


def test_exemplar_leads_to_a_trace_that_arrived(stack: Running) -> None:
    """What Grafana makes a link of is a trace that the collector passed on."""
    arguments = {
        "query": "ws_handler_duration_seconds_bucket",
        "start": "2000-01-01T00:00:00Z",
        "end": "2100-01-01T00:00:00Z",
    }
    wait_until(lambda: stack.ask("query_exemplars", **arguments), 30)
    found = {
        exemplar["labels"]["trace_id"]
        for series in stack.ask("query_exemplars", **arguments)
        for exemplar in series["exemplars"]
    }
    wait_until(lambda: found <= traces(stack), 30)


def test_metrics_go_through_the_collector(stack: Running) -> None:
    """Those of `/metrics`, under OpenTelemetry's names."""
    expected = {"ws.connections.active", "ws.connects", "ws.handler.duration", "event_loop.lag"}
    wait_until(lambda: expected <= metrics(stack), 30)


def test_nginx_keeps_the_metrics_from_the_world(stack: Running) -> None:
    """The page is served, the numbers are not."""
    assert [200, 403] == [
        httpx.get(f"http://{stack.nginx}{path}").status_code for path in ("/", "/metrics")
    ]


def test_alert_reaches_the_webhook(stack: Running) -> None:
    """A node that is gone is told, with its name, its side and what to read."""
    wait_until(lambda: 2 == len(stack.query('up{job="websockets"} == 1')), 30)
    stack.processes[1].kill()

    def told() -> list[dict[str, str]]:
        return [
            each["labels"]
            for each in stack.alerts
            if each["labels"]["alertname"] == "WebSocketNodeDown" and each["status"] == "firing"
        ]

    wait_until(told, 60)
    labels = told()[0]
    assert (stack.nodes[1], "websockets", "critical") == (
        labels["instance"],
        labels["job"],
        labels["severity"],
    )
    with closing(join(stack.nginx, "Hedy")):
        pass


def test_amtool_commands_of_the_guide_work(stack: Running) -> None:
    """A test alert arrives at the webhook, and a silence is taken."""
    program("amtool", package="prometheus-alertmanager")
    page = (OPERATIONS / "alertmanager.md").read_text(encoding="utf-8")
    commands = re.findall(r"```\n(amtool (?:alert|silence).*?)```", page, re.DOTALL)
    assert 2 == len(commands)
    for command in commands:
        here = command.replace("127.0.0.1:9093", stack.alertmanager)
        subprocess.run(["sh", "-ec", here], check=True, capture_output=True)
    wait_until(lambda: "PagerTest" in {each["labels"]["alertname"] for each in stack.alerts}, 30)
    silences = json.loads(get_from(stack.alertmanager, "/api/v2/silences"))
    assert ["moving to the new cluster"] == [each["comment"] for each in silences]
