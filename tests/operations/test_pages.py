"""Metrics pages: what is read off them, and what is said where they cannot be read."""

from __future__ import annotations

import gzip
import math
import threading

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as text_page
from prometheus_client.openmetrics.exposition import generate_latest as strict_page

from asgi_ws_observe.operations.pages import (
    LARGEST,
    AskError,
    Family,
    Page,
    Sample,
    fetch,
    http_client,
    page_url,
    parse,
)
from tests.operations.served import OPENMETRICS, PLAIN, Answer, Asked, Served
from tests.servers.processes import free_port

URL = "http://127.0.0.1:8000/metrics"


def registry() -> CollectorRegistry:
    """Return a registry with one metric of each common kind."""
    found = CollectorRegistry()
    Counter("ws_connects", "Accepted.", ["route"], registry=found).labels("/ws").inc(3)
    Gauge("ws_connections_active", "Open.", registry=found).set(2)
    Histogram("rtt", "Round trip.", unit="seconds", buckets=(0.5, 1), registry=found).observe(0.1)
    return found


def samples(page: Page) -> dict[str, float]:
    """Return the samples by name and labels, without those of when they began."""
    return {
        each.name + str(sorted(each.labels.items())): each.value
        for family in page.families.values()
        for each in family.samples
        if not each.name.endswith("_created")
    }


def test_both_formats_give_the_same_samples() -> None:
    """Whoever asks by name need not know which format the page came in."""
    text = text_page(registry()).decode()
    plain = parse(text, PLAIN, URL)
    body = strict_page(registry())  # type: ignore[no-untyped-call]
    strict = parse(body.decode(), OPENMETRICS, URL)
    assert samples(plain) == samples(strict)
    assert 3.0 == samples(plain)["ws_connects_total[('route', '/ws')]"]
    assert {"ws_connects", "ws_connections_active", "rtt_seconds"} <= plain.families.keys()
    assert "seconds" == strict.families["rtt_seconds"].unit
    assert "histogram" == strict.families["rtt_seconds"].type
    assert "127.0.0.1:8000" == plain.instance
    assert len(text) == plain.size


def test_counter_without_total_keeps_its_name() -> None:
    """Prometheus takes names as they are, so its users ask for `requests`."""
    page = parse("# TYPE requests counter\nrequests 5\n", PLAIN, URL)
    expected = Family("requests", "counter", "", "", [Sample("requests", {}, 5.0)])
    assert {"requests": expected} == page.families


def test_samples_without_declaration_are_gathered() -> None:
    """Exporters by hand often write no TYPE."""
    page = parse('a{x="1"} 1\na{x="2"} 2\nb 3\n', PLAIN, URL)
    expected = [Sample("a", {"x": "1"}, 1.0), Sample("a", {"x": "2"}, 2.0)]
    assert expected == page.families["a"].samples
    assert "unknown" == page.families["b"].type


def test_counter_and_gauge_of_one_name_are_both_kept() -> None:
    """In the text format `x_total` and `x` are two metrics."""
    text = "# TYPE x_total counter\nx_total 1\n# TYPE x gauge\nx 2\n"
    page = parse(text, PLAIN, URL)
    assert {"x": "counter", "x_gauge": "gauge"} == {
        name: family.type for name, family in page.families.items()
    }
    assert {"x_total[]": 1.0, "x[]": 2.0} == samples(page)


def test_native_histogram_is_left_out() -> None:
    """It has no single value."""
    native = (
        '# TYPE h histogram\nh{a="b"} {count:2,sum:3.0,schema:0,zero_threshold:1e-9,'
        "zero_count:0,positive_spans:[0:2],positive_deltas:[1,0]}\n# EOF\n"
    )
    page = parse(native, OPENMETRICS, URL)
    assert [] == page.families["h"].samples


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("localhost:8000", "http://localhost:8000/metrics"),
        ("http://localhost:8000/", "http://localhost:8000/metrics"),
        ("https://a.example/own/page?x=1", "https://a.example/own/page?x=1"),
    ],
)
def test_url_of_page_is_completed(url: str, expected: str) -> None:
    """`host:port` is enough."""
    assert expected == page_url(url)


@pytest.mark.parametrize("url", ["", "ftp://a.example", "http://", "http://a:port/x", "/metrics"])
def test_url_that_is_none_is_refused(url: str) -> None:
    """The line says what is accepted."""
    with pytest.raises(AskError, match=r"^got .*, accepted is a URL such as http://127"):
        page_url(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example/metrics", "a.example:80"),
        ("https://a.example/metrics", "a.example:443"),
        ("http://[::1]:9100/metrics", "[::1]:9100"),
    ],
)
def test_instance_is_what_prometheus_calls_the_target(url: str, expected: str) -> None:
    """The port is always there, and addresses of IPv6 are in brackets."""
    assert expected == parse("", PLAIN, url).instance


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("OK", "text/plain"),
        ('{"status": "up"}', "application/json"),
        ("hello world", ""),
        ("# TYPE a gauge\na 1\n", OPENMETRICS),
    ],
)
def test_text_that_is_no_exposition_is_refused(text: str, content_type: str) -> None:
    """The line names the URL, what came and what to do."""
    with pytest.raises(AskError, match=r"metrics: got .* no exposition of metrics \(.*give the"):
        parse(text, content_type, URL)


@pytest.mark.parametrize("content_type", ["text/html", "text/plain"])
def test_html_is_called_by_its_name(content_type: str) -> None:
    """It is what one gets from a wrong path of most applications."""
    with pytest.raises(AskError, match="got an HTML page"):
        parse("<!doctype html><p>x", content_type, URL)


@given(st.text() | st.text(alphabet='ab{}=",# 1\\\n'), st.sampled_from([PLAIN, OPENMETRICS, ""]))
@example(
    "# TYPE h histogram\nh {count:1,sum:1,schema:0,zero_threshold:0,zero_count:0,"
    "positive_deltas:[]}\n# EOF\n",
    OPENMETRICS,
)
@example("a 1" + "0" * 400, PLAIN)
@example("# TYPE s stateset\ns 1\n# EOF\n", OPENMETRICS)
def test_any_text_is_a_page_or_refused_in_one_line(text: str, content_type: str) -> None:
    """Whatever comes, nobody sees a traceback."""
    try:
        said = f"{parse(text, content_type, URL).size} bytes"
    except AskError as error:
        said = str(error)
    assert 1 == len(said.splitlines())


async def test_fetched_page_says_where_and_how_long(
    client: httpx.AsyncClient, served: Served
) -> None:
    """gzip and OpenMetrics are asked for, and a page has its size as if uncompressed."""
    body = strict_page(registry())  # type: ignore[no-untyped-call]
    headers = {"content-encoding": "gzip"}
    served.page(gzip.compress(body), OPENMETRICS, headers=headers)
    page = await fetch(client, served.address)
    assert (served.url(), served.address, len(body)) == (page.url, page.instance, page.size)
    assert 0 < page.seconds < 10
    assert 2.0 == samples(page)["ws_connections_active[]"]
    asked = served.asked[0].headers
    assert asked["accept"].startswith("application/openmetrics-text")
    assert "gzip" in asked["accept-encoding"]
    assert "10" == asked["x-prometheus-scrape-timeout-seconds"]


async def test_broken_openmetrics_is_asked_for_as_text(
    client: httpx.AsyncClient, served: Served
) -> None:
    """The parser of OpenMetrics is stricter than Prometheus itself."""

    def answer(asked: Asked) -> Answer:
        strict = "openmetrics" in asked.headers["accept"]
        return Answer("a 1\n\n# EOF", OPENMETRICS) if strict else Answer("a 1\n")

    served.answers["/metrics"] = answer
    assert {"a[]": 1.0} == samples(await fetch(client, served.url()))


async def test_token_and_headers_are_sent(served: Served) -> None:
    """Pages behind authentication can be asked."""
    served.page("a NaN\n")
    async with http_client("secret", {"x-tenant": "7"}) as client:
        page = await fetch(client, served.url())
    assert math.isnan(page.families["a"].samples[0].value)
    asked = served.asked[0].headers
    assert ("Bearer secret", "7") == (asked["authorization"], asked["x-tenant"])


async def test_redirect_is_followed(client: httpx.AsyncClient, served: Served) -> None:
    """Mounted applications redirect from /metrics to /metrics/."""
    served.page("", status=307, headers={"location": "/metrics/"})
    served.answers["/metrics/"] = Answer("a 1\n")
    assert {"a[]": 1.0} == samples(await fetch(client, served.url()))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=401), "got 401; it wants a token"),
        (Answer(status=403), "got 403; it wants a token"),
        (Answer(status=404), "got 404; give the URL of the metrics page"),
        (Answer(status=503), "got 503 Service Unavailable, expected 200"),
        (
            Answer(b"not compressed", headers={"content-encoding": "gzip"}),
            "DecodingError: .*it speak HTTP",
        ),
        (Answer("<html>", "text/html"), "got an HTML page"),
        (Answer("a", OPENMETRICS), "no exposition of metrics"),
    ],
)
async def test_answer_that_is_no_page_is_explained(
    client: httpx.AsyncClient, served: Served, answer: Answer, said: str
) -> None:
    """One line: which URL, what came, what to do."""
    served.answers["/metrics"] = answer
    with pytest.raises(AskError, match=f"^{served.url()}: .*{said}"):
        await fetch(client, served.url())


async def test_endless_answer_is_given_up(client: httpx.AsyncClient, served: Served) -> None:
    """A small body may become a huge one, and a URL may be that of a film."""
    headers = {"content-encoding": "gzip"}
    served.page(gzip.compress(bytes(LARGEST + 1)), headers=headers)
    with pytest.raises(AskError, match=r"got more than 64 MiB, which is no metrics page"):
        await fetch(client, served.url())


async def test_nobody_listens_is_explained(client: httpx.AsyncClient) -> None:
    """It is the commonest of all."""
    with pytest.raises(AskError, match=r"cannot connect .*is the address right\?$"):
        await fetch(client, f"127.0.0.1:{free_port()}")


async def test_silent_node_is_given_up(client: httpx.AsyncClient, served: Served) -> None:
    """A node whose event loop is blocked accepts and says nothing."""
    stuck = threading.Event()

    def answer(_: Asked) -> Answer:
        stuck.wait(10)
        return Answer()

    served.answers["/metrics"] = answer
    try:
        with pytest.raises(AskError, match=r"no page within 0\.2 s; is the node stuck\?$"):
            await fetch(client, served.url(), 0.2)
    finally:
        stuck.set()
