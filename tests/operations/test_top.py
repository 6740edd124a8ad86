"""The numbers of `top`: what is asked of nodes, and what they are together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from asgi_ws_observe.operations.figures import amount, sparkline
from asgi_ws_observe.operations.sources import PrometheusSource, SampledSource
from asgi_ws_observe.operations.top import COLUMNS, Column, Watch, level
from tests.operations.nodes import growing
from tests.operations.prometheus import prometheus
from tests.operations.served import Served, serving
from tests.servers.processes import free_port
from tests.support import until


@pytest.fixture
async def nodes() -> AsyncIterator[list[Served]]:
    """Return two nodes: one with a limit, one that loses connections."""
    with ExitStack() as opened:
        found = [opened.enter_context(serving()) for _ in range(2)]
        found[0].answers["/metrics"] = growing()
        found[1].answers["/metrics"] = growing(active=10, limit=None, code="1006")
        yield found


async def watched(client: httpx.AsyncClient, *urls: str) -> Watch:
    """Return a watch of nodes that have had as many looks as rates need."""
    source = SampledSource(urls, client, interval=0.2)
    watch = Watch(source, window=5)

    async def look() -> None:
        while not all("connects" in node.values for node in watch.nodes.values() if node.up):
            await source.look()
            await watch.look()

    await source.look()
    await watch.look()
    await asyncio.wait_for(look(), 10)
    return watch


def column(name: str) -> Column:
    """Return a column by its name."""
    return next(each for each in COLUMNS if each.name == name)


async def test_each_node_has_its_numbers(client: httpx.AsyncClient, nodes: list[Served]) -> None:
    """Sums over routes, rates, percentiles and the codes of closes, the most first."""
    watch = await watched(client, *(each.address for each in nodes))
    first, second = (watch.nodes[each.address] for each in nodes)
    assert (30, 40) == (first.values["open"], first.values["limit"])
    assert "limit" not in second.values
    assert first.values["connects"] > 0
    assert pytest.approx(2 * first.values["in"]) == first.values["out"]
    assert pytest.approx(4.96) == first.values["p99"]
    assert {"1000"} == first.codes.keys()
    assert {"1006"} == second.codes.keys()
    assert "rtt99" not in first.values
    assert {30} == set(first.past["open"])
    assert len(first.past["in"]) < len(first.past["open"])
    assert "" == watch.error


async def test_together_they_are_sums_or_the_worst(
    client: httpx.AsyncClient, nodes: list[Served]
) -> None:
    """A limit that only one of them has is no limit of both."""
    watch = await watched(client, *(each.address for each in nodes))
    whole = watch.together()
    assert "2 of 2 up" == whole.name
    assert (40, 120) == (whole.values["open"], whole.values["queue"])
    assert 2097152 == whole.values["fullest"]
    assert "limit" not in whole.values
    assert {"1000", "1006"} == whole.codes.keys()
    assert {40} == set(whole.past["open"])


async def test_node_that_is_down_stays(client: httpx.AsyncClient, nodes: list[Served]) -> None:
    """It has no numbers, and the others go on."""
    address = f"127.0.0.1:{free_port()}"
    watch = await watched(client, nodes[0].address, address)
    assert (False, {}) == (watch.nodes[address].up, watch.nodes[address].values)
    whole = watch.together()
    assert ("1 of 2 up", 30, 40) == (whole.name, whole.values["open"], whole.values["limit"])


async def test_nodes_are_sorted_by_a_column(client: httpx.AsyncClient, nodes: list[Served]) -> None:
    """The most first, what has no number last; by name without a column."""
    watch = await watched(client, *(each.address for each in nodes))
    assert [nodes[0].address, nodes[1].address] == [each.name for each in watch.sorted("open")]
    assert nodes[0].address == watch.sorted("limit")[0].name
    assert sorted(watch.nodes) == [each.name for each in watch.sorted()]


async def test_a_prometheus_knows_nodes_that_are_gone(
    client: httpx.AsyncClient, nodes: list[Served], tmp_path: Path
) -> None:
    """Of several jobs with their names, of one job without; other jobs are no nodes."""
    configuration = f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- {{job_name: chat, static_configs: [{{targets: ["{nodes[0].address}"]}}]}}
- {{job_name: game, static_configs: [{{targets: ["{nodes[1].address}"]}}]}}
- {{job_name: other, static_configs: [{{targets: ["127.0.0.1:{free_port()}"]}}]}}
"""
    with prometheus(tmp_path, configuration) as server:
        source = PrometheusSource(server.url, client)
        chat, both = Watch(source, job="chat"), Watch(source)
        await until(lambda: len(server.query("rate(ws_connects_total[1m])")) == 2, 30)
        await chat.look()
        await both.look()
        assert {nodes[0].address} == chat.nodes.keys()
        assert {f"chat {nodes[0].address}", f"game {nodes[1].address}"} == both.nodes.keys()
        assert 40 == both.together().values["open"]
        assert chat.nodes[nodes[0].address].values["in"] > 0
    await chat.look()
    assert "cannot connect" in chat.error
    assert 30 == chat.nodes[nodes[0].address].values["open"]


async def test_a_node_that_prometheus_forgot_is_down(
    client: httpx.AsyncClient, served: Served, nodes: list[Served]
) -> None:
    """It stays a row, without numbers."""
    watch = await watched(client, nodes[0].address)
    other = await watched(client, nodes[1].address)
    other.nodes |= watch.nodes
    await other.look()
    assert not other.nodes[nodes[0].address].up
    assert 0 == other.nodes[nodes[0].address].past["open"][-1]


def test_numbers_have_levels() -> None:
    """Bad from the threshold on, doubtful from half of it; connections by their limit."""
    lag = column("lag")
    assert ["", "doubtful", "bad"] == [level(lag, value, {}) for value in (0.1, 0.2, 0.3)]
    assert ["", "", "bad"] == [level(column("open"), n, {"limit": 10}) for n in (1, 8, 9)]
    assert "" == level(column("open"), 10**6, {})
    assert "" == level(column("in"), 10**6, {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((0, "0"), (0.001, "<.01"), (0.25, "0.25"), (1.26, "1.3"), (7, "7"), (123.4, "123")),
        *((9999, "9999"), (12345, "12.3k"), (4e6, "4M"), (2.5e9, "2.5G"), (2e12, "2000G")),
    ],
)
def test_amounts_are_short(value: float, expected: str) -> None:
    """Five characters, or six."""
    assert expected == amount(value)


def test_sparkline_shows_the_last_values() -> None:
    """The highest of them is the highest block, nothing but zeros is flat."""
    assert "▁▄▇" == sparkline([9, 0, 1, 2], 3)
    assert "▁▁" == sparkline([0, 0], 5)
    assert "" == sparkline([], 5)
    assert "" == sparkline([1], 0)
