"""The lists of a span that stays open: they come when somebody needs them."""

from __future__ import annotations

import copy
import sys
import threading
import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import Link, SpanContext, TraceFlags

from asgi_ws_observe.tracing.slim import slim
from tests.support import Spans

IDENTITY = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))


def started(spans: Spans, **arguments: Any) -> Any:
    """Return a span of the SDK."""
    return spans.provider.get_tracer("test").start_span("a", **arguments)


def exported(spans: Spans) -> tuple[list[str], list[int], int, int]:
    """Return the only span's events, links, and how many of each were dropped."""
    (span,) = spans.all()
    return (
        [event.name for event in span.events],
        [link.context.trace_id for link in span.links],
        span.dropped_events,
        span.dropped_links,
    )


def nothing(span: Any) -> None:
    """Leave a span as it is."""


@pytest.mark.parametrize("act", [slim, nothing])
def test_span_has_what_was_added(act: Callable[[Any], None], spans: Spans) -> None:
    """Events, links and an exception, as in a span that was left alone."""
    span = started(spans)
    act(span)
    span.add_event("one")
    span.add_link(IDENTITY)
    span.record_exception(ValueError("two"))
    span.end()

    assert (["one", "exception"], [1], 0, 0) == exported(spans)


@pytest.mark.parametrize("act", [slim, nothing])
def test_limits_hold(act: Callable[[Any], None]) -> None:
    """The oldest are dropped, and counted."""
    spans = Spans(span_limits=SpanLimits(max_events=2, max_links=1))
    span = started(spans)
    act(span)
    for number in range(5):
        span.add_event(str(number))
        span.add_link(IDENTITY)
    span.end()

    assert (["3", "4"], [1], 3, 4) == exported(spans)


def test_span_without_any_is_exported(spans: Spans) -> None:
    """Reading makes nothing of nothing."""
    span = started(spans)
    slim(span)
    span.end()

    assert ([], [], 0, 0) == exported(spans)
    assert "[]" in spans.all()[0].to_json()
    assert 0 == len(copy.deepcopy(span._events))
    assert repr(span._links).endswith("([], maxlen=128)")


def test_what_a_span_has_already_stays(spans: Spans) -> None:
    """Links of the start, and an event before."""
    span = started(spans, links=[Link(IDENTITY)])
    span.add_event("before")
    slim(span)
    span.end()

    assert (["before"], [1], 0, 0) == exported(spans)


def test_open_span_holds_less(spans: Spans) -> None:
    """More than a kibibyte of it is for lists that are nearly always empty."""

    def held(act: Callable[[Any], None]) -> int:
        kept = []
        tracemalloc.start()
        for _ in range(100):
            kept.append(started(spans))
            act(kept[-1])
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size // len(kept)

    held(slim)
    assert held(slim) < held(nothing) - 1024


def test_threads_that_add_at_once_lose_nothing(spans: Spans) -> None:
    """Also the one that only looks makes the list."""
    span = started(spans)
    slim(span)
    go = threading.Barrier(4)

    def add() -> None:
        go.wait()
        len(span._events)
        span.add_event("a")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    span.end()

    assert ["a"] * 4 == exported(spans)[0]


def test_other_list_of_another_sdk_is_left_alone(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has more than is known here, and an SDK without it."""
    span = started(spans)
    span._events.more = True
    before = (span._events, span._links)
    slim(span)
    after = (span._events, span._links)
    assert (True, False) == tuple(one is two for one, two in zip(before, after, strict=True))

    another = started(spans)
    before = (another._events, another._links)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.util", SimpleNamespace())
    slim(another)
    assert before == (another._events, another._links)
    assert before[0] is another._events


def test_span_that_is_not_the_sdks_is_left_alone() -> None:
    """It has no lists."""
    span = trace.NonRecordingSpan(IDENTITY)
    slim(span)
    assert not hasattr(span, "_events")


def test_list_has_no_other_new_attribute(spans: Spans) -> None:
    """Only the container is made late."""
    span = started(spans)
    slim(span)
    with pytest.raises(AttributeError, match="unheard_of"):
        span._events.unheard_of  # noqa: B018
