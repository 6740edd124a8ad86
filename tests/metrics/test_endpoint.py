"""``/metrics``: what a scraper gets, and what nobody gets."""

from __future__ import annotations

import asyncio
import gzip
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from asgi_ws_observe import MetricsEndpoint, Settings, WebSocketObserveMiddleware, mount_metrics
from asgi_ws_observe.metrics.prometheus import numbers_of
from asgi_ws_observe.settings import MetricsAuth
from tests.support import Server, sample, scope

#: The whole page is small and the same each time for this choice.
ONE = {"name[]": "ws_observe_info"}


def starlette_app(endpoint: MetricsEndpoint) -> Any:
    """Serve the endpoint as a route of Starlette."""
    return Starlette(routes=[Route("/metrics", endpoint)])


def fastapi_app(endpoint: MetricsEndpoint) -> Any:
    """Serve the endpoint as a route of FastAPI."""
    app = FastAPI()
    app.router.routes.append(Route("/metrics", endpoint))
    return app


def bare_app(endpoint: MetricsEndpoint) -> Any:
    """Serve the endpoint by itself."""
    return endpoint


@asynccontextmanager
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Talk HTTP to an application in this process."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as opened:
        yield opened


async def scrape(
    registry: CollectorRegistry,
    *,
    auth: MetricsAuth | None = None,
    method: str = "GET",
    params: Any = None,
    headers: Mapping[str, str] | list[tuple[bytes, bytes]] | None = None,
) -> httpx.Response:
    """Ask the bare endpoint once, with exactly these headers beside httpx's own."""
    async with client(MetricsEndpoint(registry, auth)) as opened:
        opened.headers.pop("accept")
        opened.headers.pop("accept-encoding")
        return await opened.request(method, "/metrics", params=params, headers=headers)


def names(page: str) -> set[str]:
    """Return the names of a text page's samples."""
    return {each.name for family in parse_text(page) for each in family.samples}


class Foreign:
    """A collector of somebody else.

    Args:
        act: What it does between its first family and its second.
    """

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("foreign_first", "Somebody else's.", value=1)
        self._act()
        yield GaugeMetricFamily("foreign_second", "Somebody else's.", value=2)


class Broken:
    """A collector that fails at once."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        raise RuntimeError("no numbers today")


apps = pytest.mark.parametrize("make_app", [starlette_app, fastapi_app, bare_app])


@apps
async def test_get_answers_without_redirect(
    registry: CollectorRegistry, make_app: Callable[[MetricsEndpoint], Any]
) -> None:
    """A scrape gets the page at the very path."""
    async with client(make_app(MetricsEndpoint(registry))) as opened:
        answer = await opened.get("/metrics")
    assert 200 == answer.status_code
    assert [] == answer.history
    assert {"ws_observe_info", "process_open_fds"} <= names(answer.text)


async def test_get_below_mount_answers(registry: CollectorRegistry) -> None:
    """The endpoint also works where an application is mounted."""
    app = Starlette(routes=[Mount("/internal", app=MetricsEndpoint(registry))])
    async with client(app) as opened:
        answer = await opened.get("/internal/metrics")
    assert 200 == answer.status_code


@apps
async def test_head_has_the_length_and_no_body(
    registry: CollectorRegistry, make_app: Callable[[MetricsEndpoint], Any]
) -> None:
    """HEAD says what GET would send and sends nothing."""
    async with client(make_app(MetricsEndpoint(registry))) as opened:
        full = await opened.get("/metrics", params=ONE)
        answer = await opened.head("/metrics", params=ONE)
    assert (200, b"") == (answer.status_code, answer.content)
    assert str(len(full.content)) == answer.headers["content-length"]
    assert full.headers == answer.headers


@pytest.mark.parametrize("auth", [None, "s3cret"])
async def test_head_sends_no_byte(registry: CollectorRegistry, auth: str | None) -> None:
    """Nothing is left to the server to cut off: the answer's body itself is empty."""
    server = Server([{"type": "http.request"}])
    request = {"type": "http", "method": "HEAD", "path": "/metrics", "headers": []}
    await MetricsEndpoint(registry, auth)(request, server.receive, server.send)
    start, body = server.sent
    assert (401 if auth else 200) == start["status"]
    assert 0 < int(dict(start["headers"])[b"content-length"])
    assert b"" == body["body"]


@apps
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_method_is_not_allowed(
    registry: CollectorRegistry, make_app: Callable[[MetricsEndpoint], Any], method: str
) -> None:
    """Reading is all one can do, and the answer says so."""
    async with client(make_app(MetricsEndpoint(registry))) as opened:
        answer = await opened.request(method, "/metrics")
    assert 405 == answer.status_code
    assert {"GET", "HEAD"} == {each.strip() for each in answer.headers["allow"].split(",")}
    assert str(len(answer.content)) == answer.headers["content-length"]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scope_raises(registry: CollectorRegistry, kind: str) -> None:
    """The endpoint is no WebSocket, and says so instead of answering nonsense."""
    server = Server([{"type": f"{kind}.connect"}])
    with pytest.raises(RuntimeError, match=f"HTTP only, not '{kind}'"):
        await MetricsEndpoint(registry)(scope() | {"type": kind}, server.receive, server.send)
    assert [] == server.sent


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("text/plain", "text/plain; version=0.0.4"),
        ("text/plain;version=0.0.4;q=0.5", "text/plain; version=0.0.4"),
        ("text/html, application/json", "text/plain; version=0.0.4"),
        (",;,=;;version,q=", "text/plain; version=0.0.4"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0",
        ),
        (
            "application/openmetrics-text; version=2.0.0; escaping=underscores, */*;q=0.1",
            "application/openmetrics-text; version=2.0.0",
        ),
        ("application/openmetrics-text;version=0.0.1", "text/plain; version=0.0.4"),
    ],
)
async def test_accept_chooses_the_format(
    registry: CollectorRegistry, accept: str, expected: str
) -> None:
    """A scraper gets the format that it asks for, and everybody else the text format."""
    answer = await scrape(registry, headers={"accept": accept})
    assert 200 == answer.status_code
    assert answer.headers["content-type"].startswith(expected)
    assert ("openmetrics" in expected) == answer.text.endswith("# EOF\n")


async def test_openmetrics_page_is_valid(registry: CollectorRegistry) -> None:
    """The strict parser accepts what the endpoint serves."""
    answer = await scrape(registry, headers={"accept": "application/openmetrics-text"})
    families = list(parse_openmetrics(answer.text))  # type: ignore[no-untyped-call]
    assert "ws_observe" in {family.name for family in families}


@pytest.mark.parametrize(
    "accept",
    [
        b"text/plain\r\nx-forged: 1",
        b"application/openmetrics-text\r\nx-forged: 1",
        b"text/plain; version=0.0.4; escaping=\r\nx-forged: 1",
        b"application/openmetrics-text; version=1.0.0; escaping=\r\nx-forged: 1",
        b"text/plain; charset=\xff\xfe\x00",
    ],
)
async def test_accept_forges_no_header(registry: CollectorRegistry, accept: bytes) -> None:
    """What a client sends never becomes a line of the answer's head."""
    answer = await scrape(registry, headers=[(b"accept", accept)])
    assert 200 == answer.status_code
    assert {"content-type", "content-length", "vary"} == set(answer.headers)
    assert "\r" not in answer.headers["content-type"]
    assert "\n" not in answer.headers["content-type"]


async def test_answer_varies_by_what_chooses_it(registry: CollectorRegistry) -> None:
    """A cache on the way keeps formats and encodings apart."""
    answer = await scrape(registry)
    assert {"accept", "accept-encoding"} == {
        each.strip() for each in answer.headers["vary"].split(",")
    }


async def test_name_restricts_to_one(registry: CollectorRegistry) -> None:
    """`name[]` chooses a metric, with its help and type."""
    answer = await scrape(registry, params=ONE)
    assert {"ws_observe_info"} == names(answer.text)
    assert "# HELP ws_observe_info " in answer.text


async def test_several_names_restrict_to_these(registry: CollectorRegistry) -> None:
    """`name[]` can be given more than once."""
    wanted = {"ws_observe_info", "process_open_fds", "ws_observe_errors_total"}
    answer = await scrape(registry, params={"name[]": sorted(wanted)})
    assert wanted == names(answer.text)


async def test_name_of_a_sample_restricts_a_histogram(registry: CollectorRegistry) -> None:
    """`name[]` works on sample names: a histogram's count without its buckets."""
    answer = await scrape(registry, params={"name[]": "event_loop_lag_seconds_count"})
    assert {"event_loop_lag_seconds_count"} == names(answer.text)
    assert "# TYPE event_loop_lag_seconds histogram\n" in answer.text


async def test_name_restricts_foreign_metrics(registry: CollectorRegistry) -> None:
    """`name[]` also finds what somebody else registered."""
    Counter("jobs", "Somebody else's.", registry=registry).inc(3)
    answer = await scrape(registry, params={"name[]": "jobs_total"})
    assert {"jobs_total"} == names(answer.text)
    assert "jobs_total 3.0\n" in answer.text


@pytest.mark.parametrize("name", ["nope", "ws_observe", "\x00", "ü☃", "ws_observe_info "])
async def test_unknown_name_is_an_empty_page(registry: CollectorRegistry, name: str) -> None:
    """`name[]` of nothing is no error and no sample."""
    answer = await scrape(registry, params={"name[]": name})
    assert (200, "") == (answer.status_code, answer.text)


async def test_other_query_restricts_nothing(registry: CollectorRegistry) -> None:
    """Only `name[]` chooses."""
    answer = await scrape(registry, params={"name": "ws_observe_info", "debug": "1"})
    assert {"ws_observe_info", "process_open_fds"} <= names(answer.text)


@pytest.mark.parametrize(
    "accepted", ["gzip", "GZIP", "deflate, gzip;q=0.5, br", "gzip;q=1.0", "br;q=0,gzip"]
)
async def test_gzip_is_used_where_accepted(registry: CollectorRegistry, accepted: str) -> None:
    """A page is compressed for who takes it, and its length is that of what is sent."""
    plain = await scrape(registry)
    async with client(MetricsEndpoint(registry)) as opened:
        request = opened.stream("GET", "/metrics", headers={"accept-encoding": accepted})
        async with request as answer:
            raw = b"".join([part async for part in answer.aiter_raw()])
    assert "gzip" == answer.headers["content-encoding"]
    assert str(len(raw)) == answer.headers["content-length"]
    assert len(raw) < len(plain.content)
    assert names(plain.text) == names(gzip.decompress(raw).decode())


@pytest.mark.parametrize(
    "accepted",
    ["", "identity", "gzip;q=0", "gzip; q=0.000", "gzip;q=0.0, *", "*", "xgzip", "deflate, br"],
)
async def test_gzip_is_not_used_where_not_accepted(
    registry: CollectorRegistry, accepted: str
) -> None:
    """Who does not ask for gzip by name, or refuses it, gets the plain page."""
    answer = await scrape(registry, headers={"accept-encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert answer.text.startswith("# HELP ")


async def test_small_page_is_not_compressed(registry: CollectorRegistry) -> None:
    """Compressing a few bytes is not worth it."""
    answer = await scrape(registry, params=ONE, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert {"ws_observe_info"} == names(answer.text)


async def test_broken_collector_costs_only_its_own_metrics(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A foreign collector that fails is counted each time and logged; the rest is there."""
    Gauge("before", "Somebody else's.", registry=registry)
    numbers_of(registry)
    registry.register(Broken())
    Gauge("after", "Somebody else's.", registry=registry)
    with caplog.at_level(logging.ERROR, "asgi_ws_observe"):
        pages = [await scrape(registry) for _ in range(3)]
    for page in pages:
        assert 200 == page.status_code
        assert {"before", "after", "ws_observe_info", "process_open_fds"} <= names(page.text)
    assert 3 == sample(registry_of_ours(registry), "ws_observe_errors_total", part="collector")
    record = caplog.records[0]
    assert "Broken" in record.getMessage()
    assert "missing from /metrics" in record.getMessage()
    assert record.exc_info is not None
    assert "no numbers today" == str(record.exc_info[1])


def registry_of_ours(registry: CollectorRegistry) -> CollectorRegistry:
    """Return a registry with our collector only, for one whose other collectors fail."""
    ours = CollectorRegistry()
    for collector in registry._collector_to_names:
        if type(collector).__name__ == "StoreCollector":
            ours.register(collector)
    return ours


async def test_half_yielding_collector_keeps_its_first_half(registry: CollectorRegistry) -> None:
    """What a collector yields before it fails is shown, and the page stays valid."""

    def act() -> None:
        raise RuntimeError("half way")

    numbers_of(registry)
    registry.register(Foreign(act))
    answer = await scrape(registry, headers={"accept": "application/openmetrics-text"})
    found = {
        each.name
        for family in parse_openmetrics(answer.text)  # type: ignore[no-untyped-call]
        for each in family.samples
    }
    assert {"foreign_first", "ws_observe_info"} <= found
    assert "foreign_second" not in found
    assert 1 == numbers_of(registry).store.own_errors["collector"]


async def test_sound_collector_is_complete(registry: CollectorRegistry) -> None:
    """A foreign collector that works is there as a whole."""
    numbers_of(registry)
    registry.register(Foreign(lambda: None))
    assert {"foreign_first", "foreign_second"} <= names((await scrape(registry)).text)


async def test_target_info_is_shown() -> None:
    """A registry's target information is on the page, as prometheus_client shows it."""
    registry = CollectorRegistry(target_info={"service": "chat"})
    answer = await scrape(registry)
    assert 'target_info{service="chat"} 1.0\n' in answer.text


async def test_target_info_is_restricted_by_name() -> None:
    """`name[]` also chooses the target information, and leaves it out."""
    registry = CollectorRegistry(target_info={"service": "chat"})
    chosen = await scrape(registry, params={"name[]": "target_info"})
    left_out = await scrape(registry, params=ONE)
    assert ({"target_info"}, {"ws_observe_info"}) == (names(chosen.text), names(left_out.text))


async def test_no_target_info_by_default(registry: CollectorRegistry) -> None:
    """A registry without target information shows none."""
    assert "target_info" not in (await scrape(registry)).text


class Closed(CollectorRegistry):
    """A registry of a future prometheus_client, which keeps its collectors elsewhere."""

    @property
    def _collector_to_names(self) -> Any:
        raise AttributeError("_collector_to_names")

    @_collector_to_names.setter
    def _collector_to_names(self, value: Any) -> None:
        pass

    def __init__(self, behind: CollectorRegistry) -> None:
        super().__init__()
        self._behind = behind

    def register(self, collector: Any) -> None:
        self._behind.register(collector)

    def collect(self) -> Any:
        return self._behind.collect()


async def test_registry_without_the_private_attribute_is_collected(
    registry: CollectorRegistry,
) -> None:
    """Where collectors cannot be asked one by one, the registry is asked as a whole."""
    Gauge("before", "Somebody else's.", registry=registry)
    answer = await scrape(Closed(registry))
    assert {"before", "ws_observe_info", "process_open_fds"} <= names(answer.text)


async def test_scrape_time_is_that_of_the_previous_page(registry: CollectorRegistry) -> None:
    """The first page cannot know how long it takes; the second one says it of the first."""
    first = await scrape(registry)
    second = await scrape(registry)
    assert "\nws_observe_scrape_seconds 0.0\n" in first.text
    assert "\nws_observe_scrape_seconds 0.0\n" not in second.text


async def test_scrape_does_not_block_the_loop(registry: CollectorRegistry) -> None:
    """While a collector waits, the event loop goes on: the collector waits for the loop itself."""
    entered, released = threading.Event(), threading.Event()
    waited: list[bool] = []

    def act() -> None:
        entered.set()
        waited.append(released.wait(10))

    numbers_of(registry)
    registry.register(Foreign(act))
    page = asyncio.ensure_future(scrape(registry))
    ticks = 0
    while not entered.is_set() or ticks < 100:
        ticks += 1
        await asyncio.sleep(0)
        assert not page.done()
    released.set()
    assert 200 == (await page).status_code
    assert [True] == waited


async def test_several_scrapers_are_answered(registry: CollectorRegistry) -> None:
    """Scrapes at the same time wait for each other and are all complete."""
    pages = await asyncio.gather(*(scrape(registry) for _ in range(5)))
    assert [200] * 5 == [page.status_code for page in pages]
    assert all("ws_observe_info" in page.text for page in pages)


async def test_default_registry_is_that_of_prometheus_client() -> None:
    """Without a registry the endpoint shows prometheus_client's own."""
    async with client(MetricsEndpoint()) as opened:
        answer = await opened.get("/metrics")
    assert {"python_info", "ws_observe_info"} <= names(answer.text)


@pytest.mark.parametrize(
    "given", [b"Bearer s3cret", b"bearer s3cret", b"BEARER  s3cret", b"Bearer s3cret "]
)
async def test_right_token_is_let_in(registry: CollectorRegistry, given: bytes) -> None:
    """The token opens the page; the scheme's case does not matter (RFC 7235)."""
    answer = await scrape(registry, auth="s3cret", headers=[(b"authorization", given)])
    assert 200 == answer.status_code


@pytest.mark.parametrize(
    "given",
    [
        b"Bearer wrong",
        b"Bearer s3cre",
        b"Bearer s3crets",
        b"Bearer S3CRET",
        b"Bearer s3cret s3cret",
        b"Bearer",
        b"Bearer ",
        b"",
        b"s3cret",
        b"Basic s3cret",
        b"Basic OnMzY3JldA==",
        b"Bearer\ts3cret",
        b"Bearer \xff\xfe\x00",
        b"Bearer s3cret\xc3\xbc",
        b"\xc3\xbc s3cret",
    ],
)
async def test_anything_else_is_unauthorized(registry: CollectorRegistry, given: bytes) -> None:
    """Another token, another scheme and garbage get 401, how to do better, and no number."""
    answer = await scrape(registry, auth="s3cret", headers=[(b"authorization", given)])
    assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"])
    assert "ws_" not in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_missing_token_is_unauthorized(registry: CollectorRegistry, method: str) -> None:
    """Without the header there is no page, nor its head."""
    answer = await scrape(registry, auth="s3cret", method=method)
    assert 401 == answer.status_code
    assert "13" == answer.headers["content-length"]


async def test_refused_scrape_collects_nothing(registry: CollectorRegistry) -> None:
    """Who may not read costs nothing either."""
    collected: list[int] = []
    numbers_of(registry)
    registry.register(Foreign(lambda: collected.append(1)))
    await scrape(registry, auth="s3cret")
    await scrape(registry, auth=lambda scope: False)
    await scrape(registry, method="POST")
    assert [] == collected


async def asynchronous(scope: Mapping[str, Any]) -> bool:
    """Let in who comes from the monitoring's network."""
    await asyncio.sleep(0)
    return bool(scope["client"][0] == "127.0.0.1")


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (lambda scope: True, 200),
        (lambda scope: scope["path"] == "/metrics", 200),
        (asynchronous, 200),
        (lambda scope: asynchronous({"client": ("192.0.2.7", 1)}), 403),
        (lambda scope: False, 403),
        (lambda scope: None, 403),
        (lambda scope: 1, 403),
        (lambda scope: "yes", 403),
        (lambda scope: object(), 403),
    ],
)
async def test_callable_decides(registry: CollectorRegistry, auth: Any, expected: int) -> None:
    """A callable, plain or async, opens the page by `True` and by nothing else."""
    answer = await scrape(registry, auth=auth)
    assert expected == answer.status_code
    assert (expected == 200) == ("ws_observe_info" in answer.text)


async def test_failing_callable_lets_nobody_in(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A callable that raises keeps the page closed, is counted each time and logged once."""

    def auth(scope: Mapping[str, Any]) -> bool:
        raise KeyError("no such user")

    with caplog.at_level(logging.ERROR, "asgi_ws_observe"):
        answers = [await scrape(registry, auth=auth) for _ in range(2)]
    assert [403, 403] == [answer.status_code for answer in answers]
    assert 2 == sample(registry, "ws_observe_errors_total", part="metrics_auth")
    assert 1 == len(caplog.records)


async def test_failing_coroutine_lets_nobody_in(registry: CollectorRegistry) -> None:
    """An async callable that raises keeps the page closed too."""

    async def auth(scope: Mapping[str, Any]) -> bool:
        raise KeyError("no such user")

    assert 403 == (await scrape(registry, auth=auth)).status_code


async def test_auth_of_the_middleware_closes_the_endpoint(registry: CollectorRegistry) -> None:
    """What the middleware's settings say counts for every endpoint of its registry."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    endpoint = MetricsEndpoint(registry)
    settings = Settings(log_handler="off", metrics_auth="s3cret")
    WebSocketObserveMiddleware(app, settings=settings, registry=registry)
    async with client(endpoint) as opened:
        closed = await opened.get("/metrics")
        answer = await opened.get("/metrics", headers={"authorization": "Bearer s3cret"})
    assert (401, 200) == (closed.status_code, answer.status_code)


async def test_mounted_endpoint_answers_like_the_bare_one(registry: CollectorRegistry) -> None:
    """`mount_metrics` serves the same: methods, choice and head."""
    app = FastAPI()
    mount_metrics(app, registry=registry)
    async with client(app) as opened:
        page = await opened.get("/metrics", params=ONE)
        head = await opened.head("/metrics", params=ONE)
        refused = await opened.post("/metrics")
    assert (200, 200, 405) == (page.status_code, head.status_code, refused.status_code)
    assert {"ws_observe_info"} == names(page.text)


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
@pytest.mark.parametrize("version", ["garbage", "x", "1.1.1.", "999.0", '"', ""])
async def test_unknown_version_in_accept_is_answered_as_text(
    registry: CollectorRegistry, kind: str, version: str
) -> None:
    """No version is claimed that nobody defined, and none makes the page fail."""
    answer = await scrape(registry, headers={"accept": f"{kind};version={version}"})
    assert 200 == answer.status_code
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]


async def test_family_that_cannot_be_written_costs_only_itself(
    registry: CollectorRegistry,
) -> None:
    """A value that is no number is found out, counted, and left out."""

    class Bad:
        def describe(self) -> list[Metric]:
            return []

        def collect(self) -> list[Metric]:
            return [GaugeMetricFamily("bad", "x", value="no number")]  # type: ignore[arg-type]

    numbers_of(registry)
    registry.register(Bad())
    for _ in range(2):
        answer = await scrape(registry)
    assert "ws_observe_info" in names(answer.text)
    assert "bad" not in names(answer.text)
    assert 2 == numbers_of(registry).store.own_errors["collector"]


async def test_failing_collector_is_logged_once(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is scraped; nothing piles up."""
    errors = numbers_of(registry).errors
    registry.register(Broken())
    with caplog.at_level(logging.ERROR, "asgi_ws_observe"):
        for _ in range(3):
            await scrape(registry)
    assert (1, 1) == (len(caplog.records), len(errors._logged))
