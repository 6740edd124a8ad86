"""The guide to Redis: its example runs as it stands, its other blocks do what they say."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from redis.asyncio import RedisCluster
from websockets.sync.client import connect

from asgi_ws_observe.fanout.redis import RedisChannel
from asgi_ws_observe.metrics.catalogue import CATALOGUE
from tests.fanout.redis_servers import RedisServer, single
from tests.servers.harness import serving
from tests.support import wait_until

ROOT: Final = Path(__file__).parent.parent
GUIDE: Final = (ROOT / "docs" / "how-to" / "redis.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Return a running server."""
    with single(tmp_path_factory.mktemp("redis")) as server:
        yield server


def test_example_sends_a_message_to_the_room(server: RedisServer) -> None:
    """Through Redis, and to nobody in another room."""
    space: dict[str, Any] = {}
    exec(BLOCKS[0].replace("redis://localhost:6379", server.url), space)
    with (
        serving(space["app"], "websockets-sansio") as address,
        connect(f"ws://{address}/rooms/a") as alice,
        connect(f"ws://{address}/rooms/a") as bob,
        connect(f"ws://{address}/rooms/b") as carol,
    ):
        alice.send("hello")
        carol.send("and here")
        for client, text in ((alice, "hello"), (bob, "hello"), (carol, "and here")):
            assert {"text": text} == json.loads(client.recv(10))
        metrics = httpx.get(f"http://{address}/metrics").text
        assert 'ws_fanout_delivered_total{channel="redis"}' in metrics
    wait_until(lambda: not server.clients())


async def test_restarted_node_catches_up(
    server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints what was published while it was away."""
    space: dict[str, Any] = {}
    exec(BLOCKS[1], space)
    async with RedisChannel(server.url, mode="streams", name="guide") as channel:
        for number in range(3):
            await channel.publish("orders", number)
        first = server.ask("XRANGE", "orders", "-", "+")[0][0].decode()
        work = asyncio.create_task(space["catch_up"](channel, first))
        printed = ""
        while printed != "1\n2\n":
            await asyncio.sleep(0.001)
            printed += capsys.readouterr().out
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


async def test_clients_of_the_guide_are_accepted() -> None:
    """A cluster's and a sentinel's."""
    space: dict[str, Any] = {}
    exec(BLOCKS[2], space)
    for name, kind in (("over_a_cluster", RedisCluster), ("over_sentinel", object)):
        channel = space[name]()
        assert isinstance(channel._broker._client._client, kind)
        await channel.aclose()
    assert 3 == len(BLOCKS)


def test_guide_names_metrics_that_are_there() -> None:
    """Every one of them is in the catalogue, if it is no log line."""
    named = set(re.findall(r"`(ws_[a-z_]+)", GUIDE))
    metrics = {each.exposed_name for each in CATALOGUE}
    counters = {f"{name}_total" for name in metrics}
    events = {"ws_fanout_down", "ws_fanout_refused", "ws_fanout_up"}
    assert set() == named - metrics - counters - events
