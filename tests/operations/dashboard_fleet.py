"""A fleet under load, scraped by a real Prometheus, in which everything happens that is measured.

Two nodes of the demo with a Redis between them, one with two workers, a chat over Socket.IO, and an
application that does what the demo does not; and an alert that fires.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import connect

from tests.fanout.redis_servers import single
from tests.operations.prometheus import Prometheus, prometheus
from tests.servers.processes import ROOT, free_port, started
from tests.servers.raw import TEXT, Holding, frame

__all__ = ["Fleet", "fleet"]

#: Every number in seconds instead of minutes.
_FAST: Final = {
    "ASGI_WS_OBSERVE_HEARTBEAT_INTERVAL": "0.5",
    "ASGI_WS_OBSERVE_LOOK_INTERVAL": "0.5",
    "ASGI_WS_OBSERVE_LOOP_LAG_INTERVAL": "0.1",
    "ASGI_WS_OBSERVE_MAX_CONNECTIONS": "500",
}
_OPTIONS: Final = ("--enable-feature=exemplar-storage", "--log.level=warn")
_RULES: Final = """
groups:
  - name: test
    rules:
      - alert: WebSocketTest
        expr: max by (job, instance) (ws_connections_active) >= 0
        labels: {severity: warning, side: node}
"""


class _Crowd(Holding):
    """A client whose pongs come behind many messages, the first of which takes long to handle."""

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self.send(_text(type="slow", seconds=0.4))
        for _ in range(60):
            self.send(_text(type="noise", noise="x" * 8000))
        super().pong(payload)


@dataclass
class Fleet:
    """What runs.

    Attributes:
        prometheus: What scrapes it.
        chat: Addresses of the nodes of the chat.
        socketio: That of the chat over Socket.IO.
        odd: That of the application that does what the demo does not.
    """

    prometheus: Prometheus
    chat: list[str]
    socketio: str
    odd: str

    @contextmanager
    def load(self, seconds: int) -> Iterator[None]:
        """Have clients of all kinds for so many seconds at least."""
        given = ["--seconds", str(seconds), "--clients", "30"]
        urls = [part for address in self.chat for part in ("--url", f"ws://{address}")]
        commands = [
            ["load", *urls, *given],
            ["load", "--socketio", "--url", f"http://{self.socketio}", *given],
        ]
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "demo_app", *command],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for command in commands
        ]
        try:
            with self._crowded():
                yield
        finally:
            for process in running:
                process.kill()
                process.wait()

    @contextmanager
    def _crowded(self) -> Iterator[None]:
        """Have a client that makes the server stop reading."""
        with closing(_Crowd(self.chat[0], "/rooms/crowded")) as client:
            client.send(_text(type="join", name="Noor"))
            yield

    def visit_odd(self) -> None:
        """Leave the application that then goes on sending."""
        with connect(f"ws://{self.odd}/deaf/", proxy=None):
            """Say nothing."""

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of Prometheus.

        Raises:
            AssertionError: It is an error; says which.
        """
        url = f"{self.prometheus.url}/api/v1/{path}"
        found = self.prometheus.client.get(url, params=parameters).json()
        assert "success" == found["status"], f"{found.get('error')}: {parameters}"
        return found["data"]


def _text(**message: Any) -> bytes:
    return frame(TEXT, json.dumps(message).encode())


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """Run all of it until the end of the block."""
    with ExitStack() as stack:
        redis = stack.enter_context(single(folder / "redis")).url
        demo = [sys.executable, "-m", "demo_app", "--log-level", "error"]
        commands = {
            "a": [*demo, "--redis", redis, "--spans", "console"],
            "b": [*demo, "--redis", redis],
            "workers": [*demo, "--workers", "2"],
            "socketio": [*demo, "--redis", redis, "socketio"],
            "odd": [sys.executable, "-m", "hypercorn", "tests.operations.odd_app:app"],
        }
        addresses = {}
        for name, command in commands.items():
            port, log = free_port(), folder / f"{name}.log"
            where = ["-b", f"127.0.0.1:{port}"] if name == "odd" else ["--port", str(port)]
            arguments = [*command, *where]
            stack.enter_context(started(arguments, port, log, ODD_BUS=redis, **_FAST))
            addresses[name] = f"127.0.0.1:{port}"
        server = stack.enter_context(prometheus(folder, _configured(folder, addresses), *_OPTIONS))
        chat = [addresses[name] for name in ("a", "b", "workers")]
        yield Fleet(server, chat, addresses["socketio"], addresses["odd"])


def _configured(folder: Path, addresses: dict[str, str]) -> str:
    """Return Prometheus's configuration; its scrapes are as frequent as can be."""
    (folder / "rules.yml").write_text(_RULES)
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [address]}]}
        for name, address in addresses.items()
    ]
    # JSON is YAML.
    return json.dumps(
        {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": jobs,
        }
    )
