"""Six minutes of a small fleet, of which one node's network gets slow and loses connections.

Three nodes of the demo, a Redis, a Prometheus, and clients. All clients come through relays, as
through a load balancer: that of node-b delays and cuts in the last two minutes. A few clients
everywhere come through a proxy that cuts what is 60 s old.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.fanout.redis_servers import single
from tests.operations.prometheus import prometheus
from tests.servers.processes import free_port, started

from .crowd import Crowd
from .picture import draw
from .relay import Relay

__all__ = ["play"]

NODES: Final = ("node-a", "node-b", "node-c")
#: Seconds: of all of it, and until the fault begins.
LASTS: Final = 360.0
FAULT: Final = 240.0
#: Clients of each node.
CLIENTS: Final = 45

_RULES: Final = """
groups:
  - name: scene
    rules:
      - alert: WebSocketHeartbeatSlow
        expr: histogram_quantile(0.99, sum by (job, instance, le) (
          rate(ws_heartbeat_rtt_seconds_bucket[40s]))) > 1
        for: 20s
        labels: {severity: warning, side: network}
      - alert: WebSocketAbnormalCloses
        expr: sum by (job, instance) (
          rate(ws_closes_total{code="1006", closed_by="network"}[40s])) > 0.1
        for: 20s
        labels: {severity: critical, side: network}
"""


def play(file: Path) -> None:
    """Run it and draw it.

    Args:
        file: Where the PNG goes.
    """
    with tempfile.TemporaryDirectory() as found, fleet(Path(found)) as (url, addresses):
        asyncio.run(_live(addresses, partial(draw, url, file, minutes=LASTS / 60)))


@contextmanager
def fleet(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Run nodes and a Prometheus; yield its URL, and the nodes' addresses by name."""
    with ExitStack() as stack:
        redis = stack.enter_context(single(folder / "redis")).url
        addresses = {}
        for name in NODES:
            port = free_port()
            command = [sys.executable, "-m", "demo_app", "--redis", redis, "--node", name]
            quick = {"HEARTBEAT_INTERVAL": "1", "LOOK_INTERVAL": "1", "MAX_CONNECTIONS": "100"}
            environment = {f"ASGI_WS_OBSERVE_{key}": value for key, value in quick.items()}
            arguments = [*command, "--port", str(port), "--log-level", "error"]
            stack.enter_context(started(arguments, port, folder / f"{name}.log", **environment))
            addresses[name] = f"127.0.0.1:{port}"
        server = stack.enter_context(prometheus(folder, _configured(folder, addresses)))
        yield server.url, addresses


def _configured(folder: Path, addresses: dict[str, str]) -> str:
    """Return Prometheus's configuration."""
    (folder / "rules.yml").write_text(_RULES)
    targets = [
        {"targets": [address], "labels": {"instance": name}} for name, address in addresses.items()
    ]
    # JSON is YAML.
    return json.dumps(
        {
            "global": {"scrape_interval": "6s", "evaluation_interval": "2s"},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": [{"job_name": "chat", "static_configs": targets}],
        }
    )


async def _live(addresses: dict[str, str], end: Callable[[], None]) -> None:
    """Have clients on all nodes until the end, which comes while the fault lasts.

    Args:
        addresses: The nodes', by name.
        end: What is called in a thread then.
    """
    async with contextlib.AsyncExitStack() as stack:
        relays = {
            name: await stack.enter_async_context(_relayed(address))
            for name, address in addresses.items()
        }
        crowd = Crowd(random.Random(7), [relay.url for relay in relays.values()], CLIENTS)  # noqa: S311
        await stack.enter_async_context(crowd.alive())
        await asyncio.sleep(FAULT)
        relays["node-b"].delay = 0.4
        relays["node-b"].cuts = 1.0
        await asyncio.sleep(LASTS - FAULT)
        await asyncio.to_thread(end)


@asynccontextmanager
async def _relayed(address: str) -> AsyncIterator[Relay]:
    relay = Relay(address)
    async with relay.open():
        yield relay
