"""The stack of `docs/operations/stack`, as far as it runs here: its files, at local addresses."""

from __future__ import annotations

import json
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from asgi_ws_observe.operations.routing import alertmanager_text
from asgi_ws_observe.operations.rules import rules_text
from tests.servers.processes import absent, free_port, program, started
from tests.support import get_from, posts

try:
    import rotel  # type: ignore[import-untyped]
except ImportError:
    rotel = None

__all__ = ["OPERATIONS", "STACK", "Running", "load", "nginx", "running", "variables"]

OPERATIONS: Final = Path(__file__).parents[2] / "docs" / "operations"
STACK: Final = OPERATIONS / "stack"
#: What times of the rules and of the routes are multiplied by.
SCALE: Final = 0.02


def load(name: str) -> Any:
    """Return what a YAML file of the stack says."""
    return yaml.safe_load((STACK / name).read_text(encoding="utf-8"))


def variables(name: str) -> dict[str, str]:
    """Return the variables of a file of the stack."""
    lines = (STACK / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {key: value for key, _, value in pairs}


@dataclass
class Running:
    """What runs, and what arrived.

    Attributes:
        nodes: The nodes' addresses.
        nginx: Its address.
        prometheus: Its address.
        alertmanager: Its address.
        otlp: (path, body) of what the collector passed on.
        alerts: What Alertmanager delivered to the webhook.
        processes: The nodes' processes.
    """

    nodes: list[str] = field(default_factory=list)
    nginx: str = ""
    prometheus: str = ""
    alertmanager: str = ""
    otlp: list[tuple[str, bytes]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    processes: list[Any] = field(default_factory=list)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what Prometheus answers: series with their ``value``."""
        return list(self.ask("query", query=expression)["result"])

    def ask(self, what: str, **arguments: Any) -> Any:
        """Return the data of an answer of Prometheus' API."""
        path = f"/api/v1/{what}?{urllib.parse.urlencode(arguments)}"
        return json.loads(get_from(self.prometheus, path))["data"]


@contextmanager
def running(directory: Path) -> Iterator[Running]:
    """Run two nodes, nginx, rotel, Prometheus and Alertmanager until the end of the block."""
    found = Running()

    def take_otlp(path: str, _: dict[str, str], body: bytes) -> None:
        found.otlp.append((path, body))

    def take_alerts(_: str, __: dict[str, str], body: bytes) -> None:
        found.alerts.extend(json.loads(body)["alerts"])

    with ExitStack() as opened:
        backend = f"127.0.0.1:{opened.enter_context(posts(take_otlp))}"
        webhook = f"http://127.0.0.1:{opened.enter_context(posts(take_alerts))}"
        collector = opened.enter_context(_collector(backend, directory))
        for number in range(2):
            port = free_port()
            process = opened.enter_context(_node(port, collector, directory / f"{number}.log"))
            found.processes.append(process)
            found.nodes.append(f"127.0.0.1:{port}")
        found.nginx = opened.enter_context(nginx(found.nodes, directory))
        found.alertmanager = opened.enter_context(_alertmanager(webhook, directory))
        found.prometheus = opened.enter_context(_prometheus(found, directory))
        yield found


@contextmanager
def _collector(backend: str, directory: Path) -> Iterator[str]:
    """Run rotel with its variables, and yield where it takes OTLP over HTTP."""
    if rotel is None:
        absent("no rotel for this machine: pip install rotel")
    given = variables("rotel.env")
    address = f"127.0.0.1:{free_port()}"
    given["ROTEL_OTLP_HTTP_ENDPOINT"] = address
    given["ROTEL_OTLP_GRPC_ENDPOINT"] = f"127.0.0.1:{free_port()}"
    for name in ("TEMPO", "PROMETHEUS"):
        key = f"ROTEL_EXPORTER_{name}_ENDPOINT"
        given[key] = urllib.parse.urlsplit(given[key])._replace(netloc=backend).geturl()
    arguments = [str(Path(rotel.__file__).parent / "rotel-agent"), "start"]
    port = int(address.rpartition(":")[2])
    with started(arguments, port, directory / "rotel.log", **given):
        yield address


def _node(port: int, collector: str, log: Path) -> Any:
    """Run the demo as the compose file does, without its Redis, and with its metrics pushed too."""
    service = load("compose.yaml")["services"]["app"]
    environment = service["environment"] | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector}",
        "ASGI_WS_OBSERVE_OTLP": "true",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    spans = service["command"][service["command"].index("--spans") :]
    arguments = [sys.executable, "-m", "demo_app", "--port", str(port), *spans]
    return started(arguments, port, log, **environment)


@contextmanager
def nginx(nodes: list[str], directory: Path, **timeouts: str) -> Iterator[str]:
    """Run nginx with the stack's configuration, and yield its address.

    Args:
        nodes: The addresses of the nodes behind it.
        directory: Where it writes.
        timeouts: Other values of directives.
    """
    port = free_port()
    text = (STACK / "nginx.conf").read_text(encoding="utf-8")
    for name, value in timeouts.items():
        begin = text.index(f"{name} ")
        text = text[:begin] + f"{name} {value}" + text[text.index(";", begin) :]
    servers = "\n".join(f"server {node};" for node in nodes)
    writes = "\n".join(
        f"{each}_temp_path {directory}/{each};"
        for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("server app:8000;", servers).replace("http {", f"http {{\n{writes}", 1)
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    # What is left to a file's reader: it runs in the foreground, and as whoever runs the tests.
    text = f"daemon off;\npid {directory}/nginx.pid;\nerror_log stderr;\n{text}"
    configuration = directory / "nginx.conf"
    configuration.write_text(text)
    arguments = [program("nginx", package="nginx"), "-c", str(configuration), "-p", str(directory)]
    with started([*arguments, "-e", "stderr"], port, directory / "nginx.log"):
        yield f"127.0.0.1:{port}"


@contextmanager
def _alertmanager(webhook: str, directory: Path) -> Iterator[str]:
    """Run Alertmanager with the generated routes and the compose file's options."""
    port = free_port()
    configuration = directory / "alertmanager.yml"
    configuration.write_text(alertmanager_text(webhook, scale=SCALE))
    given = {
        "--config.file": configuration,
        "--storage.path": directory / "alertmanager",
        "--web.listen-address": f"127.0.0.1:{port}",
    }
    name = program("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager")
    with started(_command(name, "alertmanager", given), port, directory / "alertmanager.log"):
        yield f"127.0.0.1:{port}"


@contextmanager
def _prometheus(stack: Running, directory: Path) -> Iterator[str]:
    """Run Prometheus with the stack's configuration, the generated rules and a quick pace."""
    port = free_port()
    content = load("prometheus.yml")
    content["global"] = dict.fromkeys(content["global"], "500ms")
    content["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [stack.alertmanager]
    application, monitoring = content["scrape_configs"]
    del application["dns_sd_configs"]
    application["static_configs"] = [{"targets": stack.nodes}]
    local = [f"localhost:{port}", stack.alertmanager]
    monitoring["static_configs"] = [{"targets": local}]
    (directory / "rules.yml").write_text(rules_text(scale=SCALE))
    configuration = directory / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(content))
    given = {
        "--config.file": configuration,
        "--storage.tsdb.path": directory / "prometheus",
        "--web.listen-address": f"127.0.0.1:{port}",
    }
    command = _command(program("prometheus", package="prometheus"), "prometheus", given)
    # Of Prometheus 3.
    command.remove("--web.enable-otlp-receiver")
    with started(command, port, directory / "prometheus.log"):
        yield f"127.0.0.1:{port}"


def _command(name: str, service: str, given: dict[str, Any]) -> list[str]:
    """Return the command of a service with other values of some options."""
    options = load("compose.yaml")["services"][service]["command"]
    kept = [option for option in options if option.partition("=")[0] not in given]
    return [name, *kept, *(f"{option}={value}" for option, value in given.items())]
