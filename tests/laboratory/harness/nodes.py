"""Nodes of the fleet: the demo with its faults, under uvicorn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.laboratory.harness.ports import stable_port
from tests.laboratory.harness.programs import Program
from tests.laboratory.harness.starter import Forked, Starter

__all__ = ["Node", "NodeOptions"]


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """How the nodes of a scenario run.

    Attributes:
        workers: Processes of each node.
        ping_interval: Seconds between two pings of uvicorn's.
        ping_timeout: Seconds that it waits for a pong.
        files: Most descriptors that a node may open; `None` leaves it at the machine's.
        of_last: More arguments of the last node's command line: it is unlike the others.
        settings: Fields of the library's `Settings`.
    """

    workers: int = 1
    ping_interval: float = 0.5
    ping_timeout: float = 6.0
    files: int | None = None
    of_last: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def environment(self, name: str, bus: str | None) -> dict[str, str]:
        """Return what a node of this name finds in its environment."""
        settings = {"look_interval": 0.25, "loop_lag_interval": 0.1, **self.settings}
        given = {f"ASGI_WS_OBSERVE_{key.upper()}": str(value) for key, value in settings.items()}
        given |= {"DEMO_APP_NODE": name, "DEMO_APP_WORKERS": str(self.workers)}
        given |= {"LABORATORY_PROBE": "0.5", "OTEL_SDK_DISABLED": "true"}
        if self.files is not None:
            given["LABORATORY_FILES"] = str(self.files)
        if bus is not None:
            given["DEMO_APP_BUS"] = bus
        return given


class Node(Program):
    """One node, which keeps its port however often it is started.

    Args:
        name: Its name, and the label ``instance``.
        starter: What it is started from.
        directory: Where its log goes.
        options: How it runs.
        bus: The URL of the broker between the nodes; `None` for none.
        more: More arguments of its command line.
    """

    def __init__(
        self,
        name: str,
        starter: Starter,
        directory: Path,
        options: NodeOptions,
        bus: str | None,
        more: Sequence[str] = (),
    ) -> None:
        self.name = name
        port = stable_port()
        arguments = [
            *("tests.laboratory.app:create_app", "--factory", "--log-level", "warning"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--workers", str(options.workers), "--timeout-graceful-shutdown", "2"),
            *("--ws-ping-interval", str(options.ping_interval)),
            *("--ws-ping-timeout", str(options.ping_timeout)),
            *more,
        ]
        super().__init__(arguments, port, directory / f"{name}.log")
        self._starter = starter
        self._environment = options.environment(name, bus)

    def _launch(self) -> Forked:
        return self._starter.start(self._arguments, self._environment, self._log)

    def fault(self, **faults: float) -> None:
        """Turn faults on, or with 0 off: fields of `tests.laboratory.app.Faults`."""
        _put(f"http://{self.address}/laboratory", faults)

    def drain(self) -> None:
        """Let the application close all of its connections with 1001."""
        _put(f"http://{self.address}/laboratory/drain", {})

    def restart(self) -> None:
        """End it and start it again, as a deploy does."""
        self.terminate()
        self.start()


def _put(url: str, parameters: dict[str, float]) -> None:
    os.environ["no_proxy"] = "*"
    httpx.put(url, params=parameters, timeout=10).raise_for_status()
