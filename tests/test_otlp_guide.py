"""The guide to OTLP: its files are what the programs that read them expect, and take effect."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExportResult,
    MetricsData,
)
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings
from asgi_ws_observe.metrics.catalogue import CATALOGUE
from asgi_ws_observe.metrics.otlp import MetricsPush
from asgi_ws_observe.metrics.prometheus import numbers_of
from tests.servers.processes import absent
from tests.support import posts

ROOT: Final = Path(__file__).parent.parent
EXAMPLES: Final = ROOT / "docs" / "examples" / "otlp"
GUIDE: Final = (ROOT / "docs" / "how-to" / "otlp.md").read_text(encoding="utf-8")
ENVIRONMENTS: Final = sorted(path.name for path in EXAMPLES.glob("*.env"))
COLLECTORS: Final = sorted(path.name for path in EXAMPLES.glob("*-collector.yaml"))

#: Component -> the keys that it knows, of those that a configuration here may use.
COMPONENTS: Final = {
    "receivers": {"otlp": {"protocols"}, "prometheus": {"config"}},
    "processors": {
        "memory_limiter": {"check_interval", "limit_mib", "spike_limit_mib"},
        "transform": {"error_mode", "metric_statements"},
        "batch": {"timeout", "send_batch_size"},
    },
    "exporters": {
        "awsemf": {
            *("region", "namespace", "log_group_name", "log_stream_name"),
            *("dimension_rollup_option", "metric_declarations"),
        },
        "otlphttp": {"endpoint", "headers", "compression"},
    },
}


def load(name: str) -> Any:
    """Return what an example says."""
    return yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))


def variables(name: str) -> dict[str, str]:
    """Return the variables of an example."""
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {key: value for key, _, value in pairs}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment_takes_effect(
    name: str, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real exporter sends what the variables say, with only the host replaced."""
    given = variables(name)
    requests: list[tuple[str, dict[str, str], bytes]] = []
    with posts(lambda *request: requests.append(request)) as port:
        address = f"127.0.0.1:{port}"
        for key, value in given.items():
            address_of = key.endswith("_ENDPOINT")
            here = urlsplit(value)._replace(scheme="http", netloc=address).geturl()
            monkeypatch.setenv(key, here if address_of else value)
        assert Settings().otlp
        push = MetricsPush(registry=registry)
        numbers_of(registry).store.route("/chat").connects = 1
        push.start()
        assert push.shutdown(20)
    ((path, headers, body),) = requests
    assert "/v1/metrics" == path
    for pair in given.get("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "").split(","):
        header, _, value = pair.partition("=")
        assert not header or value == headers[header]
    found = ExportMetricsServiceRequest.FromString(body).resource_metrics[0]
    resource = {each.key: each.value.string_value for each in found.resource.attributes}
    stated = dict(
        pair.split("=") for pair in given.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",") if pair
    )
    assert stated | {"service.name": given["OTEL_SERVICE_NAME"]} == {
        key: resource[key] for key in (*stated, "service.name")
    }
    preference = given["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"]
    expected = f"AGGREGATION_TEMPORALITY_{preference.upper()}"
    for metric in found.scope_metrics[0].metrics:
        data = getattr(metric, str(metric.WhichOneof("data")))
        if "histogram" == metric.WhichOneof("data") or getattr(data, "is_monotonic", False):
            assert expected == AggregationTemporality.Name(data.aggregation_temporality)
    assert int(given["OTEL_METRIC_EXPORT_INTERVAL"]) / 1000 == push._interval


def test_guide_names_every_example() -> None:
    """And every variable of an example is one of the guide's."""
    linked = set(re.findall(r"examples/otlp/([\w.-]+)\)", GUIDE))
    assert {path.name for path in EXAMPLES.iterdir()} == linked
    # `..._METRICS_HEADERS` stands for the variable with the beginning of the one before it.
    known = set(re.findall(r"`((?:OTEL|ASGI)_\w+)", GUIDE))
    known |= {f"OTEL_EXPORTER_OTLP{end}" for end in re.findall(r"`\.\.\.(_\w+)`", GUIDE)}
    assert {key for name in ENVIRONMENTS for key in variables(name)} <= known


@pytest.mark.parametrize("name", COLLECTORS)
def test_collector_knows_what_is_configured(name: str) -> None:
    """Every component exists and is used, every key is one of its own."""
    config = load(name)
    assert {*COMPONENTS, "service"} == set(config)
    (pipeline,) = config["service"]["pipelines"].values()
    for kind, components in COMPONENTS.items():
        assert list(config[kind]) == pipeline[kind]
        for component, options in config[kind].items():
            assert set(options) <= components[component]


def test_cloudwatch_has_the_metrics_and_dimensions_that_it_declares() -> None:
    """Each selector matches a metric, and its dimensions are the metric's own attributes."""
    exporter = load("cloudwatch-collector.yaml")["exporters"]["awsemf"]
    for declaration in exporter["metric_declarations"]:
        (dimensions,) = declaration["dimensions"]
        for selector in declaration["metric_name_selectors"]:
            selected = [each for each in CATALOGUE if re.search(selector, each.otel_name)]
            assert selected, selector
            for instrument in selected:
                assert set(dimensions) == set(instrument.attributes), instrument.otel_name


def test_cloudwatch_gets_no_sum_that_can_fall() -> None:
    """The exporter would send its changes: they are made gauges before it."""
    config = load("cloudwatch-collector.yaml")
    (group,) = config["processors"]["transform"]["metric_statements"]
    assert ["convert_sum_to_gauge() where metric.is_monotonic == false"] == group["statements"]
    assert (
        "delta" == variables("cloudwatch.env")["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"]
    )


def test_compose_mounts_what_is_there() -> None:
    """The collector gets the configuration that lies beside it."""
    (service,) = load("cloudwatch-compose.yaml")["services"].values()
    (volume,) = service["volumes"]
    source, target, mode = volume.split(":")
    assert (EXAMPLES / source).is_file()
    assert (f"--config={target}", "ro") == (service["command"][0], mode)


def test_agent_listens_where_the_application_sends() -> None:
    """Datadog's agent opens the port of the example's endpoint."""
    receiver_of_agent = load("datadog-agent.yaml")["otlp_config"]["receiver"]
    endpoint = variables("datadog-agent.env")["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert endpoint == "http://" + receiver_of_agent["protocols"]["http"]["endpoint"]


def test_prometheus_takes_the_section_of_the_receiver(tmp_path: Path) -> None:
    """`promtool` finds nothing wrong with it."""
    promtool = shutil.which("promtool") or absent("promtool: apt-get install prometheus")
    config = tmp_path / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(load("prometheus-collector.yaml")["receivers"]["prometheus"]["config"])
    )
    run = subprocess.run([promtool, "check", "config", config], capture_output=True, text=True)
    assert 0 == run.returncode, run.stderr


def test_python_of_the_guide_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block is a program that defines an application; one with a lifespan exports in it."""
    got: list[MetricsData] = []

    def keep(self: Any, metrics_data: MetricsData, **_: Any) -> MetricExportResult:
        got.append(metrics_data)
        return MetricExportResult.SUCCESS

    monkeypatch.setattr(ConsoleMetricExporter, "export", keep)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert 2 == len(blocks)
    for code in blocks:
        space: dict[str, Any] = {}
        exec(code, space)
        assert "FastAPI" == type(space["app"]).__name__
        if "lifespan" in space:
            asyncio.run(_live(space["app"]))
    assert 1 == len(got)


async def _live(app: Any) -> None:
    async with app.router.lifespan_context(app):
        pass
