"""Answers from a real Prometheus and from sampled pages, and what is said where there are none."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from asgi_ws_observe.operations.pages import AskError
from asgi_ws_observe.operations.promql import QueryError, UnsupportedError, Value
from asgi_ws_observe.operations.sources import (
    PrometheusSource,
    SampledSource,
    Source,
    recognise,
)
from tests.operations.fleet import END
from tests.operations.prometheus import Prometheus, prometheus
from tests.operations.served import Answer, Asked, Served, serving
from tests.servers.processes import free_port


def counting(served: Served) -> None:
    """Serve a page whose counter is one larger each time."""
    looks = itertools.count(1)
    served.answers["/metrics"] = lambda _: Answer(f"# TYPE a counter\na {next(looks)}\n")


def by_instance(values: list[Value]) -> dict[str, float]:
    """Return values by instance."""
    return {labels["instance"]: value for labels, value in values}


async def test_prometheus_answers(client: httpx.AsyncClient, database: Prometheus) -> None:
    """Vectors and scalars are values; not a number and infinities are numbers."""
    database.write([({"__name__": "asked", "job": "x"}, [(END, 5.0)])])
    source: Source = PrometheusSource(f"{database.url}/", client)
    at = f"last_over_time(asked[30d] @ {END})"
    assert [Value({"__name__": "asked", "job": "x"}, 5.0)] == await source.ask(at)
    assert [Value({}, 2.0)] == await source.ask("1 + 1")
    assert [Value({}, float("inf"))] == await source.ask("vector(1 / 0)")
    assert source.history


async def test_query_that_prometheus_refuses_is_shown(
    client: httpx.AsyncClient, database: Prometheus
) -> None:
    """With its own words, on one line."""
    source = PrometheusSource(database.url, client)
    with pytest.raises(QueryError, match=r"parse error.*, in the query sum\($") as error:
        await source.ask("sum(")
    assert 1 == len(str(error.value).splitlines())
    twice = [({"__name__": "twice", "n": str(n)}, [(END, 1.0)]) for n in range(2)]
    database.write(twice)
    with pytest.raises(QueryError, match="many-to-many matching not allowed"):
        await source.ask(f"vector(1) * on () last_over_time(twice[1h] @ {END})")


async def test_range_as_a_result_is_refused(
    client: httpx.AsyncClient, database: Prometheus
) -> None:
    """A signal is a vector."""
    with pytest.raises(AskError, match="an answer of an unknown form to asked"):
        await PrometheusSource(database.url, client).ask("asked[5m]")


async def test_token_and_prefix_are_used(client: httpx.AsyncClient, served: Served) -> None:
    """Gateways ask for a token and a tenant, and put the API under a prefix."""
    data = {"resultType": "vector", "result": []}
    answer = Answer(json.dumps({"status": "success", "data": data}), "application/json")
    served.answers["/prom/api/v1/query"] = answer
    source = PrometheusSource(
        served.url("/prom/"), client, token="secret", headers={"x-tenant": "7"}
    )
    assert [] == await source.ask("up")
    asked = served.asked[0]
    assert {"query": ["up"]} == parse_qs(asked.body.decode())
    assert ("Bearer secret", "7") == (asked.headers["authorization"], asked.headers["x-tenant"])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=401), "got 401; it wants a token that may query"),
        (Answer("no such page", status=404), "got 404 and no answer of a Prometheus; give the URL"),
        (Answer("[]", "application/json"), "got 200 and no answer of a Prometheus"),
        (Answer('{"status": "error"}', status=503), "503, in the query up"),
        (Answer('{"status": "success"}'), "an answer of an unknown form to up"),
        (Answer(b"no gzip", headers={"content-encoding": "gzip"}), "DecodingError: .*speak HTTP"),
    ],
)
async def test_what_is_no_prometheus_is_explained(
    client: httpx.AsyncClient, served: Served, answer: Answer, said: str
) -> None:
    """One line: which URL, what came, what to do."""
    served.answers["/api/v1/query"] = answer
    with pytest.raises(AskError, match=f"^{served.url('')}: .*{said}"):
        await PrometheusSource(served.url(""), client).ask("up")


async def test_silent_prometheus_is_given_up(client: httpx.AsyncClient, served: Served) -> None:
    """Nobody waits for ever, nor for one that is not there."""
    stuck = threading.Event()

    def answer(_: Asked) -> Answer:
        stuck.wait(10)
        return Answer()

    served.answers["/api/v1/query"] = answer
    try:
        with pytest.raises(AskError, match=r"no answer within 0\.2 s"):
            await PrometheusSource(served.url(""), client, timeout=0.2).ask("up")
    finally:
        stuck.set()
    with pytest.raises(AskError, match="cannot connect"):
        await PrometheusSource(f"127.0.0.1:{free_port()}", client).ask("up")


async def test_sampled_nodes_answer(client: httpx.AsyncClient, served: Served) -> None:
    """Each URL is an instance, and counters grow."""
    counting(served)
    progress: list[float] = []
    with serving() as other:
        other.page("# TYPE a counter\na 7\n")
        urls = [served.address, other.url()]
        sampled = SampledSource(urls, client, window=0.3, interval=0.05, job="chat")
        source: Source = sampled
        assert [] == await source.ask("up")
        await sampled.sample(progress.append)
    both = {each.address: 2.0 for each in (served, other)}
    assert both == by_instance(await source.ask('count by (instance) ({job="chat"}) - 2'))
    looks = by_instance(await source.ask("a"))
    assert {served.address: float(len(served.asked)), other.address: 7.0} == looks
    rates = by_instance(await source.ask("rate(a[1m])"))
    assert rates[served.address] > rates[other.address] == 0
    assert not source.history
    assert 3 <= len(progress) <= 9
    assert (sorted(progress), 1.0) == (progress, progress[-1])


async def test_node_that_fails_is_down_until_it_is_back(
    client: httpx.AsyncClient, served: Served
) -> None:
    """The others are asked all the same, and why it failed is known."""
    url = served.page("a 1\n")
    gone = f"127.0.0.1:{free_port()}"
    source = SampledSource([url, gone], client)
    await source.look()
    assert "cannot connect" in str(source.errors[gone])
    assert {served.address: 1.0, gone: 0.0} == by_instance(await source.ask("up"))
    served.answers["/metrics"] = Answer(status=500)
    await source.look()
    assert [] == await source.ask("a")
    assert {served.address, gone} == source.errors.keys()
    served.page("a 2\n")
    await source.look()
    assert [2.0] == [value for _, value in await source.ask("a")]
    assert {gone} == source.errors.keys()
    assert 2.0 == source.pages[served.address].families["a"].samples[0].value


async def test_no_node_at_all_is_an_error(client: httpx.AsyncClient) -> None:
    """Thirty seconds of nothing would help nobody."""
    source = SampledSource([f"127.0.0.1:{free_port()}"], client)
    with pytest.raises(AskError, match="cannot connect"):
        await source.sample()


async def test_single_look_is_possible(client: httpx.AsyncClient, served: Served) -> None:
    """A window of no length is one look; a slow page delays the next look, and ends on time."""
    source = SampledSource([served.page("a 1\n")], client, window=0)
    progress: list[float] = []
    await source.sample(progress.append)
    await source.sample()
    assert (2, [1.0]) == (len(served.asked), progress)
    with pytest.raises(UnsupportedError, match="ask a Prometheus"):
        await source.ask("up @ 1")


async def test_one_node_twice_is_refused(client: httpx.AsyncClient) -> None:
    """Its samples would be mixed up; the same URL twice is one."""
    SampledSource(["a:1", "http://a:1/metrics"], client)
    with pytest.raises(AskError, match=r"^http://a:1/metrics and http://a:1/own are one node"):
        SampledSource(["a:1", "a:1/own"], client)


async def test_prometheus_is_told_from_a_page(
    client: httpx.AsyncClient, served: Served, tmp_path: Path
) -> None:
    """By what answers; its own page can be asked for by its path."""
    counting(served)
    with prometheus(tmp_path, prefix="/prom") as real:
        assert "prometheus" == await recognise(real.url, client)
        assert "metrics" == await recognise(f"{real.url}/metrics", client)
        assert "metrics" == await recognise(served.url(""), client)
        assert "metrics" == await recognise(served.url("/own/page"), client)
        assert "metrics" == await recognise("nobody.example/metrics", client)
    served.answers["/api/v1/query"] = Answer(status=401)
    with pytest.raises(AskError, match="got 401; it wants a token"):
        await recognise(served.address, client)
    with pytest.raises(AskError, match="cannot connect"):
        await recognise(f"127.0.0.1:{free_port()}", client)
    with pytest.raises(AskError, match="accepted is a URL"):
        await recognise("ftp://x", client)
