"""Kubernetes: the manifests are valid, and a rollout is what the guide says it is."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from asgi_ws_observe.operations.rules import rules_text
from tests.operations.schemas import errors_of_kind
from tests.operations.stack import OPERATIONS
from tests.servers.processes import Process, free_port, started
from tests.support import until

GUIDE: Final = (OPERATIONS / "kubernetes.md").read_text(encoding="utf-8")
MANIFESTS: Final = OPERATIONS / "kubernetes"
SCHEMAS: Final = {"monitoring.coreos.com/v1": "prometheus-operator.json"}
#: By the guide's application.
PACE: Final = 25


def manifests(name: str) -> list[dict[str, Any]]:
    """Return the objects of a file."""
    return list(yaml.safe_load_all((MANIFESTS / name).read_text(encoding="utf-8")))


def errors(manifest: dict[str, Any]) -> list[str]:
    """Return what the schema of its kind finds wrong."""
    return errors_of_kind(SCHEMAS.get(manifest["apiVersion"], "kubernetes.json"), manifest)


def pod() -> dict[str, Any]:
    """Return the specification of the deployment's pods."""
    (deployment,) = manifests("deployment.yaml")
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("path", sorted(MANIFESTS.iterdir()), ids=lambda path: str(path.name))
def test_manifest_is_valid_and_named(path: Path) -> None:
    """The schema of each object's kind finds nothing wrong, and the guide has the file."""
    for manifest in manifests(path.name):
        assert [] == errors(manifest)
    assert f"(kubernetes/{path.name})" in GUIDE


@pytest.mark.parametrize("name", ["deployment.yaml", "service.yaml", "podmonitor.yaml"])
def test_schema_finds_a_mistake(name: str) -> None:
    """A field that the kind does not have is found."""
    manifest = manifests(name)[0]
    manifest["spec"]["selectors"] = {}
    assert 1 == len(errors(manifest))


def test_rules_become_an_object_by_the_commands_of_the_guide(tmp_path: Path) -> None:
    """What the shell makes of them is valid, and loses none."""
    (commands,) = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "docs" / "operations").mkdir(parents=True)
    (tmp_path / "docs" / "operations" / "rules.yml").write_text(rules_text())
    making = commands.replace("kubectl apply -f prometheusrule.yaml", "")
    subprocess.run(["sh", "-ec", making], cwd=tmp_path, check=True)
    manifest = yaml.safe_load((tmp_path / "prometheusrule.yaml").read_text())
    assert [] == errors(manifest)
    assert yaml.safe_load(rules_text()) == manifest["spec"]


def test_objects_select_each_other() -> None:
    """The service, the budget and the monitors mean the pods; their port is the container's."""
    (deployment,) = manifests("deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    service, budget = manifests("service.yaml")
    (of_pods,), (of_services,) = manifests("podmonitor.yaml"), manifests("servicemonitor.yaml")
    assert labels == deployment["spec"]["selector"]["matchLabels"]
    assert labels == service["spec"]["selector"]
    assert labels == budget["spec"]["selector"]["matchLabels"]
    assert labels == of_pods["spec"]["selector"]["matchLabels"]
    assert service["metadata"]["labels"] == of_services["spec"]["selector"]["matchLabels"]
    (container,) = pod()["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert ports == {each["port"] for each in of_pods["spec"]["podMetricsEndpoints"]}
    assert ports == {each["targetPort"] for each in service["spec"]["ports"]}
    assert {of_pods["spec"]["jobLabel"], of_services["spec"]["jobLabel"]} <= labels.keys()


def test_grace_period_is_long_enough() -> None:
    """For the wait, for as many connections as a node may have, and for what is left."""
    (container,) = pod()["containers"]
    limit = next(
        int(each["value"])
        for each in container["env"]
        if each["name"] == "ASGI_WS_OBSERVE_MAX_CONNECTIONS"
    )
    program = container["lifecycle"]["preStop"]["exec"]["command"][2]
    wait, patience = (float(each) for each in re.findall(r"(?:sleep\(|timeout=)(\d+)", program))
    (drain,) = re.findall(r"timeout=(\d+)\)", code())
    assert wait + limit / PACE + 15 <= pod()["terminationGracePeriodSeconds"]
    assert limit / PACE <= float(drain) <= patience
    assert wait + patience < pod()["terminationGracePeriodSeconds"]
    assert f"per_second={PACE}," in code()


def code() -> str:
    """Return the application of the guide."""
    (found,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    return str(found)


@contextmanager
def node(directory: Path) -> Iterator[Process]:
    """Run the guide's application by the manifest's command, on a port of its own."""
    port = free_port()
    directory.mkdir()
    (directory / "app.py").write_text(code())
    (container,) = pod()["containers"]
    options = container["command"][1:]
    options[options.index("--host") + 1] = "127.0.0.1"
    options[options.index("--port") + 1] = str(port)
    arguments = [sys.executable, "-m", "uvicorn", "--app-dir", str(directory), *options]
    environment = {each["name"]: each["value"] for each in container["env"]}
    with started(arguments, port, directory / "log", **environment) as process:
        yield Process(f"127.0.0.1:{port}", process, directory / "log")


def pre_stop(process: Process) -> subprocess.Popen[str]:
    """Start the manifest's hook, with a shorter wait."""
    (container,) = pod()["containers"]
    program = container["lifecycle"]["preStop"]["exec"]["command"][2]
    program = program.replace("sleep(5)", "sleep(0.2)").replace("127.0.0.1:8000", process.address)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def status(process: Process, path: str) -> int:
    """Return the status of an answer."""
    return httpx.get(f"http://{process.address}{path}").status_code


class Client:
    """One that comes back to another node when it is sent away.

    Attributes:
        codes: The close codes that it saw.
        times: When it saw them, of `time.monotonic()`.
    """

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.times: list[float] = []
        self.connection: ClientConnection | None = None

    async def run(self, *addresses: str) -> None:
        """Connect to one node after the other."""
        for address in addresses:
            async with connect(f"ws://{address}/chat") as self.connection:
                try:
                    await self.connection.recv()
                except ConnectionClosed as closed:
                    self.times.append(time.monotonic())
                    self.codes.append(closed.rcvd.code if closed.rcvd else 1006)


async def test_rollout_looks_as_the_guide_says(tmp_path: Path) -> None:
    """1001 at the pace here, as many connects there; SIGTERM finds nothing to close."""
    number = 25
    with node(tmp_path / "old") as old, node(tmp_path / "new") as new:
        clients = [Client() for _ in range(number)]
        lives = [asyncio.create_task(each.run(old.address, new.address)) for each in clients]
        await until(lambda: number == old.total("ws_connections_active"), 30)
        assert (200, 200) == (status(old, "/ready"), status(old, "/alive"))

        hook = pre_stop(old)
        await until(lambda: 503 == status(old, "/ready"), 10)
        assert 200 == status(old, "/alive")
        await until(lambda: hook.poll() is not None, 60)
        answer, _ = hook.communicate()
        await until(lambda: number == new.total("ws_connections_active"), 30)

        assert {"open": 0} == json.loads(answer)
        assert {"/chat": (1001, "server", "going_away")} == old.endings()
        assert number == old.total("ws_closes_total", code="1001")
        assert (0, 0) == (old.total("ws_errors_total"), old.total("ws_unexpected_events_total"))
        assert number == new.total("ws_connects_total")
        assert 0 == new.total("ws_handshake_failures_total")
        times = sorted(time for each in clients for time in each.times)
        # A slow machine may bunch a few; all at once they are never.
        assert (number - 1) / PACE / 2 <= times[-1] - times[0]

        await asyncio.to_thread(old.end)
        assert [1001] * number == [code for each in clients for code in each.codes]
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)


async def test_without_the_hook_clients_see_1012(tmp_path: Path) -> None:
    """SIGTERM alone makes 1012 of them."""
    number = 25
    with node(tmp_path / "old") as old:
        clients = [Client() for _ in range(number)]
        lives = [asyncio.create_task(each.run(old.address)) for each in clients]
        await until(lambda: number == old.total("ws_connections_active"), 30)
        await asyncio.to_thread(old.end)
        await asyncio.gather(*lives)
    assert [1012] * number == [code for each in clients for code in each.codes]


def test_drain_is_for_the_container_only(tmp_path: Path) -> None:
    """A request that a proxy forwards for somebody else is not answered."""
    with node(tmp_path / "node") as process:
        url, forwarded = f"http://{process.address}/drain", {"x-forwarded-for": "192.0.2.7"}
        assert 404 == httpx.post(url, headers=forwarded).status_code
        assert 200 == status(process, "/ready")
