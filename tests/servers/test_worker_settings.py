"""What a user says about sibling workers, and what keeps them from being siblings."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.servers.fleet import WORKERS, by_worker, fleet, meeting_places, slots, temporary
from tests.servers.processes import absent, free_port, started
from tests.support import wait_until

SETTING = "ASGI_WS_OBSERVE_WORKERS"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory for temporary files, with a short name."""
    with temporary() as found:
        yield found


def test_off_lets_each_answer_for_itself(directory: Path) -> None:
    """Without a label, and without a file."""
    with fleet("uvicorn", directory=directory, environment={SETTING: "off"}) as running:
        pages = [asker.page() for asker in running.askers().values()]
        assert [1] * WORKERS == [len(page.samples("app_pid")) for page in pages]
        assert [{}] * WORKERS == [page.samples("app_pid")[0][0] for page in pages]
        assert [] == [page for page in pages if page.samples("ws_observe_worker_up")]
        assert [] == meeting_places(directory)


def test_processes_that_name_a_directory_are_siblings(directory: Path) -> None:
    """On two ports, started by nobody in common; a socket of somebody else is left alone."""
    place = directory / "place"
    place.mkdir(mode=0o700)
    (place / "app.sock").touch()
    environment = {SETTING: str(place)}
    with ExitStack() as opened:
        each = []
        for name in ("a", "b"):
            (directory / name).mkdir()
            one = fleet("uvicorn", directory=directory / name, workers=1, environment=environment)
            each.append(opened.enter_context(one))
            each[-1].fill(len(each))
        expected = sum(len(running.clients) for running in each)
        pages = [running.page() for running in each]
        assert [expected] * 2 == [page.total("ws_connections_active") for page in pages]
        assert slots(pages[0]) == slots(pages[1])
        assert {"0", "1"} == set(slots(pages[0]).values())
    assert {"app.sock", "0.lock", "1.lock"} == {found.name for found in place.iterdir()}


def test_directory_that_others_may_enter_is_used_by_nobody(directory: Path) -> None:
    """Each process says so once and answers for itself."""
    place = directory / "place"
    place.mkdir(mode=0o755)
    with fleet("gunicorn", directory=directory, environment={SETTING: str(place)}) as running:
        pages = [asker.page() for _ in range(2) for asker in running.askers().values()]
        assert [1] * 2 * WORKERS == [len(page.samples("app_pid")) for page in pages]
        assert [1] * 2 * WORKERS == [
            page.total("ws_observe_errors_total", part="workers") for page in pages
        ]
        said = running.lines(f"'{place}'; /metrics shows this worker only")
        assert WORKERS == len(said)
    assert [] == list(place.iterdir())


def test_token_still_closes_the_page(directory: Path) -> None:
    """Whoever is asked; with it, siblings answer."""
    environment = {"ASGI_WS_OBSERVE_METRICS_AUTH": "s3cret"}
    with fleet("gunicorn", directory=directory, environment=environment) as running:
        token = {"authorization": "Bearer s3cret"}
        for asker in running.askers().values():
            assert WORKERS == len(slots(asker.page(token)))
        for _ in range(WORKERS):
            with closing(http.client.HTTPConnection(running.address, timeout=10)) as connection:
                connection.request("GET", "/metrics")
                answer = connection.getresponse()
                assert (401, b"Unauthorized\n") == (answer.status, answer.read())


def test_prometheus_clients_own_way_goes_on_beside(directory: Path) -> None:
    """The log says once in each process what happens; its families are there once."""
    files = directory / "multiproc"
    files.mkdir()
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(files)}
    with fleet("gunicorn", directory=directory, environment=environment) as running:
        for asker in running.askers().values():
            asker.get("/work")
        wait_until(running.is_complete)
        page = running.page()
        assert [({}, float(WORKERS))] == page.samples("jobs_total")
        assert [({"worker": "printer"}, float(WORKERS))] == page.samples("shares_total")
        for name in ("app_pid", "process_resident_memory_bytes", "ws_observe_info"):
            assert WORKERS == len(by_worker(page, name))
        assert WORKERS == len(running.lines("PROMETHEUS_MULTIPROC_DIR is set."))


def asked(port: int, query: str) -> dict[str, float]:
    """Return what Prometheus finds now, by the label `worker`."""
    path = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(path, timeout=10) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
    except urllib.error.HTTPError:  # it is only starting
        return {}
    return {each["metric"].get("worker", ""): float(each["value"][1]) for each in found}


def test_prometheus_sees_all_workers_in_one_target(directory: Path) -> None:
    """One that is stopped is down within the time of a scrape, and the target is up."""
    if shutil.which("prometheus") is None:
        absent("prometheus is missing: on Debian it is the package prometheus")
    with fleet("gunicorn", directory=directory) as running:
        clients = running.fill()
        ours = running.address
        config = directory / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            f"scrape_configs: [{{job_name: ws, static_configs: [{{targets: ['{ours}']}}]}}]\n"
        )
        port = free_port()
        arguments = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/db"]
        arguments.append(f"--web.listen-address=127.0.0.1:{port}")
        with started(arguments, port, directory / "prometheus.log"):
            active = 'sum(ws_connections_active{job="ws"})'
            wait_until(lambda: asked(port, active) == {"": float(clients)}, 20)
            (stopped, slot), *_ = slots(running.page()).items()
            os.kill(stopped, signal.SIGSTOP)
            try:
                wait_until(lambda: asked(port, "ws_observe_worker_up == 0") == {slot: 0.0}, 20)
                assert {"": 1.0} == asked(port, "up")
            finally:
                os.kill(stopped, signal.SIGCONT)
            wait_until(lambda: asked(port, active) == {"": float(clients)}, 20)
