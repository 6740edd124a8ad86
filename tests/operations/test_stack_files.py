"""The stack's files: each is what its program expects, and they agree with each other."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from asgi_ws_observe.operations.routing import alertmanager_text
from asgi_ws_observe.operations.rules import rules_text
from tests.operations.schemas import errors
from tests.operations.stack import OPERATIONS, STACK, load, variables
from tests.servers.processes import program

#: Written by `asgi-ws-observe`; whether they are fresh is asked elsewhere.
GENERATED: Final = frozenset({"../rules.yml", "../alertmanager.yml", "../dashboard.json"})
PAGES: Final = {page.name: page.read_text(encoding="utf-8") for page in OPERATIONS.glob("*.md")}
FILES: Final = sorted(
    path.relative_to(STACK).as_posix() for path in STACK.rglob("*") if path.is_file()
)

#: Component -> the keys that it knows, of those that the configuration may use.
COLLECTOR: Final = {
    "extensions": {"health_check": {"endpoint", "path"}},
    "receivers": {"otlp": {"protocols"}},
    "processors": {
        "memory_limiter": {"check_interval", "limit_mib", "spike_limit_mib"},
        "batch": {"timeout", "send_batch_size"},
    },
    "exporters": {
        "otlp": {"endpoint", "tls", "headers", "compression"},
        "otlphttp": {"endpoint", "tls", "headers", "compression"},
    },
}


def services() -> dict[str, dict[str, Any]]:
    """Return the services of the compose file."""
    found: dict[str, dict[str, Any]] = load("compose.yaml")["services"]
    return found


def check(*command: str | Path) -> None:
    """Run a checker, and show what it says where it finds something."""
    run = subprocess.run(command, capture_output=True, text=True)
    assert 0 == run.returncode, run.stdout + run.stderr


def test_compose_file_is_one() -> None:
    """The Compose Specification's schema finds nothing wrong."""
    assert [] == errors("compose.json", load("compose.yaml"))


def test_compose_schema_finds_a_mistake() -> None:
    """A key that Compose does not know is found."""
    content = load("compose.yaml")
    content["services"]["app"]["enviroment"] = {}
    assert 1 == len(errors("compose.json", content))


def test_compose_mounts_what_is_there() -> None:
    """Each file lies beside it or is generated, and volumes are declared."""
    content = load("compose.yaml")
    sources = [
        volume.split(":")[0]
        for service in content["services"].values()
        for volume in service.get("volumes", ())
    ]
    files = {source for source in sources if source.startswith(".")}
    assert set(content["volumes"]) == set(sources) - files
    assert GENERATED <= files
    assert [] == [each for each in files - GENERATED if not (STACK / each).exists()]


def test_compose_pins_images_and_opens_ports_for_this_machine_only() -> None:
    """No tag moves by itself, and nobody else reaches a dashboard without a password."""
    for name, service in services().items():
        assert "build" in service or re.search(r":v?\d+\.\d+", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert set(service.get("depends_on", ())) <= services().keys()


def test_image_of_the_demo_has_what_it_copies() -> None:
    """And starts the demo with options that it has."""
    text = (STACK / "Dockerfile").read_text(encoding="utf-8")
    root = OPERATIONS.parents[1]
    copied = [name for line in re.findall(r"^COPY (.*)$", text, re.M) for name in line.split()[:-1]]
    assert copied
    assert [] == [name for name in copied if not (root / name).exists()]
    assert (STACK / services()["app"]["build"]["context"]).resolve() == root
    (start,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.M)
    from demo_app.arguments import make_parser

    command = [*yaml.safe_load(start)[3:], *services()["app"]["command"]]
    options = make_parser().parse_args(command)
    assert ("0.0.0.0", 8000, "otlp") == (options.host, options.port, options.spans)


def test_prometheus_and_its_rules_are_accepted(tmp_path: Path) -> None:
    """`promtool` finds nothing wrong."""
    promtool = program("promtool", package="prometheus")
    (tmp_path / "rules.yml").write_text(rules_text())
    (tmp_path / "prometheus.yml").write_text((STACK / "prometheus.yml").read_text())
    check(promtool, "check", "config", tmp_path / "prometheus.yml")


def test_routes_are_accepted(tmp_path: Path) -> None:
    """`amtool` finds nothing wrong, and sends a page to the pager."""
    amtool = program("amtool", package="prometheus-alertmanager")
    routes = tmp_path / "alertmanager.yml"
    routes.write_text(alertmanager_text("http://127.0.0.1:9/"))
    check(amtool, "check-config", routes)
    check(
        *(amtool, "config", "routes", "test", f"--config.file={routes}"),
        *("--verify.receivers=on-call", "severity=critical", "alertname=WebSocketNodeDown"),
    )


def test_addresses_in_the_files_are_services() -> None:
    """Who talks to whom is a service of the compose file, at a port that it listens on."""
    ports = {
        *("redis:6379", "prometheus:9090", "alertmanager:9093", "grafana:3000", "app:8000"),
        *("tempo:3200", "tempo:4317", "tempo:4318", "otel-collector:4318", "otel-collector:8888"),
    }
    assert {port.partition(":")[0] for port in ports} <= services().keys()
    text = "\n".join((STACK / name).read_text(encoding="utf-8") for name in FILES)
    assert ports == set(re.findall(rf"\b(?:{'|'.join(services())}):\d{{4,5}}\b", text))


def test_collector_knows_what_is_configured() -> None:
    """Every component exists and is used, every key is one of its own."""
    config = load("otel-collector.yaml")
    assert {*COLLECTOR, "service"} == set(config)
    service = config["service"]
    used: dict[str, set[str]] = {"extensions": set(service["extensions"])}
    for pipeline in service["pipelines"].values():
        for kind, names in pipeline.items():
            used.setdefault(kind, set()).update(names)
    for kind, components in COLLECTOR.items():
        assert set(config[kind]) == used[kind]
        for name, options in config[kind].items():
            assert set(options) <= components[name.partition("/")[0]]
    assert {"traces", "metrics"} == set(service["pipelines"])


def test_tempo_listens_where_the_collectors_send() -> None:
    """By either protocol; and Grafana asks where it answers."""
    config = load("tempo.yaml")
    assert {"server", "distributor", "ingester", "compactor", "storage"} == set(config)
    protocols = config["distributor"]["receivers"]["otlp"]["protocols"]
    listening = {key: each["endpoint"].rpartition(":")[2] for key, each in protocols.items()}
    exporters = load("otel-collector.yaml")["exporters"]
    assert exporters["otlp/tempo"]["endpoint"] == f"tempo:{listening['grpc']}"
    assert variables("rotel.env")["ROTEL_EXPORTER_TEMPO_ENDPOINT"].endswith(listening["http"])
    _, tempo = load("grafana/provisioning/datasources/datasources.yaml")["datasources"]
    assert f"http://tempo:{config['server']['http_listen_port']}" == tempo["url"]


def test_grafana_is_provisioned() -> None:
    """Datasources that know each other, and dashboards where the compose file puts them."""
    sources = load("grafana/provisioning/datasources/datasources.yaml")
    assert 1 == sources["apiVersion"]
    prometheus, tempo = sources["datasources"]
    for source in (prometheus, tempo):
        assert {"name", "uid", "type", "access", "url", "jsonData"} <= set(source)
        assert source["type"] == source["uid"]
    (destination,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert {"name": "trace_id", "datasourceUid": tempo["uid"]} == destination
    assert prometheus["uid"] == tempo["jsonData"]["tracesToMetrics"]["datasourceUid"]
    interval = load("prometheus.yml")["global"]["scrape_interval"]
    assert interval == prometheus["jsonData"]["timeInterval"]
    (provider,) = load("grafana/provisioning/dashboards/dashboards.yaml")["providers"]
    (mounted,) = [each for each in services()["grafana"]["volumes"] if "dashboard.json" in each]
    assert Path(mounted.split(":")[1]).parent == Path(provider["options"]["path"])


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_named_in_a_page(name: str) -> None:
    """Who reads the pages finds it."""
    assert any(f"stack/{name})" in text for text in PAGES.values())
