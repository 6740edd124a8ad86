"""``opentelemetry-instrument uvicorn app:app``: spans and metrics without a line of code."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.servers.otlp import received
from tests.servers.processes import free_port, started
from tests.tracing.placements import CHAT

INSTRUMENT = Path(sys.executable).parent / "opentelemetry-instrument"
INSTRUMENTORS = ("asgi", "fastapi", "starlette")


def serve(endpoint: str, log: Path, *, alone: bool) -> str:
    """Serve one client and one request; return what `/metrics` said."""
    port = free_port()
    options = ["--traces_exporter", "otlp", "--metrics_exporter", "none", "--logs_exporter", "none"]
    arguments = [str(INSTRUMENT), *options, "uvicorn", "tests.servers.plain_app:app"]
    environment = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "ASGI_WS_OBSERVE_METRICS_PATH": "/numbers",
    }
    if alone:
        environment["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = ",".join(INSTRUMENTORS)
    with started([*arguments, "--port", str(port)], port, log, **environment) as process:
        with connect(f"ws://127.0.0.1:{port}/rooms/7") as websocket:
            websocket.send(CHAT)
            assert CHAT == websocket.recv(10)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/items/7", timeout=10) as answer:
            assert b"7" == answer.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/numbers", timeout=10) as answer:
            numbers = str(answer.read().decode())
        # A SIGTERM would kill the process before anything is flushed: uvicorn raises it again.
        process.send_signal(signal.SIGINT)
        process.wait(20)
    return numbers


@pytest.mark.parametrize("alone", [True, False])
def test_instrumented_server_traces_and_counts(tmp_path: Path, alone: bool) -> None:
    """Beside OpenTelemetry's other instrumentations, and beside FastAPI's own telemetry only."""
    log = tmp_path / "log"
    numbers = ""

    async def export(endpoint: str) -> None:
        nonlocal numbers
        numbers = await asyncio.to_thread(serve, endpoint, log, alone=alone)

    spans = asyncio.run(received(export))
    labels = [span.label for span in spans]
    connection = ("WS" if alone else "HTTP") + " /rooms/{room} SERVER OK"
    assert [connection] == [label for label in labels if "SERVER" in label and "rooms" in label]
    (server,) = (span for span in spans if span.label == connection)
    (message,) = (span for span in spans if span.label.startswith("ws.message chat CONSUMER"))
    assert server.trace == message.trace
    assert ("normal", 1000) == tuple(
        server.attributes[name] for name in ("ws.outcome", "ws.close_code")
    )
    assert any(label.startswith("GET /items/{item} SERVER") for label in labels)
    (closes,) = re.findall(r'ws_closes_total\{.*code="1000".*\} 1\.0', numbers)
    assert 'route="/rooms/{room}"' in closes
    said = log.read_text()
    assert [] == re.findall(r".*(?:detach|ended span|different Context|Traceback|ERROR).*", said)
