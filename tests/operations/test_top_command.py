"""`asgi-ws-observe top`: once, again and again, and on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asgi_ws_observe.operations.commands import asgi_ws_observe
from tests.operations.nodes import growing
from tests.operations.prometheus import prometheus
from tests.operations.served import Answer, Asked, Served
from tests.servers.processes import ROOT, free_port
from tests.support import wait_until


def top(*arguments: str) -> Result:
    """Run the command with short intervals."""
    runner = CliRunner(env={"COLUMNS": "160"})
    return runner.invoke(asgi_ws_observe, ["top", "--interval", "0.2", *arguments])


def test_once_prints_one_table(served: Served) -> None:
    """After two looks, since rates need two; a node that is down is a row."""
    served.answers["/metrics"] = growing()
    down = f"127.0.0.1:{free_port()}"
    result = top(served.address, down, "--once", "--sort", "open")
    assert 0 == result.exit_code
    assert 1 == result.stdout.count("by code")
    assert "30/40" in result.stdout
    assert "1000:" in result.stdout
    assert f"{down} down" in result.stdout
    assert "1 of 2 up" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_prometheus_answers_at_once(served: Served, tmp_path: Path) -> None:
    """It has looked already."""
    served.answers["/metrics"] = growing()
    configuration = (
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f'scrape_configs: [{{job_name: chat, static_configs: [{{targets: ["{served.address}"]}}]}}]'
    )
    with prometheus(tmp_path, configuration) as server:
        wait_until(lambda: server.query("rate(ws_connects_total[1m])"), 30)
        result = top(server.url, "--once", "--job", "chat")
        both = top(server.url, served.address, "--once")
    assert 0 == result.exit_code
    assert served.address in result.stdout
    assert "30/40" in result.stdout
    assert (2, True) == (both.exit_code, "give one Prometheus, or" in both.stderr)


def test_nobody_who_answers_is_said_in_one_line(served: Served) -> None:
    """Exit code 2, of nodes and of a Prometheus."""
    result = top(f"127.0.0.1:{free_port()}", "--once")
    assert (2, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert result.stderr.startswith("asgi-ws-observe top: http://127.0.0.1")
    assert 2 == top("ftp://127.0.0.1", "--once").exit_code


def test_a_prometheus_that_refuses_is_said_in_one_line(served: Served) -> None:
    """At the first look; later ones keep the numbers that there were."""

    def answer(asked: Asked) -> Answer:
        if b"vector" in asked.body or "vector" in asked.path:
            one = {"metric": {}, "value": [1, "1"]}
            data = {"resultType": "vector", "result": [one]}
            return Answer(json.dumps({"status": "success", "data": data}), "application/json")
        return Answer('{"status": "error", "error": "too busy"}', "application/json", 503)

    served.answers["/api/v1/query"] = answer
    result = top(served.url(""), "--once")
    assert (2, True) == (result.exit_code, "too busy" in result.stderr)


def test_without_a_terminal_tables_follow_each_other(served: Served) -> None:
    """Until somebody interrupts it, which is no failure."""
    served.answers["/metrics"] = growing()
    command = [sys.executable, "-m", "asgi_ws_observe", "top", served.address, "--interval", "0.2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    tables = 0
    while tables < 2:
        tables += "node" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert 0 == process.wait(20)
    process.stdout.close()


def test_on_a_terminal_it_fills_the_screen_until_a_key(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the alternate screen, which is left again."""
    served.answers["/metrics"] = growing()
    ours, theirs = os.openpty()
    seen = bytearray()

    def leave() -> None:
        while b"\x1b[?1049l" not in seen:
            seen.extend(os.read(ours, 4096))
            if b"1000" in seen:
                os.write(ours, b"q")

    person = threading.Thread(target=leave)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "20")
    with os.fdopen(theirs, "w") as out, os.fdopen(os.dup(theirs)) as keys:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stdin", keys)
        person.start()
        with pytest.raises(SystemExit) as ended:
            asgi_ws_observe(
                ["top", served.address, "--interval", "0.2", "--sort", "open"], "asgi-ws-observe"
            )
        person.join(20)
    os.close(ours)
    assert 0 == ended.value.code
    assert b"\x1b[?1049h" in seen
    assert b"every 0.2 s, by open, q leaves" in seen
    assert b"30/40" in seen
