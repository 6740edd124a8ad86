"""The filter for whole messages: what it keeps, drops, holds and forgets."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, AlwaysRecordSampler, Sampler
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from asgi_ws_observe import (
    MissingExtraError,
    Settings,
    SettingsError,
    WebSocketObserveMiddleware,
    current_message,
)
from asgi_ws_observe.tracing.slow import SlowMessageProcessor
from tests.support import ACCEPT, CONNECT, Server, disconnect, scope, text

SECOND = 1_000_000_000


class Filtered:
    """A provider behind the filter, and what came through."""

    def __init__(
        self, sampler: Sampler = ALWAYS_ON, *, head_ratio: float | None = 0.0, **arguments: Any
    ) -> None:
        self.exporter = InMemorySpanExporter()
        behind = SimpleSpanProcessor(self.exporter)
        self.filter = SlowMessageProcessor(behind, head_ratio=head_ratio, **arguments)
        self.provider = TracerProvider(sampler=sampler)
        self.provider.add_span_processor(self.filter)
        self.tracer: Tracer = self.provider.get_tracer("asgi_ws_observe")
        self.other: Tracer = self.provider.get_tracer("the application")

    def message(self, began: int = 0, parent: Span | None = None) -> Span:
        """Start a message's span."""
        return self.tracer.start_span(
            "ws.message",
            Context() if parent is None else set_span_in_context(parent),
            SpanKind.CONSUMER,
            start_time=began,
        )

    def below(self, parent: Span, name: str = "work") -> Span:
        """Start a span of the handler's."""
        return self.other.start_span(name, set_span_in_context(parent))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """What came through, in order."""
        return self.exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [span.name for span in self.spans]


@pytest.fixture
def filtered() -> Iterator[Filtered]:
    """A filter that keeps nothing by chance."""
    given = Filtered()
    yield given
    given.provider.shutdown()


def test_fast_message_goes_with_all_below_it(filtered: Filtered) -> None:
    """Nothing of it reaches the exporter, and nothing is held."""
    message = filtered.message()
    work = filtered.below(message)
    filtered.below(work, "query").end()
    work.end()
    message.end(SECOND - 1)
    assert [] == filtered.names
    assert (0, 0) == (filtered.filter.held, filtered.filter.dropped)


def test_slow_message_keeps_all_below_it(filtered: Filtered) -> None:
    """What waited comes first, then the message itself."""
    message = filtered.message()
    work = filtered.below(message)
    filtered.below(work, "query").end()
    work.end()
    assert 2 == filtered.filter.held
    assert [] == filtered.names
    message.end(SECOND)
    assert ["query", "work", "ws.message"] == filtered.names
    assert 0 == filtered.filter.held


@pytest.mark.parametrize("failing", ["message", "work"])
def test_failed_message_is_kept(filtered: Filtered, failing: str) -> None:
    """An error of the message, or of anything below it, keeps the whole."""
    message = filtered.message()
    work = filtered.below(message)
    {"message": message, "work": work}[failing].set_status(StatusCode.ERROR)
    work.end()
    message.end(1)
    assert ["work", "ws.message"] == filtered.names


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, ["work", "ws.message"]), (0.0, [])])
def test_head_ratio_decides_for_the_whole_message(ratio: float, expected: list[str]) -> None:
    """A share is kept whatever becomes of it."""
    filtered = Filtered(head_ratio=ratio)
    message = filtered.message()
    filtered.below(message).end()
    message.end(1)
    assert expected == filtered.names


def test_head_ratio_keeps_about_its_share() -> None:
    """Of many messages about that many are kept."""
    filtered = Filtered(head_ratio=0.25)
    for _ in range(2000):
        filtered.message().end(1)
    # Nine standard deviations: this fails for no random numbers.
    assert 325 < len(filtered.names) < 675


@pytest.mark.parametrize(("ended", "expected"), [(1, []), (SECOND, ["work", "ws.message"])])
def test_message_that_was_only_recorded_is_exported_if_it_is_kept(
    ended: int, expected: list[str]
) -> None:
    """A sampler that records everything lets exporters have what it chose itself; this has more."""
    filtered = Filtered(AlwaysRecordSampler(ALWAYS_OFF), head_ratio=None)
    message = filtered.message()
    filtered.below(message).end()
    message.end(ended)
    filtered.tracer.start_span("ws.upgrade").end()
    assert expected == filtered.names
    assert all(span.context and span.context.trace_flags.sampled for span in filtered.spans)
    assert not message.get_span_context().trace_flags.sampled


def test_message_that_the_sampler_chose_is_kept() -> None:
    """Fast, and without an error."""
    filtered = Filtered(AlwaysRecordSampler(ALWAYS_ON), head_ratio=None)
    message = filtered.message()
    filtered.below(message).end()
    message.end(1)
    assert ["work", "ws.message"] == filtered.names


def test_what_belongs_to_no_message_passes_at_once(filtered: Filtered) -> None:
    """The connection's span, and others that only look like a message."""
    upgrade = filtered.tracer.start_span("ws.upgrade", kind=SpanKind.SERVER)
    filtered.below(upgrade).end()
    filtered.other.start_span("ws.message", kind=SpanKind.CONSUMER).end()
    filtered.tracer.start_span("ws.message").end()
    filtered.tracer.start_span("redis.deliver", kind=SpanKind.CONSUMER).end()
    upgrade.end()
    assert ["work", "ws.message", "ws.message", "redis.deliver", "ws.upgrade"] == filtered.names


@pytest.mark.parametrize(
    ("ended", "expected"), [(1, []), (SECOND, ["ws.message", "late", "later"])]
)
def test_work_that_outlives_its_message_shares_its_fate(
    filtered: Filtered, ended: int, expected: list[str]
) -> None:
    """Spans that end, and spans that begin, after the message was decided on."""
    message = filtered.message()
    late = filtered.below(message, "late")
    message.end(ended)
    late.end()
    filtered.below(message, "later").end()
    assert expected == filtered.names
    assert 0 == filtered.filter.held


def test_message_below_another_one_is_decided_alone(filtered: Filtered) -> None:
    """Each message's span is the root of what is below it."""
    outer = filtered.message()
    inner = filtered.message(parent=outer)
    filtered.below(inner).end()
    inner.end(SECOND)
    outer.end(1)
    assert ["work", "ws.message"] == filtered.names


def test_span_of_a_remote_parent_passes(filtered: Filtered) -> None:
    """A parent that this process has not."""
    remote = TracerProvider().get_tracer("elsewhere").start_span("remote")
    filtered.below(remote).end()
    assert ["work"] == filtered.names


def test_one_message_cannot_take_all_memory() -> None:
    """What it has above its own bound is dropped and counted; others are not harmed."""
    filtered = Filtered(max_spans=5, max_spans_per_message=3)
    stuck, other = filtered.message(), filtered.message()
    for number in range(10):
        filtered.below(stuck, f"stuck {number}").end()
    filtered.below(other).end()
    other.end(SECOND)
    stuck.end(SECOND)
    assert ["work", "ws.message", "stuck 0", "stuck 1", "stuck 2", "ws.message"] == filtered.names
    assert (0, 7) == (filtered.filter.held, filtered.filter.dropped)


def test_all_messages_together_are_bounded() -> None:
    """However many messages are worked on, no more spans wait than that."""
    filtered = Filtered(max_spans=4)
    messages = [filtered.message() for _ in range(10)]
    for message in messages:
        filtered.below(message).end()
    assert (4, 6) == (filtered.filter.held, filtered.filter.dropped)
    for message in messages:
        message.end(SECOND)
    assert 10 == filtered.names.count("ws.message")


def test_span_that_is_never_ended_is_forgotten(filtered: Filtered) -> None:
    """A message whose span is lost frees what waited for it."""
    message = filtered.message()
    filtered.below(message).end()
    assert 1 == filtered.filter.held
    del message
    gc.collect()
    assert 0 == filtered.filter.held
    assert [] == filtered.names


def test_shutdown_passes_on_what_is_slow_already() -> None:
    """The others are lost with the process."""
    filtered = Filtered()
    slow, fast = filtered.message(time.time_ns() - 2 * SECOND), filtered.message(time.time_ns())
    filtered.below(slow, "slow").end()
    filtered.below(fast, "fast").end()
    filtered.provider.shutdown()
    assert ["slow"] == filtered.names


def test_flush_reaches_the_processor_behind() -> None:
    """And answers what it answers."""
    flushed: list[int] = []

    class Behind(SimpleSpanProcessor):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            flushed.append(timeout_millis)
            return False

    assert not SlowMessageProcessor(Behind(InMemorySpanExporter())).force_flush(7)
    assert [7] == flushed


@pytest.mark.parametrize(
    ("name", "value"),
    [("slow_seconds", -1), ("head_ratio", 1.1), ("max_spans", -1), ("max_spans_per_message", -1)],
)
def test_wrong_argument_is_named(name: str, value: Any) -> None:
    """Before anything runs."""
    with pytest.raises(SettingsError, match=rf"SlowMessageProcessor\.{name}: got {value}"):
        SlowMessageProcessor(SimpleSpanProcessor(InMemorySpanExporter()), **{name: value})


async def test_slow_message_of_a_connection_comes_with_its_handlers_spans() -> None:
    """Through the middleware: of two messages the slow one is there, whole."""
    filtered = Filtered(slow_seconds=0.05)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while (message := await receive())["type"] == "websocket.receive":
            current_message().type = said = message["text"]
            with filtered.other.start_as_current_span(f"work on {said}"):
                await asyncio.sleep(0.06 if said == "slow" else 0)

    server = Server([CONNECT, text("fast"), text("slow"), text("fast"), disconnect()])
    observed = WebSocketObserveMiddleware(
        app,
        settings=Settings(log_handler="off", message_spans="all"),
        registry=CollectorRegistry(),
        tracer_provider=filtered.provider,
    )
    await observed(scope(), server.receive, server.send)
    assert ["work on slow", "ws.message slow", "ws.upgrade"] == filtered.names
    work, message, _ = filtered.spans
    assert message.context is not None
    assert work.parent == message.context


def test_missing_sdk_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK, the import says what to install."""
    monkeypatch.delitem(sys.modules, "asgi_ws_observe.tracing.slow")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'asgi-ws-observe\[otlp\]'"):
        importlib.import_module("asgi_ws_observe.tracing.slow")
