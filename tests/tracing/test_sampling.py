"""Messages are sampled as the provider's sampler says, by whichever way it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, NoOpTracer, SpanContext, TraceFlags, TraceState

from asgi_ws_observe.tracing.sampling import for_sampled_children
from tests.support import Spans, disconnect, text
from tests.tracing.test_spans import echo, observe, run


class EverySecond(Sampler):
    """Say yes to every second message, and note what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        self.asked.append(str(kwargs["name"] if "name" in kwargs else args[2]))
        yes = len(self.asked) % 2 == 1
        return SamplingResult(Decision.RECORD_AND_SAMPLE if yes else Decision.DROP)

    def get_description(self) -> str:
        return "EverySecond"


def delegate(sampler: Sampler) -> Sampler:
    """Return who decides on children of a sampled span."""
    tracer: Any = for_sampled_children(TracerProvider(sampler=sampler).get_tracer("test"))
    found: Sampler = tracer.sampler
    return found


def test_default_sampler_needs_not_be_asked_by_its_rules() -> None:
    """`ParentBased` asks one other sampler for all children of a sampled span."""
    every_second = EverySecond()
    assert every_second is delegate(ParentBased(ALWAYS_ON, local_parent_sampled=every_second))


def test_other_samplers_are_asked_themselves() -> None:
    """Also one that is derived from the default, and might decide otherwise."""

    class Own(ParentBased):
        pass

    for sampler in (TraceIdRatioBased(0.5), ALWAYS_OFF, Own(ALWAYS_ON), EverySecond()):
        assert sampler is delegate(sampler)


def test_tracer_of_somebody_else_is_itself() -> None:
    """A tracer that has no sampler."""
    tracer = NoOpTracer()
    assert tracer is for_sampled_children(tracer)


def test_tracer_of_the_provider_is_left_alone() -> None:
    """The one that the application may have as well."""
    sampler = ParentBased(ALWAYS_OFF)
    tracer: Any = TracerProvider(sampler=sampler).get_tracer("test")
    assert tracer is not for_sampled_children(tracer)
    assert sampler is tracer.sampler


@pytest.mark.parametrize("parent_based", [True, False])
async def test_sampler_decides_on_every_message(parent_based: bool) -> None:
    """The way it is asked does not change what is asked, nor what is exported."""
    sampler = EverySecond()
    used = ParentBased(ALWAYS_ON, local_parent_sampled=sampler) if parent_based else sampler
    spans = Spans(sampler=used)
    messages = [text(f"{number}") for number in range(4)]
    await run(observe(echo, spans.provider), *messages, disconnect())
    asked = [name for name in sampler.asked if name == "ws.message"]
    assert 4 == len(asked)
    assert 2 == len(spans.named("ws.message"))


@pytest.mark.parametrize("given", [None, {"key": "value"}])
@pytest.mark.parametrize("used", [ParentBased(ALWAYS_OFF), ALWAYS_ON])
def test_sampler_that_always_says_yes_gives_the_same_answer(used: Sampler, given: Any) -> None:
    """With the trace state of each parent, and with the attributes that it was asked with."""
    sampler = delegate(used)
    assert sampler is not ALWAYS_ON
    for state in ("a", "a", "b", "a"):
        flags, states = TraceFlags(1), TraceState([("vendor", state)])
        parent = NonRecordingSpan(SpanContext(7, 8, False, flags, states))
        context = trace.set_span_in_context(parent)
        for attributes in (given, None):
            mine = sampler.should_sample(context, 7, "ws.message", None, attributes)
            theirs = ALWAYS_ON.should_sample(context, 7, "ws.message", None, attributes)
            assert vars(theirs) == vars(mine)


async def test_trace_state_of_the_connection_reaches_its_messages() -> None:
    """That of each, though one sampler answers for all."""
    spans = Spans()
    app = observe(echo, spans.provider)
    for state in ("a=1", "b=2", "a=1"):
        headers = [
            (b"traceparent", f"00-{7:032x}-{8:016x}-01".encode()),
            (b"tracestate", state.encode()),
        ]
        await run(app, text("x"), text("y"), disconnect(), headers=headers)
    states = [
        span.context.trace_state.to_header() for span in spans.named("ws.message") if span.context
    ]
    assert ["a=1", "a=1", "b=2", "b=2", "a=1", "a=1"] == states


async def test_message_of_a_client_that_is_believed_is_asked_for_by_the_rules() -> None:
    """Its parent is remote, and not sampled: the default sampler says no."""
    spans = Spans(sampler=ParentBased(ALWAYS_ON))
    parent = f"00-{trace.format_trace_id(7)}-{trace.format_span_id(8)}"
    messages = [text(f'{{"type":"a","traceparent":"{parent}-0{flag}"}}') for flag in (0, 1)]
    await run(observe(echo, spans.provider, trust="parent"), *messages, disconnect())
    (message,) = spans.named("ws.message")
    assert message.context is not None
    assert (7, 1) == (message.context.trace_id, message.context.trace_flags & 1)
