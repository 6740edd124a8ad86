"""The table of metrics: names, bounds that hold against hostile clients, nothing left unread."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from asgi_ws_observe import Settings
from asgi_ws_observe.buckets import Buckets
from asgi_ws_observe.connection import Connection
from asgi_ws_observe.fanout_numbers import FanoutNumbers
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.metrics.catalogue import CATALOGUE, LABELS, Instrument, Label
from asgi_ws_observe.metrics.prometheus import StoreCollector
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.sockets import COUNTED_STATES
from asgi_ws_observe.store import ERROR_PARTS, TRANSPORTS, Look, RouteNumbers, Store
from tests.metrics.socketio_numbers import fill, flood
from tests.support import ACCEPT, CONNECT, disconnect, scope, text

by_name = pytest.mark.parametrize("instrument", CATALOGUE, ids=lambda each: each.name)
histograms = [each for each in CATALOGUE if each.kind == "histogram"]

#: Unit, in OpenTelemetry's notation -> how Prometheus writes it at the end of a name.
SUFFIXES = {"s": "_seconds", "By": "_bytes"}
#: What Prometheus' naming rules forbid: units that are not base units, and reserved suffixes.
FORBIDDEN = {
    *("milliseconds", "ms", "us", "minutes", "hours", "kilobytes", "kb", "mb", "megabytes"),
    *("bits", "percent", "total", "count", "sum", "bucket", "info", "created", "timestamp"),
}

#: A look that found everything, and one that found that there is nothing.
FOUND = Look(7000, 5000, 2, 30, 20, 6, 4, 0.75)
EMPTY = Look(0, 0, 0, 0, 0, 0, 0, 0.0)


def bound(instrument: Instrument, label: str) -> Label:
    """Return the bound that the table states for a label of an instrument."""
    return LABELS.get((label, instrument.name)) or LABELS[label, ""]


def exposition(store: Store) -> str:
    """Return what a scrape of a store shows."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    return generate_latest(registry).decode()


class Load:
    """Drives connections through the record by hand.

    Attributes:
        store: Where the numbers went.
    """

    def __init__(self, settings: Settings) -> None:
        self.store = Store()
        self.errors = OwnErrors(self.store)
        self._observation = Observation(settings, self.store, (), self.errors)
        self._now = 0.0

    def tick(self) -> float:
        self._now += 0.01
        return self._now

    def connection(self, path: str) -> Connection:
        connection = Connection(self._observation, scope(path), self.tick())
        connection.received(CONNECT, self.tick())
        return connection

    def accepted(self, path: str) -> Connection:
        connection = self.connection(path)
        self.send(connection, ACCEPT)
        return connection

    def send(self, connection: Connection, message: dict[str, Any]) -> None:
        connection.sent(message, self.tick(), self.tick())


@pytest.fixture(scope="module")
def hostile() -> Store:
    """A store after everything that clients and applications can choose was chosen."""
    load = Load(
        Settings(
            log_handler="off",
            route=lambda scope: scope["path"],
            close_codes=tuple(range(4000, 4011)),
        )
    )
    load.store.worker = 0
    flood(load.store)
    for code in range(5001):
        path = f"/{code % 500}"
        leaving = load.accepted(path)
        leaving.received(text("x" * code), load.tick())
        load.send(leaving, {"type": "websocket.send", "bytes": b"y" * code})
        leaving.received(disconnect(code), load.tick())
        leaving.ended(None, load.tick())
        closing = load.accepted(path)
        load.send(closing, {"type": "websocket.close", "code": code})
        load.send(closing, {"type": "websocket.send", "text": "too late"})
        closing.ended(None, load.tick())
    for number in range(500):
        rejected = load.connection(f"/rejected/{number}")
        rejected.received({"type": f"websocket.novel{number}"}, load.tick())
        load.send(rejected, {"type": f"websocket.odd{number}"})
        load.send(rejected, {"type": "websocket.close", "code": number})
        rejected.ended(None, load.tick())
        denied = load.connection(f"/denied/{number}")
        load.send(denied, {"type": "websocket.http.response.start", "status": number})
        denied.received(disconnect(1006), load.tick())
        denied.ended(None, load.tick())
        gone = load.connection(f"/gone/{number}")
        gone.received(disconnect(number), load.tick())
        gone.ended(RuntimeError(), load.tick())
    for number in range(100):
        failure = type(f"Failure{number}", (Exception,), {})()
        broken = load.accepted(f"/{number}")
        broken.ended(failure, load.tick())
        unanswered = load.connection(f"/{number}")
        unanswered.ended(failure, load.tick())
    for part in ERROR_PARTS:
        load.errors.report(part, RuntimeError(), part, "nothing happens")
    load.store.limit = 7
    # What the shell finds on every route, of every server.
    for numbers in load.store.routes.values():
        numbers.look = FOUND
    load.store.tcp_connections = dict.fromkeys(COUNTED_STATES, 7)
    load.store.transports = dict.fromkeys(TRANSPORTS)
    for number in range(500):
        channel = load.store.channel(f"room:{number}")
        channel.outbox = channel.listener_up = 1
        channel.probe_age = lambda: 0.5
    return load.store


def test_names_are_unique() -> None:
    """No two instruments share a name, nor what a query calls them."""
    assert len(CATALOGUE) == len({each.name for each in CATALOGUE})
    assert len(CATALOGUE) == len({each.exposed_name for each in CATALOGUE})
    assert len(CATALOGUE) == len({each.otel_name for each in CATALOGUE})


@by_name
def test_name_follows_the_rules_of_prometheus(instrument: Instrument) -> None:
    """A name is lower case, in base units, with the unit last and no reserved suffix."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", instrument.name)
    assert set() == FORBIDDEN & set(instrument.name.split("_"))
    assert instrument.name.endswith(SUFFIXES.get(instrument.unit, ""))
    for unit, suffix in SUFFIXES.items():
        assert (unit == instrument.unit) == instrument.name.endswith(suffix)


@by_name
def test_otel_name_follows_the_rules_of_opentelemetry(instrument: Instrument) -> None:
    """Lower case, words joined by dots, the unit not in it, no attribute twice."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)?(\.[a-z]+(_[a-z]+)?)*", instrument.otel_name)
    assert not instrument.otel_name.endswith("seconds")
    assert len(instrument.labels) == len(set(instrument.attributes))
    # A backend may make `x.max`, `x.count` and the like of a histogram `x`.
    for histogram in histograms:
        for made in ("max", "min", "sum", "count", "avg", "bucket"):
            assert f"{histogram.otel_name}.{made}" != instrument.otel_name


@pytest.mark.parametrize(
    ("name", "expected", "unit", "attributes"),
    [
        ("ws_connections_active", "ws.connections.active", "{connection}", ("http.route",)),
        ("ws_handshake_duration_seconds", "ws.handshake.duration", "s", ("http.route",)),
        ("ws_message_bytes_total", "ws.message.bytes", "By", ("http.route", "ws.direction")),
        ("ws_message_size_bytes", "ws.message.size", "By", ("http.route", "ws.direction")),
        ("ws_queue_depth_max", "ws.queue.depth_max", "{message}", ("http.route", "ws.direction")),
        ("event_loop_lag_max_seconds", "event_loop.lag_max", "s", ()),
        ("ws_errors_total", "ws.errors", "{error}", ("http.route", "error.type")),
        ("ws_tcp_connections", "ws.tcp.connections", "{connection}", ("network.connection.state",)),
        ("ws_observe_info", "ws.observe.info", "", ("ws.observe.version", "ws.transport")),
    ],
)
def test_otel_name_is_derived(
    name: str, expected: str, unit: str, attributes: tuple[str, ...]
) -> None:
    """A rule makes it of Prometheus' name; a change of the rule is a breaking change."""
    (found,) = (each for each in CATALOGUE if each.exposed_name == name)
    assert (expected, unit, attributes) == (found.otel_name, found.unit, found.attributes)


def test_gauges_are_additive_where_a_sum_over_processes_makes_sense() -> None:
    """A maximum, a duration or a version does not add up."""
    expected = {
        *("ws_connections_active", "ws_connections_limit", "ws_slow_connections"),
        *("ws_send_buffer_current_bytes", "ws_queue_depth", "ws_tcp_connections"),
        *("ws_fanout_outbox_messages", "socketio_connections_active", "socketio_acks_pending"),
        *("socketio_room_members", "socketio_orphan_sids", "engineio_queue_depth"),
    }
    assert expected == {each.name for each in CATALOGUE if each.additive}


@by_name
def test_exposed_name_has_the_suffix_of_its_kind(instrument: Instrument) -> None:
    """Counters are exposed with ``_total``, information with ``_info``, the rest plainly."""
    store = Store()
    fill(store)
    page = exposition(store)
    suffix = {"counter": "_total", "info": "_info"}.get(instrument.kind, "")
    assert instrument.exposed_name.endswith(suffix)
    assert suffix or instrument.name == instrument.exposed_name
    shown = {"info": "gauge"}.get(instrument.kind, instrument.kind)
    assert f"# TYPE {instrument.exposed_name} {shown}\n" in page


@by_name
def test_text_and_question_are_sentences(instrument: Instrument) -> None:
    """An instrument says what it measures and which question it answers."""
    assert instrument.text.endswith(".")
    assert instrument.question.endswith("?")


@by_name
def test_every_label_has_a_bound(instrument: Instrument) -> None:
    """The number of series is finite, whatever clients do."""
    assert [] == [each for each in instrument.labels if bound(instrument, each).most < 1]
    assert 1 <= instrument.max_series < 10**6


def test_every_bound_belongs_to_a_label() -> None:
    """The table of bounds has no entry that no instrument uses."""
    used = {
        (label, instrument.name) if (label, instrument.name) in LABELS else (label, "")
        for instrument in CATALOGUE
        for label in instrument.labels
    }
    assert set(LABELS) == used


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_max_series_is_the_product_of_the_bounds(kind: str) -> None:
    """An instrument without labels is one series, one with several the product of theirs."""
    found = {each.name: each.max_series for each in CATALOGUE if each.kind == kind}
    expected = {
        "counter": ("ws_messages", 102 * 2),
        "gauge": ("event_loop_lag_max_seconds", 1),
        "histogram": ("ws_send_duration_seconds", 102),
    }[kind]
    assert expected[1] == found[expected[0]]


@by_name
def test_hostile_load_stays_within_the_bounds(instrument: Instrument, hostile: Store) -> None:
    """500 paths, every close code and 100 exception classes make no more values than stated."""
    seen: dict[str, set[str]] = defaultdict(set)
    points = 0
    for values, _ in instrument.read(hostile):
        points += 1
        for label, value in zip(instrument.labels, values, strict=True):
            seen[label].add(value)
    too_many = {
        label: len(values)
        for label, values in seen.items()
        if len(values) > bound(instrument, label).most
    }
    assert {} == too_many
    assert points <= instrument.max_series


@by_name
def test_hostile_load_yields_only_listed_values(instrument: Instrument, hostile: Store) -> None:
    """A closed set has no other values than the reference lists."""
    open_sets = {"route", "code", "type", "version", "channel", "namespace", "category"}
    for values, _ in instrument.read(hostile):
        for label, value in zip(instrument.labels, values, strict=True):
            listed = re.findall(r"`([^`]+)`", bound(instrument, label).values)
            named = label == "event" and instrument.name.startswith("socketio_")
            assert label in open_sets or named or value in listed


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("ws_connects", "route", 101),
        ("ws_closes", "code", 32),
        ("ws_errors", "type", 21),
        ("ws_fanout_lost", "channel", 51),
        ("socketio_bytes", "namespace", 51),
        ("socketio_events", "event", 101),
        ("socketio_acks", "event", 101),
        ("socketio_room_joins", "category", 21),
    ],
)
def test_hostile_load_reaches_the_bounds(
    hostile: Store, name: str, label: str, expected: int
) -> None:
    """The load is as hostile as it says: open sets are full, and the rest is ``other``."""
    (instrument,) = (each for each in CATALOGUE if each.name == name)
    place = instrument.labels.index(label)
    values = {labels[place] for labels, _ in instrument.read(hostile)}
    assert expected == len(values)
    assert values & {"other", "_other"}


def test_hostile_emits_are_counted_in_a_bounded_number_of_combinations(hostile: Store) -> None:
    """More combinations than count apart are one for each namespace and target."""
    (emits,) = (each for each in CATALOGUE if each.name == "socketio_emits")
    points = list(emits.read(hostile))
    assert 500 < len(points) <= emits.max_series
    assert 1000 * 4 * 2 == sum(value for _, value in points if not isinstance(value, Buckets))


def test_hostile_load_counts_what_it_drops(hostile: Store) -> None:
    """Values that became ``other`` are counted, so that a bound that is too small shows."""
    assert hostile.dropped_labels["route"] > 5000
    # 100 classes, and the RuntimeError before them, of which 20 keep their names; each twice.
    assert (100 - 19) * 2 == hostile.dropped_labels["type"]


def test_unmatched_needs_no_place_of_its_own() -> None:
    """Connections without a route leave all 100 places to the routes; with `other` it is 102."""
    load = Load(Settings(log_handler="off", route=lambda scope: scope["path"]))
    for path in ("unmatched", *(f"/{number}" for number in range(101))):
        load.accepted(path).ended(None, load.tick())
    assert bound(CATALOGUE[0], "route").most == len(load.store.routes)


@pytest.mark.parametrize("instrument", histograms, ids=lambda each: each.name)
def test_histogram_bounds_ascend(instrument: Instrument) -> None:
    """A histogram's upper bounds are positive, finite, and each larger than the one before."""
    bounds = list(instrument.bounds)
    assert sorted(set(bounds)) == bounds
    assert 0 <= bounds[0]
    assert bounds[-1] < float("inf")


@by_name
def test_kind_fits_what_is_read(instrument: Instrument, hostile: Store) -> None:
    """A histogram reads buckets of the bounds that the table states; all others read numbers."""
    values = [value for _, value in instrument.read(hostile)]
    assert values
    for value in values:
        if instrument.kind == "histogram":
            assert isinstance(value, Buckets)
            assert instrument.bounds == tuple(value.bounds)
        else:
            assert isinstance(value, (int, float))
            assert () == instrument.bounds


def test_limit_is_absent_where_none_is_set() -> None:
    """No capacity is no series: zero would say that nobody may connect."""
    assert "\nws_connections_limit " not in exposition(Store())


def bump(numbers: dict[str, int]) -> None:
    """Change every number of a mapping."""
    for key in numbers:
        numbers[key] += 7


#: Attribute of the store -> a change of it that has to show.
STORE_CHANGES: dict[str, Callable[[Store], object]] = {
    "routes": lambda store: store.route("/new"),
    "channels": lambda store: store.channel("news"),
    "limit": lambda store: setattr(store, "limit", 7),
    "node": lambda store: setattr(store, "node", "node-7"),
    "worker": lambda store: setattr(store, "worker", 7),
    "lag": lambda store: store.lag.observe(0.5),
    "lag_max": lambda store: setattr(store, "lag_max", lambda: 0.5),
    "own_errors": lambda store: bump(store.own_errors),
    "dropped_labels": lambda store: bump(store.dropped_labels),
    "transports": lambda store: store.transports.update({"granian": None}),
    "tcp_connections": lambda store: setattr(store, "tcp_connections", {"close_wait": 7}),
    "unexpected": lambda store: store.unexpected.update({("open", "accept"): 7}),
    "scrape_seconds": lambda store: setattr(store, "scrape_seconds", 0.5),
    "socketio": fill,
}
#: Not exposed: what serves to enforce a limit, and what the shell keeps here.
UNEXPOSED = {"answers", "live", "push", "runtime", "span_bucket", "started"}
ROUTE_CHANGES: dict[str, Callable[[RouteNumbers], object]] = {
    "active": lambda numbers: setattr(numbers, "active", 7),
    "connects": lambda numbers: setattr(numbers, "connects", 7),
    "closes": lambda numbers: numbers.closes.update({("4xxx", "client", "application"): 7}),
    "failures": lambda numbers: bump(numbers.failures),
    "errors": lambda numbers: numbers.errors.update({"ValueError": 7}),
    "handshake": lambda numbers: numbers.handshake.observe(0.5),
    "duration": lambda numbers: numbers.duration.observe(0.5),
    "handler": lambda numbers: numbers.handler.observe(0.5),
    "send": lambda numbers: numbers.send.observe(0.5),
    "rtt": lambda numbers: numbers.rtt.observe(0.5),
    "rtt_paused": lambda numbers: numbers.rtt_paused.observe(0.5),
    "tcp_rtt": lambda numbers: numbers.tcp_rtt.observe(0.5),
    "buffer": lambda numbers: numbers.buffer.observe(77),
    "heartbeat_timeouts": lambda numbers: setattr(numbers, "heartbeat_timeouts", 7),
    "wire_in": lambda numbers: setattr(numbers, "wire_in", 7),
    "wire_out": lambda numbers: setattr(numbers, "wire_out", 7),
    "look": lambda numbers: setattr(numbers, "look", FOUND),
    "size_in": lambda numbers: numbers.size_in.observe(77),
    "size_out": lambda numbers: numbers.size_out.observe(77),
}
CHANNEL_CHANGES: dict[str, Callable[[FanoutNumbers], object]] = {
    "published": lambda numbers: bump(numbers.published),
    "publish": lambda numbers: numbers.publish.observe(0.5),
    "delivered": lambda numbers: setattr(numbers, "delivered", 7),
    "lag": lambda numbers: numbers.lag["own"].observe(0.5),
    "recipients": lambda numbers: numbers.recipients.observe(7),
    "delivery": lambda numbers: numbers.delivery.observe(0.5),
    "dropped": lambda numbers: bump(numbers.dropped),
    "lost": lambda numbers: setattr(numbers, "lost", 7),
    "outbox": lambda numbers: setattr(numbers, "outbox", 7),
    "listener_up": lambda numbers: setattr(numbers, "listener_up", 1),
    "reconnects": lambda numbers: setattr(numbers, "reconnects", 7),
    "probe_age": lambda numbers: setattr(numbers, "probe_age", lambda: 0.5),
}


def test_every_attribute_of_the_store_is_tested() -> None:
    """A new number is exposed, and has a line here that shows it."""
    attributes = {name for name in vars(Store()) if not name.startswith("_")}
    assert attributes == set(STORE_CHANGES) | UNEXPOSED
    assert set(RouteNumbers.__slots__) == set(ROUTE_CHANGES) | {"label"}
    assert set(FanoutNumbers.__slots__) == set(CHANNEL_CHANGES) | {"label"}


@pytest.mark.parametrize("name", STORE_CHANGES)
def test_change_of_the_store_shows(name: str) -> None:
    """Every number of the store is read by some instrument."""
    store = Store()
    before = exposition(store)
    STORE_CHANGES[name](store)
    assert before != exposition(store)


@pytest.mark.parametrize("name", ROUTE_CHANGES)
def test_change_of_a_route_shows(name: str) -> None:
    """Every number of a route is read by some instrument, with the route's label."""
    store = Store()
    numbers = store.route("/rooms/{room}")
    before = exposition(store).splitlines()
    ROUTE_CHANGES[name](numbers)
    changed = set(exposition(store).splitlines()) - set(before)
    assert changed
    assert all('route="/rooms/{room}"' in line for line in changed)


@pytest.mark.parametrize("name", CHANNEL_CHANGES)
def test_change_of_a_channel_shows(name: str) -> None:
    """Every number of a channel is read by some instrument, with the channel's label."""
    store = Store()
    numbers = store.channel("room:{id}")
    before = exposition(store).splitlines()
    CHANNEL_CHANGES[name](numbers)
    changed = set(exposition(store).splitlines()) - set(before)
    assert changed
    assert all('channel="room:{id}"' in line for line in changed)


#: Gauge of the last look, with its direction where it has one -> what the two looks show.
LOOKED: dict[tuple[str, ...], tuple[float, float]] = {
    ("ws_send_buffer_current_bytes",): (7000, 0),
    ("ws_send_buffer_max_bytes",): (5000, 0),
    ("ws_slow_connections",): (2, 0),
    ("ws_queue_depth", "in"): (30, 0),
    ("ws_queue_depth_max", "in"): (20, 0),
    ("ws_queue_depth", "out"): (6, 0),
    ("ws_queue_depth_max", "out"): (4, 0),
    ("ws_send_waiting_max_seconds",): (0.75, 0.0),
}
#: What the shell counts itself, whatever the server.
ALWAYS = {"ws_send_waiting_max_seconds", "out"}


@pytest.mark.parametrize("key", LOOKED, ids="-".join)
def test_gauge_of_a_look_is_absent_until_one_has_found_a_number(key: tuple[str, ...]) -> None:
    """Zero would say that nobody is slow, where nobody knows; after a look it says so."""
    store = Store()
    numbers = store.route("/ws")
    (instrument,) = (each for each in CATALOGUE if each.name == key[0])

    def shown() -> float | Buckets | None:
        return dict(instrument.read(store)).get(("/ws", *key[1:]))

    seen = [shown()]
    for look in (FOUND, EMPTY, Look()):
        numbers.look = look
        seen.append(shown())

    unknown = 0 if key[-1] in ALWAYS else None
    assert [unknown, *LOOKED[key], unknown] == seen


def test_every_number_of_a_look_shows() -> None:
    """A number that is added has a gauge."""
    assert len(Look._fields) == len(LOOKED)
    assert set(FOUND) == {found for found, _ in LOOKED.values()}


def test_sockets_are_absent_until_they_were_counted() -> None:
    """Where the system does not tell there is nothing, and a zero is a count."""
    store = Store()
    before = exposition(store)
    store.tcp_connections = {"established": 3, "close_wait": 0}
    after = exposition(store)

    assert "ws_tcp_connections{" not in before
    assert 'ws_tcp_connections{state="established"} 3.0' in after
    assert 'ws_tcp_connections{state="close_wait"} 0.0' in after


def test_wire_bytes_have_both_directions() -> None:
    """In is what clients sent."""
    store = Store()
    numbers = store.route("/ws")
    numbers.wire_in, numbers.wire_out = 300, 20

    page = exposition(store)
    assert 'ws_wire_bytes_total{direction="in",route="/ws"} 300.0' in page
    assert 'ws_wire_bytes_total{direction="out",route="/ws"} 20.0' in page


@pytest.mark.parametrize(
    ("transports", "shown"),
    [([], ["none"]), (["granian"], ["granian"]), (["unknown", "daphne"], ["unknown", "daphne"])],
)
def test_version_and_servers_are_shown(transports: list[str], shown: list[str]) -> None:
    """The library's version and each kind of server are labels of a constant 1."""
    store = Store()
    store.transports = dict.fromkeys(transports)

    expected = r'^ws_observe_info\{transport="([a-z-]+)",version="\d+\.\d+\.\d+"\} 1\.0$'
    assert shown == re.findall(expected, exposition(store), re.M)
