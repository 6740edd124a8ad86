"""The collector: what Prometheus, its parsers and promtool make of the store."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import shutil
import subprocess
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample
from starlette.types import Receive, Scope, Send

from asgi_ws_observe import Settings, SettingsError, WebSocketObserveMiddleware
from asgi_ws_observe.connection import Connection
from asgi_ws_observe.metrics import prometheus
from asgi_ws_observe.metrics.catalogue import CATALOGUE, Instrument
from asgi_ws_observe.metrics.prometheus import StoreCollector, numbers_of
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.store import Store
from tests.metrics.socketio_numbers import fill
from tests.support import ACCEPT, CONNECT, Server, Spans, disconnect, sample, scope, text, total

PROMTOOL = "apt-get install prometheus"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, send every text back, return when the client leaves."""
    await receive()
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise at the first message."""
    await receive()
    await send(ACCEPT)
    await receive()
    raise ValueError("broken")


async def talk(app: Any, *messages: str, path: str = "/ws") -> None:
    """Connect, say something, leave."""
    server = Server([CONNECT, *map(text, messages), disconnect(1000)])
    await app(scope(path), server.receive, server.send)


def wrap(registry: CollectorRegistry, app: Any = echo, **more: Any) -> WebSocketObserveMiddleware:
    """Put the middleware around an application, with paths as routes."""
    settings = Settings(log_handler="off", route=lambda scope: scope["path"], **more)
    return WebSocketObserveMiddleware(app, settings=settings, registry=registry)


async def used(registry: CollectorRegistry, **more: Any) -> None:
    """Fill a registry with what a good and a bad application leave."""
    await talk(wrap(registry, **more), "hello", "world", path="/good")
    with pytest.raises(ValueError, match="broken"):
        await talk(wrap(registry, fail, **more), "hello", path="/bad")


def samples(families: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the value of each series."""
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in families
        for each in family.samples
    }


def histogram(families: Iterable[Metric], name: str, **labels: str) -> list[Sample]:
    """Return the buckets of one histogram, in the order of the page."""
    return [
        each
        for family in families
        if family.name == name
        for each in family.samples
        if each.name == f"{name}_bucket" and labels.items() <= each.labels.items()
    ]


def test_describe_names_the_whole_catalogue() -> None:
    """A registry learns every name before the first scrape, and no number."""
    families = list(StoreCollector(Store()).describe())
    assert [(each.name, each.kind) for each in CATALOGUE] == [
        (family.name, family.type) for family in families
    ]
    assert [] == [each for family in families for each in family.samples]


def test_collect_yields_what_describe_names() -> None:
    """The families of a scrape are those that were described."""
    store = Store()
    fill(store)
    collector = StoreCollector(store)
    assert [family.name for family in collector.describe()] == [
        family.name for family in collector.collect()
    ]


def test_collect_leaves_out_what_is_optional_and_has_no_series(
    rare: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry knows its name all the same, so that a clash shows at the start."""
    monkeypatch.setattr(prometheus, "CATALOGUE", (rare,))
    store = Store()
    collector = StoreCollector(store)

    assert ["ws_rare"] == [family.name for family in collector.describe()]
    assert [] == list(collector.collect())
    store.limit = 0
    assert {("ws_rare", frozenset()): 0} == samples(collector.collect())


async def test_page_of_a_real_load_has_the_numbers(registry: CollectorRegistry) -> None:
    """The counts of a connection appear under the pinned names."""
    await used(registry)
    assert 0 == sample(registry, "ws_connections_active", route="/good")
    assert 1 == sample(registry, "ws_connects_total", route="/good")
    assert 2 == sample(registry, "ws_messages_total", route="/good", direction="in")
    assert 2 == sample(registry, "ws_messages_total", route="/good", direction="out")
    assert 10 == sample(registry, "ws_message_bytes_total", route="/good", direction="out")
    assert 1 == sample(
        registry, "ws_closes_total", route="/good", code="1000", closed_by="client", reason="normal"
    )
    assert 1 == sample(registry, "ws_errors_total", route="/bad", type="ValueError")
    assert 2 == sample(registry, "ws_handler_duration_seconds_count", route="/good")


async def test_first_event_of_a_route_makes_zero_children(registry: CollectorRegistry) -> None:
    """Closes and failures that have not happened yet are there as zeros, for `rate()`."""
    app = wrap(registry)
    server = Server([CONNECT, disconnect(1000)])
    seen = []

    async def send(message: Any) -> None:
        seen.append(total(registry, "ws_connects_total", route="/ws"))

    await app(scope(), server.receive, send)
    assert [0] == seen
    zeros = {
        (each.labels["code"], each.labels["closed_by"], each.labels["reason"]): each.value
        for family in registry.collect()
        for each in family.samples
        if each.name == "ws_closes_total"
    }
    assert 1 == zeros.pop(("1000", "client", "normal"))
    assert {("1006", "network", "unknown"), ("1011", "server", "handler_error")} <= set(zeros)
    assert {0} == set(zeros.values())
    assert 0 == sample(registry, "ws_handshake_failures_total", route="/ws", reason="denied")
    assert 0 == sample(registry, "ws_messages_total", route="/ws", direction="in")


async def test_no_series_before_the_first_connection(registry: CollectorRegistry) -> None:
    """Routes appear with their first event and not earlier."""
    wrap(registry)
    assert "route=" not in generate_latest(registry).decode()


def test_buckets_are_cumulative() -> None:
    """Each bucket has the observations of those before it, and the last one has all."""
    store = Store()
    for value in (0.0004, 0.0005, 0.003, 0.2, 11.0, 99.0):
        store.route("/ws").handler.observe(value)
    counts = {
        each.labels["le"]: each.value
        for each in histogram(StoreCollector(store).collect(), "ws_handler_duration_seconds")
    }
    assert (2, 2, 3) == (counts["0.0005"], counts["0.001"], counts["0.005"])
    assert (4, 4, 6) == (counts["0.25"], counts["10.0"], counts["+Inf"])
    assert sorted(counts.values()) == list(counts.values())
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    assert 6 == sample(registry, "ws_handler_duration_seconds_count", route="/ws")
    assert pytest.approx(110.2039) == sample(
        registry, "ws_handler_duration_seconds_sum", route="/ws"
    )


async def test_text_page_is_parsed_as_it_was_collected(registry: CollectorRegistry) -> None:
    """Prometheus' own parser finds every series of the text format, with its value."""
    await used(registry)
    store = numbers_of(registry).store
    parsed = samples(parse_text(generate_latest(registry).decode()))
    expected = samples(StoreCollector(store).collect())
    assert expected == {key: parsed[key] for key in expected}


async def test_openmetrics_page_is_parsed_as_it_was_collected(registry: CollectorRegistry) -> None:
    """The strict OpenMetrics parser accepts the page and finds every series."""
    await used(registry)
    store = numbers_of(registry).store
    page = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    parsed = samples(parse_openmetrics(page))  # type: ignore[no-untyped-call]
    expected = samples(StoreCollector(store).collect())
    assert expected == {key: parsed[key] for key in expected}


@pytest.mark.parametrize("route", ['/"quoted"', "/back\\slash", "/new\nline", "/ünïcode/☃", ""])
def test_hostile_label_survives_the_page(route: str) -> None:
    """A label's characters can end neither its value nor its line."""
    store = Store()
    numbers = store.route(route)
    numbers.connects = 7
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    parsed = samples(parse_text(generate_latest(registry).decode()))
    assert 7 == parsed["ws_connects_total", frozenset({("route", numbers.label)})]


async def test_sampled_span_gives_exemplar_in_openmetrics_only(
    registry: CollectorRegistry, spans: Spans
) -> None:
    """A handler's time links to the message's span, where the format has room for it."""
    app = WebSocketObserveMiddleware(
        echo,
        settings=Settings(log_handler="off"),
        registry=registry,
        tracer_provider=spans.provider,
    )
    await talk(app, "hello")
    (message,) = spans.named("ws.message")
    page = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    buckets = histogram(
        parse_openmetrics(page),  # type: ignore[no-untyped-call]
        "ws_handler_duration_seconds",
    )
    (exemplar,) = (each.exemplar for each in buckets if each.exemplar is not None)
    assert message.context is not None
    assert {
        "trace_id": f"{message.context.trace_id:032x}",
        "span_id": f"{message.context.span_id:016x}",
    } == exemplar.labels
    assert sum(len(name) + len(value) for name, value in exemplar.labels.items()) <= 128
    assert f"{message.context.trace_id:032x}" not in generate_latest(registry).decode()


async def test_exemplar_lies_in_its_bucket(registry: CollectorRegistry, spans: Spans) -> None:
    """An exemplar's value belongs to the bucket that shows it."""
    app = WebSocketObserveMiddleware(
        echo,
        settings=Settings(log_handler="off"),
        registry=registry,
        tracer_provider=spans.provider,
    )
    await talk(app, *("hello",) * 20)
    below = 0.0
    for each in histogram(registry.collect(), "ws_handler_duration_seconds"):
        if each.exemplar is not None:
            assert below < each.exemplar.value <= float(each.labels["le"])
            assert each.exemplar.timestamp is not None
        below = float(each.labels["le"])


def test_heartbeat_of_a_sampled_connection_gives_exemplar(
    registry: CollectorRegistry, spans: Spans
) -> None:
    """A slow round trip links to the connection's span."""
    numbers = numbers_of(registry)
    observation = Observation(Settings(log_handler="off"), numbers.store, (), numbers.errors)
    connection = Connection(observation, scope(), 1.0)
    connection.sent(ACCEPT, 1.0, 1.0)
    identity = spans.provider.get_tracer("test").start_span("connection").get_span_context()
    connection.span_context = identity
    connection.heartbeat(0.3, 0.0)
    page = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    buckets = histogram(
        parse_openmetrics(page),  # type: ignore[no-untyped-call]
        "ws_heartbeat_rtt_seconds",
    )
    ((le, exemplar),) = ((each.labels["le"], each.exemplar) for each in buckets if each.exemplar)
    assert ("0.5", 0.3) == (le, exemplar.value)
    assert {
        "trace_id": f"{identity.trace_id:032x}",
        "span_id": f"{identity.span_id:016x}",
    } == exemplar.labels


async def test_no_trace_no_exemplar(registry: CollectorRegistry) -> None:
    """Without spans there are no exemplars."""
    await used(registry)
    found = histogram(registry.collect(), "ws_handler_duration_seconds")
    assert [] == [each.exemplar for each in found if each.exemplar is not None]


async def test_node_is_on_every_series(registry: CollectorRegistry) -> None:
    """A configured node is a label of all our series, the informational one included."""
    await used(registry, node="node-7")
    families = StoreCollector(numbers_of(registry).store).collect()
    nodes = {each.labels.get("node") for family in families for each in family.samples}
    assert {"node-7"} == nodes
    assert "node-7" == next(iter(parse_text(generate_latest(registry).decode()))).samples[
        0
    ].labels.get("node")


def test_every_kind_of_server_is_a_series(registry: CollectorRegistry) -> None:
    """One process may have several; each has the node, where there is one."""
    numbers = numbers_of(registry)
    numbers.store.transports = dict.fromkeys(["granian", "daphne"])
    numbers.take(Settings(node="node-7"))
    found = [
        (each.labels["node"], each.labels["transport"], each.value)
        for family in registry.collect()
        for each in family.samples
        if each.name == "ws_observe_info"
    ]
    assert [("node-7", "granian", 1), ("node-7", "daphne", 1)] == found


async def test_no_node_no_label(registry: CollectorRegistry) -> None:
    """Without a node there is no such label."""
    await used(registry)
    assert "node=" not in generate_latest(registry).decode()


async def test_two_middlewares_share_the_numbers(registry: CollectorRegistry) -> None:
    """Middlewares of one registry count into the same series."""
    await talk(wrap(registry), "one")
    await talk(wrap(registry), "two", "three")
    assert 2 == sample(registry, "ws_connects_total", route="/ws")
    assert 3 == sample(registry, "ws_messages_total", route="/ws", direction="in")


async def test_two_registries_share_nothing(registry: CollectorRegistry) -> None:
    """A registry shows its own middlewares only."""
    other = CollectorRegistry()
    wrap(other)
    await talk(wrap(registry))
    assert 1 == sample(registry, "ws_connects_total", route="/ws")
    assert 0 == total(other, "ws_connects_total")


def test_numbers_of_is_the_same_each_time(registry: CollectorRegistry) -> None:
    """The first call makes the numbers, the next ones find them."""
    assert numbers_of(registry) is numbers_of(registry)
    assert numbers_of(registry) is not numbers_of(CollectorRegistry())


def test_numbers_of_nothing_is_the_default_registry() -> None:
    """Without a registry the numbers appear in prometheus_client's own, once."""
    assert numbers_of() is numbers_of(REGISTRY)
    names = [family.name for family in REGISTRY.collect()]
    assert 1 == names.count("ws_observe")
    assert 1 == names.count("process_open_fds")
    assert 1 == names.count("python_gc_objects_collected")


def test_settings_of_the_last_middleware_count() -> None:
    """A later middleware changes what it sets, and leaves what it does not set."""
    registry = CollectorRegistry()
    numbers = numbers_of(registry)
    numbers.take(Settings(max_connections=7, node="a", metrics_auth="one"))
    numbers.take(Settings(node="b"))
    numbers.take(Settings())
    assert 7 == sample(registry, "ws_connections_limit", node="b")
    assert "one" == numbers.metrics_auth


def test_registry_is_not_kept_alive() -> None:
    """An application that is gone takes its registry and its numbers along."""
    registry = CollectorRegistry()
    store = weakref.ref(numbers_of(registry))
    del registry
    gc.collect()
    assert store() is None


@pytest.mark.parametrize("name", ["ws_connections_active", "ws_observe_info"])
def test_clashing_registry_is_refused(name: str) -> None:
    """A metric of our name in the registry stops the start-up and is named."""
    registry = CollectorRegistry()
    Gauge(name, "Somebody else's.", registry=registry)
    with pytest.raises(SettingsError, match=rf"metrics of our names.*{name}"):
        wrap(registry)


def test_clashing_registry_is_left_as_it_was() -> None:
    """A refused registry keeps what it had, and works when the clash is gone."""
    registry = CollectorRegistry()
    clashing = Counter("ws_connects", "Somebody else's.", registry=registry)
    with pytest.raises(SettingsError):
        numbers_of(registry)
    assert ["ws_connects"] == [family.name for family in registry.collect()]
    registry.unregister(clashing)
    numbers_of(registry)
    assert 0 == sample(registry, "ws_observe_errors_total", part="record")


@pytest.mark.parametrize(
    "collectors",
    [(), (ProcessCollector,), (GCCollector,), (ProcessCollector, GCCollector)],
    ids=lambda each: "+".join(one.__name__ for one in each) or "none",
)
def test_own_registry_gets_process_metrics_once(collectors: tuple[Any, ...]) -> None:
    """A registry of one's own shows the process and the collector of garbage, and once."""
    registry = CollectorRegistry()
    for collector in collectors:
        collector(registry=registry)
    numbers_of(registry)
    numbers_of(registry)
    names = [family.name for family in registry.collect()]
    assert len(set(names)) == len(names)
    assert {"process_open_fds", "process_max_fds", "python_gc_objects_collected"} <= set(names)
    assert (sample(registry, "process_open_fds") or 0) > 0


def test_scrape_while_a_loop_writes_is_consistent(registry: CollectorRegistry) -> None:
    """Counts never go backwards, and a histogram's count is its last bucket."""
    store = numbers_of(registry).store
    collector = StoreCollector(store)
    growing = {each.name for each in CATALOGUE if each.kind in ("counter", "histogram")}
    pages: list[dict[Any, float]] = []
    failures: list[BaseException] = []
    number = 0

    def page() -> dict[Any, float]:
        return samples(each for each in collector.collect() if each.name in growing)

    def scrape() -> None:
        try:
            while number < 5_000 or len(pages) < 20:
                pages.append(page())
        except BaseException as failure:
            failures.append(failure)

    reader = threading.Thread(target=scrape)
    reader.start()
    while reader.is_alive():
        number += 1
        # Routes, closes, errors and unexpected events that are new change mappings under the read.
        numbers = store.route(f"/{number % 50}")
        numbers.connects += 1
        numbers.handler.observe(number % 13)
        numbers.size_in.observe(number)
        numbers.closes[str(number % 31), "client", "normal"] = number
        numbers.errors[f"E{number % 20}"] = number
        store.unexpected["open", f"event{number % 1000}"] = number
        store.lag.observe(number % 3)
    reader.join()
    pages.append(page())
    assert [] == failures
    for earlier, later in itertools.pairwise(pages):
        shrunk = {key for key, value in earlier.items() if later[key] < value}
        assert set() == shrunk
    assert sum(pages[0].values()) < sum(pages[-1].values())
    for each in pages:
        for (name, labels), value in each.items():
            if name.endswith("_count"):
                last = (name.removesuffix("_count") + "_bucket", labels | {("le", "+Inf")})
                assert value == each[last]


def test_promtool_accepts_the_page(registry: CollectorRegistry) -> None:
    """Prometheus' own linter finds nothing wrong on a real page."""
    promtool = shutil.which("promtool")
    if promtool is None:
        assert not os.environ.get("CI"), f"promtool is missing: {PROMTOOL}"
        pytest.skip(f"promtool is missing: {PROMTOOL}")
    asyncio.run(used(registry, max_connections=7, node="node-7"))
    page = CollectorRegistry()
    page.register(StoreCollector(numbers_of(registry).store))
    run = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(page), capture_output=True, timeout=60
    )
    assert (b"", b"", 0) == (run.stdout, run.stderr, run.returncode)


def test_failing_collector_does_not_stop_the_start(registry: CollectorRegistry) -> None:
    """Somebody else's collector is not asked before the first scrape."""

    class Failing:
        def describe(self) -> list[Metric]:
            return []

        def collect(self) -> list[Metric]:
            raise RuntimeError

    registry.register(Failing())
    assert numbers_of(registry) is numbers_of(registry)


async def test_bound_of_routes_holds_over_several_middlewares(registry: CollectorRegistry) -> None:
    """It is the registry's, not each middleware's."""
    settings = Settings(log_handler="off", route=lambda scope: str(scope["path"]))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)

    for place in range(3):
        middleware = WebSocketObserveMiddleware(app, settings=settings, registry=registry)
        for number in range(60):
            server = Server([disconnect()])
            await middleware(scope(f"/{place}/{number}"), server.receive, server.send)
    series = [each for family in registry.collect() for each in family.samples]
    routes = {each.labels["route"] for each in series if each.name == "ws_connects_total"}
    assert 101 == len(routes)
    assert 80 == sample(registry, "ws_connects_total", route="other")
    assert 80 == sample(registry, "ws_observe_labels_dropped_total", label="route")


def test_bound_of_close_codes_holds_over_several_middlewares(registry: CollectorRegistry) -> None:
    """What they declare together must not be too much."""
    numbers = numbers_of(registry)
    numbers.take(Settings(close_codes=range(4000, 4011)))
    numbers.take(Settings(close_codes=[4000]))
    with pytest.raises(SettingsError, match=r"Settings.close_codes.*4011.*at most 11"):
        numbers.take(Settings(close_codes=[4011]))
