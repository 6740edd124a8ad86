"""The demo's load: its numbers are the truth, and ``/metrics`` agrees."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from demo_app.plan import ENDINGS, plan
from demo_app.truth import ROUTE, Truth, compare, series
from tests.support import wait_until
from tests.test_demo_cli import DEMO, ROOT, demo, run


@pytest.mark.parametrize("implementation", ["websockets-sansio", "wsproto", "websockets"])
def test_load_equals_metrics_on_every_implementation(implementation: str) -> None:
    """What the clients counted is what /metrics shows, to the byte, whatever serves them."""
    with demo("--ws", implementation) as running:
        done = run("load", "--url", running.ws, "--seconds", "4")
    # A server's warnings are JSON as well.
    assert all(json.loads(line) for line in running.logged)
    assert done.returncode == 0, done.stdout
    assert "All 19 rows are equal." in done.stdout
    for _, did in ENDINGS.values():
        assert did in done.stdout
    assert "✗" not in done.stdout


def test_load_stops_at_once_on_interrupt() -> None:
    """Ctrl-C ends the load without a traceback."""
    with demo() as running:
        load = subprocess.Popen(
            [*DEMO, "load", "--url", running.ws, "--seconds", "600"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"COLUMNS": "100"},
        )
        try:
            wait_until(lambda: running.get("/about").count("load-"), 60)
            load.send_signal(signal.SIGINT)
            printed, _ = load.communicate(timeout=30)
        finally:
            load.kill()
            load.communicate()
    assert load.returncode == 130
    assert "Stopped" in printed
    assert "Traceback" not in printed


def test_load_reports_what_differs() -> None:
    """A number that differs is a row that is not equal; zeros on both sides are no row."""
    truth = Truth()
    truth.connected()
    truth.closed(4123, "client", "application")
    truth.closed(1006, "network")
    connects = series("ws_connects_total", route=ROUTE)
    errors = series("ws_errors_total", route=ROUTE, type="ValueError")
    active = series("ws_connections_active", route=ROUTE)
    before = {connects: 5.0, errors: 0.0, active: 2.0}
    after = {connects: 6.0, errors: 1.0, active: 2.0}
    assert list(compare(truth, before, after)) == [
        ("accepted", 1, 1),
        ("closed by client: 4xxx application", 1, 0),
        ("closed by network: 1006 no close frame", 1, 0),
        ("errors: ValueError", 0, 1),
        ("still open", 0, 0),
    ]


def test_plan_is_decided_by_the_seed() -> None:
    """The same seed gives the same parts, another one others, and every ending is among them."""
    scripts = plan(40, 15, 1)
    assert scripts == plan(40, 15, 1)
    assert scripts != plan(40, 15, 2)
    assert {script.ending for script in scripts} == set(ENDINGS)
    assert len({(script.room, script.name) for script in scripts}) == 40


def test_plan_fits_into_its_time() -> None:
    """No part lasts longer than the load, and who vanishes is alone."""
    scripts = plan(200, 10, 3)
    for script in scripts:
        spoken = sum(line.pause + line.message.get("seconds", 0) for line in script.lines)
        assert script.start + spoken <= 10
    rooms = [script.room for script in scripts]
    assert all(rooms.count(each.room) == 1 for each in scripts if each.ending == "vanish")
