"""What real receivers get over OTLP from a real server under load is what `/metrics` shows."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from websockets.asyncio.client import connect

from tests.servers.collector import Samples, collected_metrics, exposed, received_metrics, samples
from tests.servers.processes import ROOT, Process, absent, free_port, running, started
from tests.support import wait_until

SERVER: Final = "uvicorn/websockets-sansio/asyncio"
CLIENTS: Final = 12
#: Of these no sum depends on the order.
COUNTED: Final = ("ws_connects_total", "ws_closes_total", "ws_message_bytes_total")
EXAMPLES: Final = ROOT / "docs" / "examples" / "otlp"
#: These change with the scrape itself.
RESTLESS: Final = ("ws_observe_scrape_seconds", "ws_tcp_connections", "event_loop_lag")


async def live(address: str, number: int) -> None:
    """Say a few things and leave in one of several ways."""
    async with connect(f"ws://{address}/rooms/{number}") as websocket:
        for _ in range(20):
            await websocket.send("x" * 4**number)
            await websocket.recv()
        await websocket.close(4000 + number % 3 if number % 2 else 1000)


def calm(samples: Samples) -> Samples:
    """Return the samples that do not change by themselves."""
    return {key: value for key, value in samples.items() if not key[0].startswith(RESTLESS)}


async def settled(server: Process) -> Samples:
    """Return what /metrics shows when everything has ended and was looked at."""
    seen: list[Samples] = []

    async def same_twice() -> Samples:
        while True:
            text = await asyncio.to_thread(server.get, "/metrics")
            seen.append(calm(exposed(text)))
            over = not server_total(seen[-1], "ws_connections_active")
            if over and len(seen) > 1 and seen[-2] == seen[-1]:
                return seen[-1]
            await asyncio.sleep(0.1)

    return await asyncio.wait_for(same_twice(), 20)


def server_total(samples: Samples, name: str) -> float:
    """Return the sum of all samples of this name."""
    return sum(value for (each, _), value in samples.items() if each == name)


def environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Set OpenTelemetry's variables for the server."""
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_{name.upper()}", value)


async def exported(log: Path) -> Samples:
    """Run a server under load and end it; return what it showed last."""
    settings: dict[str, Any] = {"otlp": True, "loop_lag_interval": 0, "look_interval": 0.05}
    with running(SERVER, log=log, **settings) as server:
        await asyncio.gather(*(live(server.address, number % 6) for number in range(CLIENTS)))
        shown = await settled(server)
        # As a supervisor ends it: uvicorn is killed by this signal as soon as it has shut down.
        server.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.process.wait, 20)
    return shown


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("way", ["direct", "http/protobuf", "grpc"])
async def test_receiver_gets_every_number(
    way: str, temporality: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directly, or through a collector; the last numbers are flushed when a SIGTERM ends it."""
    shown: Samples = {}
    environment(
        monkeypatch,
        exporter_otlp_metrics_temporality_preference=temporality,
        exporter_otlp_protocol="http/protobuf" if way == "direct" else way,
        metric_export_interval="100",
    )

    async def export(endpoint: str) -> None:
        environment(monkeypatch, exporter_otlp_endpoint=endpoint)
        shown.update(await exported(tmp_path / "log"))

    if way == "direct":
        metrics = await received_metrics(export)
    else:
        metrics = await collected_metrics(way, tmp_path / "collector", export)
    got = calm(samples(metrics))
    assert shown.keys() == got.keys()
    wrong = {key: (value, got[key]) for key, value in shown.items()}
    # Sums of seconds are added up in another order.
    assert {} == {key: both for key, both in wrong.items() if pytest.approx(both[0]) != both[1]}
    assert CLIENTS == server_total(got, "ws_connects_total")
    assert CLIENTS * 20 == server_total(got, "ws_handler_duration_seconds_count")
    # More than one export, and no failure.
    assert sum(each.name == "ws.connects" for each in metrics) > 1
    assert 0 == server_total(got, "ws_observe_errors_total")
    assert [] == re.findall(r".*(?:Traceback|ERROR).*", (tmp_path / "log").read_text())


async def test_workers_keep_their_series_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What both workers of a server counted arrives under their own numbers, as on `/metrics`."""
    shown: Samples = {}
    environment(monkeypatch, exporter_otlp_metrics_temporality_preference="delta")

    async def export(endpoint: str) -> None:
        environment(monkeypatch, exporter_otlp_endpoint=endpoint)
        with running(SERVER, "--workers", "2", log=tmp_path / "log", otlp=True) as server:
            seen: set[str] = set()
            # The kernel chooses who gets a connection.
            while {"0", "1"} != seen:
                await live(server.address, 1)
                shown.clear()
                shown.update(await settled(server))
                counted = (dict(labels) for (name, labels), value in shown.items() if value)
                seen = {labels["worker"] for labels in counted if "code" in labels}
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.process.wait, 20)

    got = samples(await asyncio.wait_for(received_metrics(export), 60))
    for name in COUNTED:
        expected = {key: value for key, value in shown.items() if key[0] == name}
        assert expected == {key: value for key, value in got.items() if key[0] == name}
    assert server_total(got, "ws_connects_total") >= 2


async def test_receiver_that_is_not_there_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients are served, failures counted, and the end is late by a few seconds at most."""
    environment(
        monkeypatch,
        exporter_otlp_endpoint=f"http://127.0.0.1:{free_port()}",
        exporter_otlp_timeout="1",
        metric_export_interval="100",
    )
    with running(SERVER, log=tmp_path / "log", otlp=True) as server:
        await asyncio.gather(*(live(server.address, number) for number in range(3)))
        failed = lambda: server.total("ws_observe_errors_total", part="otlp")  # noqa: E731
        deadline = time.monotonic() + 20
        while not await asyncio.to_thread(failed):
            assert time.monotonic() < deadline
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.process.wait, 20)
        assert time.monotonic() - began < 10
    assert 1 == (tmp_path / "log").read_text().count("the next export tries again")


async def test_prometheus_scrapes_what_the_receiver_is_told(tmp_path: Path) -> None:
    """A real Prometheus, of which a collector's receiver is made, runs the guide's section."""
    prometheus = shutil.which("prometheus") or absent("prometheus: apt-get install prometheus")
    collector = yaml.safe_load((EXAMPLES / "prometheus-collector.yaml").read_text("utf-8"))
    config = collector["receivers"]["prometheus"]["config"]
    port = free_port()
    with running(SERVER, log=tmp_path / "log") as server:
        await live(server.address, 1)
        (job,) = config["scrape_configs"]
        job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
        job["static_configs"] = [{"targets": [server.address]}]
        file = tmp_path / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        arguments = [
            *(prometheus, f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}"),
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with started(arguments, port, tmp_path / "prometheus.log"):
            query = f"http://127.0.0.1:{port}/api/v1/query?query=ws_connects_total"
            found: list[Any] = []

            def scraped() -> bool:
                found[:] = httpx.get(query).json()["data"]["result"]
                return bool(found)

            await asyncio.to_thread(wait_until, scraped, 20)
            (series,) = found
    assert ("chat", "/rooms/1") == (series["metric"]["job"], series["metric"]["route"])
    assert "1" == series["value"][1]
