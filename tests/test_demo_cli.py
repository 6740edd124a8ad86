"""The demo's command line and server, as a person starts them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.support import wait_until

ROOT = Path(__file__).parent.parent
DEMO = [sys.executable, "-m", "demo_app"]


class Demo:
    """A demo in a process of its own.

    Attributes:
        url: Its address, by HTTP.
        printed: Lines on stdout so far.
        logged: Lines on stderr so far.
    """

    def __init__(self, *arguments: str) -> None:
        self.printed: list[str] = []
        self.logged: list[str] = []
        self.process = subprocess.Popen(
            [*DEMO, "--port", "0", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        pipes = (self.process.stdout, self.printed), (self.process.stderr, self.logged)
        self._readers = [threading.Thread(target=_read, args=pipe) for pipe in pipes]
        for reader in self._readers:
            reader.start()
        try:
            wait_until(lambda: self.printed or self.process.poll() is not None, 30)
            found = re.search(r"http://\S+:\d+", "".join(self.printed))
            assert found, self.logged
            self.url = found.group()
            wait_until(self._answers, 30)
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    @property
    def ws(self) -> str:
        """Its address, by WebSocket."""
        return self.url.replace("http", "ws")

    def get(self, path: str) -> str:
        """Return what it answers."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())

    def _answers(self) -> bool:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return bool(self.get("/about"))
        return False

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        return [line for line in map(json.loads, list(self.logged)) if line.get("event") == event]

    def end(self, how: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        self.process.send_signal(how)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code


def _read(pipe: Any, lines: list[str]) -> None:
    for line in pipe:
        lines.append(line.rstrip("\n"))


@contextlib.contextmanager
def demo(*arguments: str) -> Iterator[Demo]:
    """Run a demo on a free port for the length of a block."""
    running = Demo(*arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end()


def run(*arguments: str, command: list[str] = DEMO) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def without(module: str) -> list[str]:
    """Return the demo's command on a machine that lacks a module."""
    code = f"import sys; sys.modules[{module!r}] = None\nfrom demo_app.cli import main; "
    return [sys.executable, "-c", code + "sys.exit(main(sys.argv[1:]))"]


def chat(url: str, name: str, *messages: dict[str, Any]) -> dict[str, Any]:
    """Join, wait for an answer to each message, close with 1000, and return the welcome."""
    with connect(url) as websocket:
        websocket.send(json.dumps({"type": "join", "name": name}))
        welcome: dict[str, Any] = json.loads(websocket.recv(timeout=30))
        for message in messages:
            websocket.send(json.dumps(message))
            websocket.recv(timeout=30)
    return welcome


@pytest.mark.parametrize("command", [(), ("load",), ("cluster",), ("socketio",)])
def test_help_explains_itself(command: tuple[str, ...]) -> None:
    """Every command describes itself and ends with 0."""
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "usage: python -m demo_app" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--workers", "0"), "a whole number from 1 to 64"),
        (("--workers", "many"), "a whole number from 1 to 64"),
        (("--port", "99999"), "a whole number from 0 to 65535"),
        (("--ws", "smoke-signals"), "websockets-sansio"),
        (("--host", "192.0.2.1", "--port", "0"), "--port"),
        (("load", "--clients", "0"), "a whole number from 1 to 2000"),
        (("load", "--url", "lobby"), "ws://127.0.0.1:8000"),
        (("load", "--url", "ws://a:1", "--url", "http://a:1"), "given twice"),
        (("--redis", "http://127.0.0.1"), "redis://127.0.0.1:6379"),
        (("--redis", "redis://127.0.0.1:port"), "redis://127.0.0.1:6379"),
        (("--nats", "redis://127.0.0.1"), "nats://127.0.0.1:4222"),
        (("--nats", "nats://a", "--redis", "redis://a"), "not allowed with"),
        (("--redis", "redis://a", "cluster", "--nats"), "accepted is one of them"),
        (("--node", ""), "1 to 24 characters"),
        (("cluster", "--nodes", "0"), "a whole number from 1 to 16"),
        (("socketio", "--nodes", "17"), "a whole number from 1 to 16"),
        (("socketio", "--nodes", "2", "--port", "0"), "one that fits all nodes"),
        (("socketio", "--nodes", "3", "--port", "65534"), "one that fits all nodes"),
        (("socketio", "--redis", "nats://a"), "redis://127.0.0.1:6379"),
        (("--nats", "nats://a", "socketio"), "python-socketio has no NATS"),
        (("--workers", "2", "socketio"), "--nodes for more"),
        (("load", "--socketio", "--url", "lobby"), "http://127.0.0.1:8000"),
        (("load", "--socketio", "--url", "ws://a:1", "--url", "http://a:1"), "given twice"),
        (("sing",), "socketio"),
    ],
)
def test_wrong_value_is_one_line_and_2(arguments: tuple[str, ...], says: str) -> None:
    """A wrong value ends in one line that says what is right, and exit code 2."""
    _assert_one_line(run(*arguments), says)


def test_port_in_use_is_one_line_and_2() -> None:
    """A port that somebody has ends in one line and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    _assert_one_line(done, f"cannot listen on 127.0.0.1 port {port}")


def test_load_without_server_is_one_line_and_2() -> None:
    """The load ends in one line and exit code 2 where no demo runs."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = run("load", "--url", f"ws://127.0.0.1:{unused.getsockname()[1]}")
    _assert_one_line(done, "start the demo first: python -m demo_app")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("fastapi", ()),
        ("uvicorn", ()),
        ("wsproto", ("--ws", "wsproto")),
        ("uvloop", ("--loop", "uvloop")),
        ("opentelemetry.sdk", ("--spans", "console")),
        ("opentelemetry.exporter.otlp.proto.http", ("--spans", "otlp")),
        ("rich", ("load",)),
        ("redis", ("--redis", "redis://127.0.0.1")),
        ("nats", ("--nats", "nats://127.0.0.1")),
        ("redis", ("cluster",)),
        ("nats", ("cluster", "--nats")),
        ("socketio", ("socketio",)),
        ("opentelemetry.sdk", ("socketio",)),
        ("redis", ("socketio", "--nodes", "2", "--port", "8001")),
        ("aiohttp", ("load", "--socketio")),
    ],
)
def test_missing_package_is_one_line_and_2(module: str, arguments: tuple[str, ...]) -> None:
    """A missing package ends in one line with the pip install to run, and exit code 2."""
    _assert_one_line(run("--port", "0", *arguments, command=without(module)), "pip install ")


def _assert_one_line(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert done.returncode == 2, done
    assert not done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert says in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly(how: int) -> None:
    """Ctrl-C and SIGTERM end the server with 0, without a traceback, though somebody is there."""
    running = Demo()
    with connect(f"{running.ws}/rooms/lobby") as websocket:
        websocket.send('{"type": "join", "name": "Ada"}')
        websocket.recv(timeout=30)
        assert running.end(how) == 0
    assert "Traceback" not in "".join(running.logged)
    assert [line["code"] for line in running.events("ws_close")] == [1012]


def test_log_lines_are_json_and_name_the_connection() -> None:
    """Every line on stderr is JSON; a connection's open and close carry the id it was told."""
    with demo() as running:
        welcome = chat(f"{running.ws}/rooms/tea", "Ada", {"type": "chat", "text": "hello"})
        wait_until(lambda: running.events("ws_close"))
        opened, closed = running.events("ws_open"), running.events("ws_close")
        lines = [json.loads(line) for line in list(running.logged)]
    assert [welcome["connection"]] == [line["connection_id"] for line in opened]
    assert [welcome["connection"]] == [line["connection_id"] for line in closed]
    assert closed[0]["room"] == "tea"
    assert closed[0]["code"] == 1000
    assert {"uvicorn.error", "asgi_ws_observe.connection"} <= {line["logger"] for line in lines}


def test_spans_console_prints_one_trace() -> None:
    """FastAPI's own span of the connection, the messages and the handler's own share one trace."""
    with demo("--spans", "console") as running:
        welcome = chat(f"{running.ws}/rooms/tea", "Ada", {"type": "chat", "text": "hello"})
        wait_until(lambda: any("WS /rooms" in line for line in running.printed))
        spans = {
            span["name"]: span
            for span in (json.loads(line) for line in running.printed if line.startswith("{"))
        }
    upgrade, endpoint = spans["WS /rooms/{room}"], spans["fastapi.endpoint"]
    message, store = spans["ws.message chat"], spans["chat.store"]
    traces = {each["context"]["trace_id"] for each in (upgrade, message, store)}
    assert traces == {f"0x{welcome['trace']}"}
    assert "normal" == upgrade["attributes"]["ws.outcome"]
    assert endpoint["parent_id"] == upgrade["context"]["span_id"]
    assert message["parent_id"] == endpoint["context"]["span_id"]
    assert store["parent_id"] == message["context"]["span_id"]


def test_load_compares_the_numbers_of_all_workers() -> None:
    """Whichever worker answers `/metrics` answers for both, and every row is equal."""
    with demo("--workers", "2") as running:
        seen: set[str] = set()

        def both_seen() -> bool:
            chat(f"{running.ws}/rooms/lobby", "Ada")
            page = running.get("/metrics")
            seen.update(re.findall(r'ws_connects_total\{worker="(\d)",\S+ [1-9]', page))
            return len(seen) == 2

        wait_until(both_seen, 60)
        assert "whichever answers /metrics answers for all" in running.printed[1]
        done = run("load", "--url", running.ws, "--clients", "20", "--seconds", "5")
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "still open" in done.stdout


def test_page_and_its_files_are_served_and_nothing_else() -> None:
    """The page comes with its files; a path outside them is not found."""
    with demo() as running:
        page = running.get("/")
        files = re.findall(r'"(/page/[\w.]+)"', page)
        assert len(files) == 2
        for file in files:
            assert running.get(file)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            running.get("/page/..%2fapp.py")
