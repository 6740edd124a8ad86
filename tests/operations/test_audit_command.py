"""`asgi-ws-observe audit` on real services: this library's, and other people's exporters."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from websockets.sync.client import connect

from asgi_ws_observe.operations.commands import asgi_ws_observe
from tests.operations.served import Answer, Served
from tests.operations.test_audit import PAGES
from tests.servers.processes import ROOT, absent, answers, free_port, started
from tests.support import wait_until


def audit(*arguments: str) -> Result:
    """Run the command on a terminal that is wide enough."""
    return CliRunner(env={"COLUMNS": "160"}).invoke(asgi_ws_observe, ["audit", *arguments])


def verdict(url: str) -> dict[str, Any]:
    """Return what it says in JSON, with the exit code."""
    result = audit(url, "--json")
    return {**json.loads(result.stdout), "exit code": result.exit_code}


def found(judged: dict[str, Any]) -> dict[str, str]:
    """Return the metrics that counted, by kind."""
    return {each["name"]: each["metric"] for each in judged["criteria"] if each["found"]}


def refused(judged: dict[str, Any]) -> dict[str, str]:
    """Return why metrics did not count, by name."""
    return {
        each["metric"]: each["reason"] for kind in judged["criteria"] for each in kind["refused"]
    }


@contextmanager
def open_websockets(url: str, count: int = 3) -> Iterator[None]:
    """Hold WebSockets open, each with one message sent and answered."""
    with ExitStack() as opened:
        for _ in range(count):
            websocket = opened.enter_context(connect(url))
            websocket.send("hello")
            websocket.recv(10)
        yield


def test_the_demo_passes(tmp_path: Path) -> None:
    """With all five kinds, and its connections counted; through the command as users type it."""
    port = free_port()
    demo = [sys.executable, "-m", "demo_app", "--port", str(port)]
    with (
        started(demo, port, tmp_path / "demo.log"),
        connect(f"ws://127.0.0.1:{port}/rooms/tea?name=ann"),
    ):
        command = [sys.executable, "-m", "asgi_ws_observe", "audit", f"127.0.0.1:{port}", "--json"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "" == run.stderr
    judged = json.loads(run.stdout)
    assert (0, "pass") == (run.returncode, judged["verdict"])
    assert 5 == len(found(judged))
    assert "ws_connections_active" == found(judged)["active connections"]
    assert {"value": 1.0} == judged["criteria"][0]["values"]


def test_granian_alone_fails(tmp_path: Path) -> None:
    """Its page says 0 active connections while three WebSockets are open."""
    port, pages = free_port(), free_port()
    granian = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port)]
    own = ["--metrics", "--metrics-port", str(pages), "--metrics-scrape-interval", "1"]
    arguments = [*granian, *own, "tests.servers.plain_app:app"]
    with (
        started(arguments, port, tmp_path / "granian.log"),
        open_websockets(f"ws://127.0.0.1:{port}/rooms/tea"),
    ):
        # Its page is collected once a second, and is empty before.
        wait_until(lambda: answers(pages) and verdict(f"127.0.0.1:{pages}")["criteria"], 30)
        judged = verdict(f"127.0.0.1:{pages}")
    assert 1 == judged["exit code"]
    assert "leaves a WebSocket out" in refused(judged)["granian_connections_active"]
    assert {"errors"} == found(judged).keys()


@pytest.mark.parametrize("application", ["instrumentator", "exporter"])
def test_exporters_of_http_fail(application: str, tmp_path: Path) -> None:
    """They say nothing of WebSockets, whose requests are not messages."""
    port = free_port()
    module = f"tests.operations.exporters:{application}"
    uvicorn = [sys.executable, "-m", "uvicorn", module, "--port", str(port)]
    with (
        started(uvicorn, port, tmp_path / "uvicorn.log"),
        open_websockets(f"ws://127.0.0.1:{port}/ws"),
    ):
        judged = verdict(f"127.0.0.1:{port}")
    assert 1 == judged["exit code"]
    assert {} == found(judged)
    assert "active connections are not among them" in judged["reason"]


@pytest.mark.parametrize("program", ["prometheus", "prometheus-alertmanager"])
def test_monitoring_itself_fails(program: str, tmp_path: Path) -> None:
    """Queues of notifications and scrape times are not of a real-time service."""
    binary = shutil.which(program)
    if binary is None:
        absent(f"{program} is missing; get it with: apt-get install {program}")
    port, config = free_port(), tmp_path / "config.yml"
    storage = "--storage.path" if "alert" in program else "--storage.tsdb.path"
    config.write_text(
        "route: {receiver: none}\nreceivers: [{name: none}]\n" if "alert" in program else ""
    )
    more = ["--cluster.listen-address="] if "alert" in program else []
    listen = f"--web.listen-address=127.0.0.1:{port}"
    arguments = [binary, f"--config.file={config}", listen, f"{storage}={tmp_path}", *more]
    with started(arguments, port, tmp_path / "log"):
        judged = verdict(f"http://127.0.0.1:{port}")
    assert 1 == judged["exit code"]
    assert {} == found(judged)
    assert "it is of the monitoring itself" in refused(judged).values()


def test_an_application_without_metrics_fails(tmp_path: Path) -> None:
    """The sentence says so, and the exit code is that of a failed audit."""
    port = free_port()
    uvicorn = [sys.executable, "-m", "uvicorn", "tests.servers.plain_app:app", "--port", str(port)]
    with started(uvicorn, port, tmp_path / "uvicorn.log"):
        result = audit(f"127.0.0.1:{port}")
    assert 1 == result.exit_code
    assert "exposes no metrics: http://127.0.0.1" in result.stdout
    assert "got 404" in result.stdout
    assert "to do: on FastAPI or Starlette: pip install asgi-ws-observe" in result.stdout


@pytest.mark.parametrize(
    ("page", "code", "expected"),
    [
        ("rabbitmq", 0, ["PASS", "rabbitmq_connections  3 now", "even better: expose a histogram"]),
        ("nginx_exporter", 1, ["FAIL", "nginx_connections_active  1 now", "nothing like it"]),
        ("redis_exporter", 1, ["redis_connected_clients does not count: it is of a database"]),
    ],
)
def test_the_table_shows_what_counts(
    served: Served, page: str, code: int, expected: list[str]
) -> None:
    """Metrics that count with what they say now, and what looks alike with the reason."""
    result = audit(served.page((PAGES / f"{page}.txt").read_text()))
    assert code == result.exit_code
    for each in expected:
        assert each in result.stdout


def test_a_page_with_everything_needs_nothing(served: Served) -> None:
    """Nothing is left to do then."""
    page = [
        *("# TYPE ws_connections_active gauge", "ws_connections_active 2"),
        *("# TYPE ws_messages_total counter", "ws_messages_total 2"),
        *("# TYPE ws_queue_depth gauge", "ws_queue_depth 2"),
        *("# TYPE ws_errors_total counter", "ws_errors_total 2"),
        "# TYPE ws_heartbeat_rtt_seconds histogram",
    ]
    result = audit(served.page("\n".join(page) + "\n"))
    assert 0 == result.exit_code
    assert "better" not in result.stdout
    assert "to do" not in result.stdout


def test_what_cannot_be_asked_is_said_in_one_line(served: Served) -> None:
    """No answer, or one that wants a token: exit code 2, and the token is sent where given."""
    result = audit(f"127.0.0.1:{free_port()}")
    assert (2, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert result.stderr.startswith("asgi-ws-observe audit: http://127.0.0.1")
    served.answers["/metrics"] = Answer("who are you?", status=401)
    assert 2 == audit(served.address, "--token", "secret").exit_code
    assert "Bearer secret" == served.asked[-1].headers["authorization"]
