"""Plain numbers: histograms, routes, and what is bounded."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe import store as module
from asgi_ws_observe.close_codes import REASONS, CloseCodes
from asgi_ws_observe.store import (
    BOUNDED_LABELS,
    HANDSHAKE_FAILURES,
    MAX_ERROR_TYPES,
    SEND_BOUNDS,
    TRANSPORTS,
    RouteNumbers,
    Store,
)

BOUNDS = [getattr(module, name) for name in module.__all__ if name.endswith("_BOUNDS")]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_bounds_ascend_and_are_finite(bounds: tuple[float, ...]) -> None:
    """Bisection needs the order; infinity is the bucket above."""
    assert list(bounds) == sorted(set(bounds))
    assert all(0 <= bound < math.inf for bound in bounds)


def test_empty_write_buffers_have_a_bucket_of_their_own() -> None:
    """Most are empty, and one byte that waits is worth telling apart."""
    assert (0.0, 16384.0) == module.BUFFER_BOUNDS[:2]
    assert [0.0] == [bound for bounds in BOUNDS for bound in bounds if not bound]


def test_round_trips_are_seen_as_far_as_the_timeout_of_uvicorn() -> None:
    """What takes longer than its 20 s is no round trip any more."""
    assert 20.0 == module.RTT_BOUNDS[-1]


def test_backpressure_is_seen_longer_than_handlers() -> None:
    """uvicorn lets a `send` wait for ever."""
    assert 30.0 == SEND_BOUNDS[-1]


def test_new_route_has_zeros_for_what_dashboards_ask() -> None:
    """`rate()` works from the first close on, and every failure has its series."""
    numbers = RouteNumbers("/ws")

    assert {0} == set(numbers.closes.values()) == set(numbers.failures.values())
    assert set(HANDSHAKE_FAILURES) == set(numbers.failures)
    for code, closed_by, reason in numbers.closes:
        assert code in CloseCodes().labels
        assert closed_by in ("client", "server", "network", "unknown")
        assert reason in REASONS


def test_route_keeps_its_numbers() -> None:
    """The same label is the same object, another one another."""
    store = Store()

    first = store.route("/ws")

    assert first is store.route("/ws")
    assert first is not store.route("/other")
    assert ["/ws", "/other"] == [numbers.label for numbers in store.routes.values()]


def test_too_many_templates_become_other() -> None:
    """The dropped ones are counted, and the known ones stay."""
    store = Store()

    labels = [store.route(f"/{place}", 2).label for place in (0, 1, 2, 3, 0)]

    assert ["/0", "/1", "other", "other", "/0"] == labels
    assert 2 == store.dropped_labels["route"]
    assert store.route("/2", 2) is store.route("/3", 2)


def test_collective_labels_use_up_no_place() -> None:
    """Neither scanners nor the dropped templates push the real ones out."""
    store = Store()
    for template in ("unmatched", "other"):
        store.route(template, 1)

    labels = [store.route(template, 1).label for template in ("/a", "/b", "unmatched")]

    assert ["/a", "other", "unmatched"] == labels


def test_template_is_made_harmless() -> None:
    """As text that is equal once it is clean, it is the same route."""
    store = Store()

    assert r"/a\nb" == store.route("/a\nb", 1).label
    assert store.route("/a\nb", 1) is store.route(r"/a\nb", 1)
    assert 0 == store.dropped_labels["route"]


@given(templates=st.lists(st.text(st.characters(exclude_categories=()))), most=st.integers(1, 5))
def test_any_templates_make_no_more_routes_than_the_limit(templates: list[str], most: int) -> None:
    """And each is counted somewhere."""
    store = Store()
    for template in templates:
        store.route(template, most).connects += 1

    assert len(store.routes.keys() - {"other", "unmatched"}) <= most
    assert len(templates) == sum(numbers.connects for numbers in store.routes.values())


def test_threads_that_ask_at_once_get_the_same_numbers() -> None:
    """A route is made once, whoever comes first."""
    store, found = Store(), set()
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait(timeout=10)
        found.add(id(store.route("/ws")))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {id(store.route("/ws"))} == found


def test_new_store_is_empty() -> None:
    """Nothing is shared between stores."""
    used, store = Store(), Store()
    used.route("/ws").closes["1000", "client", "normal"] += 1
    used.own_errors["record"] += 1
    used.count_drop("route")
    used.unexpected["open", "accept"] = 1

    assert ({}, {}, 0, 0.0) == (store.routes, store.unexpected, store.live, store.lag_max())
    assert {0} == set(store.own_errors.values()) == set(store.dropped_labels.values())
    assert 0 == store.route("/ws").closes["1000", "client", "normal"]
    assert (None, None, None) == (store.limit, store.node, store.tcp_connections)
    assert {} == store.transports


def test_new_route_was_not_looked_at() -> None:
    """What nobody has found is no number; what the shell itself counts is zero."""
    assert (*(None,) * 5, 0, 0, 0.0) == RouteNumbers("/ws").look


def test_transports_have_a_name_each() -> None:
    """The label is a closed set, and an unknown server is in it."""
    assert len(set(TRANSPORTS)) == len(TRANSPORTS)
    assert "unknown" in TRANSPORTS


def test_errors_are_counted_by_type_and_route() -> None:
    """The type is the class's name, without its module."""
    store = Store()
    numbers = store.route("/ws")

    kinds = [store.count_error(numbers, error) for error in (ValueError(), KeyError(), KeyError())]

    assert ["ValueError", "KeyError", "KeyError"] == kinds
    assert {"ValueError": 1, "KeyError": 2} == numbers.errors
    assert {} == store.route("/other").errors


def test_too_many_types_of_error_become_other() -> None:
    """Classes made at run time do not fill the label; the ones dropped are counted."""
    store = Store()
    numbers = store.route("/ws")

    for number in range(MAX_ERROR_TYPES + 5):
        store.count_error(numbers, type(f"Error{number}", (Exception,), {})())

    assert MAX_ERROR_TYPES + 1 == len(numbers.errors)
    assert 5 == numbers.errors["other"] == store.dropped_labels["type"]


def test_dropped_labels_are_counted_by_label() -> None:
    """Who raises the limit wants to know which."""
    store = Store()

    store.count_drop("route")

    expected = dict.fromkeys(BOUNDED_LABELS, 0) | {"route": 1}
    assert expected == store.dropped_labels
