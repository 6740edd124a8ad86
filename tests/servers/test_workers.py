"""Several worker processes of real servers: any of them answers for all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.servers.fleet import (
    SUPERVISORS,
    WORKERS,
    Fleet,
    by_worker,
    counters,
    fleet,
    slots,
    temporary,
)
from tests.servers.processes import absent
from tests.support import wait_until

SLOTS: Final = {str(slot) for slot in range(WORKERS)}
OPENMETRICS: Final = {"accept": "application/openmetrics-text; version=1.0.0"}
#: Beyond what a worker has to wait for, seconds: for its own page, on a machine with much to do.
MARGIN: Final = 1.0

Start = Callable[[str], Fleet]


@pytest.fixture(scope="module")
def filled() -> Iterator[Start]:
    """A function that returns a server each of whose workers has open WebSockets."""
    found: dict[str, Fleet] = {}
    with ExitStack() as opened:

        def start(server: str) -> Fleet:
            if server not in found:
                directory = opened.enter_context(temporary())
                found[server] = opened.enter_context(fleet(server, directory=directory))
                found[server].fill()
            return found[server]

        yield start


supervisors = pytest.mark.parametrize("server", SUPERVISORS)


@supervisors
def test_any_worker_answers_for_all(server: str, filled: Start) -> None:
    """The same whoever is asked, and the sums are what there is."""
    running = filled(server)
    wait_until(running.is_complete)
    pages = [asker.page() for asker in running.askers().values()]
    active = [by_worker(page, "ws_connections_active") for page in pages]
    assert [active[0]] * WORKERS == active
    assert len(running.clients) == sum(active[0].values())
    for page in pages:
        assert len(running.clients) == page.total("ws_messages_total", direction="in")
        assert dict.fromkeys(SLOTS, 1.0) == by_worker(page, "ws_observe_worker_up")
        assert set(by_worker(page, "process_resident_memory_bytes")) == SLOTS
        assert {value for _, value in page.samples("app_pid")} == set(running.askers())


@supervisors
def test_counters_never_run_backwards(server: str, filled: Start) -> None:
    """Over many scrapes, whoever answers, while something happens; no series goes either."""
    running = filled(server)
    askers = list(running.askers().values())
    seen = counters(askers[0].page())
    assert {"ws_messages_total", "ws_message_size_bytes_bucket", "jobs_total"} <= {
        name for name, _ in seen
    }
    for number in range(20):
        running.say()
        now = counters(askers[number % WORKERS].page())
        assert [] == [each for each in seen if now.get(each, -1) < seen[each]]
        seen = now


@supervisors
def test_metrics_of_the_application_are_there_by_worker(server: str, filled: Start) -> None:
    """Under our label; a label of theirs with its name keeps its value under another one."""
    running = filled(server)
    askers = list(running.askers().values())
    before = running.page().total("jobs_total")
    for asker in askers:
        asker.get("/work")
    for asker in askers:
        page = asker.page()
        assert before + WORKERS == page.total("jobs_total")
        assert set(by_worker(page, "jobs_total")) == SLOTS
        shares = page.samples("shares_total", exported_worker="printer")
        assert sorted(labels["worker"] for labels, _ in shares) == sorted(SLOTS)


@supervisors
def test_openmetrics_has_the_exemplars_of_all(server: str, filled: Start) -> None:
    """A strict parser takes the page."""
    for asker in filled(server).askers().values():
        page = asker.get("/metrics", OPENMETRICS)
        families = text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
        traced = {
            sample.labels["worker"]
            for family in families
            for sample in family.samples
            if sample.name == "ws_handler_duration_seconds_bucket" and sample.exemplar
        }
        assert SLOTS == traced


def test_promtool_finds_nothing_in_the_page(filled: Start) -> None:
    """In our families; prometheus_client's names are not all to its taste."""
    if shutil.which("promtool") is None:
        absent("promtool is missing: it comes with prometheus")
    page = filled("uvicorn").page().text.encode()
    found = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
    said = (found.stdout + found.stderr).decode()
    assert found.returncode in (0, 3), said
    assert [] == [line for line in said.splitlines() if line.startswith("ws_")]


@supervisors
def test_choice_of_names_restricts_siblings_too(server: str, filled: Start) -> None:
    """And is the only thing that they send."""
    running = filled(server)
    with_names = "/metrics?name[]=jobs_total&name[]=ws_observe_worker_up"
    for asker in running.askers().values():
        lines = [line for line in asker.get(with_names).splitlines() if not line.startswith("#")]
        names = sorted(line.partition("{")[0] for line in lines)
        assert ["jobs_total"] * WORKERS + ["ws_observe_worker_up"] * WORKERS == names


@supervisors
def test_worker_with_a_blocked_event_loop_still_counts(server: str, filled: Start) -> None:
    """Its siblings get its numbers from a thread, at once."""
    running = filled(server)
    (blocked, busy), (_, other), *_ = running.askers().items()
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(busy.get, "/block")
        wait_until(lambda: running.lines(f"{blocked} blocks"))
        began = time.monotonic()
        page = other.page()
        assert time.monotonic() - began < MARGIN
        assert not answered.done()
        assert dict.fromkeys(SLOTS, 1.0) == by_worker(page, "ws_observe_worker_up")
        assert {value for _, value in page.samples("app_pid")} == set(running.askers())
        assert str(blocked) == answered.result(10)


@supervisors
def test_stopped_worker_costs_the_timeout_and_comes_back(server: str, filled: Start) -> None:
    """It is down, not gone; what was asked while it was stopped it does not answer later."""
    running = filled(server)
    (stopped, own), (_, other), *_ = running.askers().items()
    slot = slots(own.page())[stopped]
    looks = own.page().total("app_looks", worker=slot)
    os.kill(stopped, signal.SIGSTOP)
    try:
        for headers, within in (({}, 2.0), ({"x-prometheus-scrape-timeout-seconds": "1"}, 0.5)):
            began = time.monotonic()
            page = other.page(headers)
            assert within <= time.monotonic() - began < within + MARGIN
            expected = {each: float(each != slot) for each in SLOTS}
            assert expected == by_worker(page, "ws_observe_worker_up")
            assert slot not in by_worker(page, "ws_connections_active")
        # More than can wait for it.
        for _ in range(150):
            page = other.page({"x-prometheus-scrape-timeout-seconds": "0.002"})
            assert 0 == page.total("ws_observe_worker_up", worker=slot)
    finally:
        os.kill(stopped, signal.SIGCONT)

    def everybody() -> bool:
        page = other.page()
        up = by_worker(page, "ws_observe_worker_up")
        connected = page.total("ws_connections_active")
        return dict.fromkeys(SLOTS, 1.0) == up and len(running.clients) == connected

    wait_until(everybody)
    assert other.page().total("app_looks", worker=slot) - looks < 20
