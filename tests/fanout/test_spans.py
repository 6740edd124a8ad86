"""The spans of publishing and delivering: one trace, and nobody else's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current, get_value
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from asgi_ws_observe.fanout.channel import FanoutChannel
from asgi_ws_observe.fanout.spans import FANOUT_ATTRIBUTES, silently
from tests.fanout.conftest import Make
from tests.fanout.memory import Bus, MemoryBroker
from tests.fanout.test_channel import take
from tests.support import Spans


def one(spans: Spans, name: str) -> ReadableSpan:
    """Return the only span of a name."""
    (found,) = spans.named(name)
    return found


def ids(span: ReadableSpan) -> tuple[int, int]:
    """Return the trace and the span of a span."""
    return span.context.trace_id, span.context.span_id


async def publish_and_take(channel: FanoutChannel, spans: Spans, **then: Any) -> None:
    """Publish inside a span of the application's, and work on the delivery inside another's."""
    tracer = spans.provider.get_tracer("application")
    async with channel.subscribe("rooms") as deliveries:
        with tracer.start_as_current_span("handler"):
            await channel.publish("rooms", "hello")
        with tracer.start_as_current_span("whoever listens"):
            (delivery,) = await take(deliveries)
            with delivery:
                for name, value in then.items():
                    setattr(delivery, name, value)
                tracer.start_span("send").end()
            assert "whoever listens" == getattr(trace.get_current_span(), "name", None)


async def test_delivery_is_in_the_trace_of_the_publisher(make: Make, spans: Spans) -> None:
    """From the handler over the broker to what the delivery does, whoever listens."""
    await publish_and_take(make(), spans, recipients=3)
    handler, publish, deliver, send = (
        one(spans, name) for name in ("handler", "memory.publish", "ws.deliver", "send")
    )
    assert {ids(handler)[0]} == {ids(each)[0] for each in (publish, deliver, send)}
    parents = [each.parent.span_id for each in (publish, deliver, send) if each.parent]
    assert [ids(handler)[1], ids(publish)[1], ids(deliver)[1]] == parents
    assert (SpanKind.PRODUCER, SpanKind.CONSUMER) == (publish.kind, deliver.kind)


async def test_attributes_say_what_went_where(make: Make, spans: Spans) -> None:
    """OpenTelemetry's names of messaging, and ours beside them."""
    channel = make(name="chat", label=lambda _: "room:{id}")
    await publish_and_take(channel, spans, recipients=3)
    publish, deliver = one(spans, "memory.publish"), one(spans, "ws.deliver")
    common = {
        "messaging.system": "memory",
        "messaging.destination.name": "rooms",
        "ws.fanout.channel": "room:{id}",
        "ws.fanout.publisher": channel.counters.id,
    }
    found: dict[str, Any] = dict(publish.attributes or {})
    assert 100 < found.pop("messaging.message.body.size") < 300
    assert found == {
        **common,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "ws.fanout.subscribers": 1,
    }
    found = dict(deliver.attributes or {})
    assert 100 < found.pop("messaging.message.body.size") < 300
    assert 0 <= found.pop("ws.fanout.lag") < 10
    assert found == {
        **common,
        "messaging.operation.name": "deliver",
        "messaging.operation.type": "process",
        "messaging.message.id": "7",
        "ws.fanout.origin": "own",
        "ws.fanout.recipients": 3,
    }


async def test_every_attribute_is_in_the_reference(make: Make, bus: Bus, spans: Spans) -> None:
    """And nothing is there that no span has."""
    channel = make(keeps=True)
    await publish_and_take(channel, spans, recipients=3)
    bus.problem = OSError("gone")
    await channel.publish("rooms", "late")
    bus.problem = None
    with pytest.raises(TypeError):
        await channel.publish("rooms", object())
    names = [name for span in spans.all() for name in span.attributes or {}]
    assert set(FANOUT_ATTRIBUTES) == set(names)


async def test_link_leaves_the_delivery_a_trace_of_its_own(make: Make, spans: Spans) -> None:
    """The publisher is linked."""
    await publish_and_take(make(trace="link"), spans)
    publish, deliver = one(spans, "memory.publish"), one(spans, "ws.deliver")
    assert deliver.parent is None
    (link,) = deliver.links
    assert ids(publish) == (link.context.trace_id, link.context.span_id)


async def test_no_spans_where_they_are_off(make: Make, spans: Spans) -> None:
    """The trace context goes over the broker all the same."""
    channel = make(trace="off")
    await publish_and_take(channel, spans)
    assert [] == spans.named("memory.publish") + spans.named("ws.deliver")


async def test_no_spans_without_an_sdk(bus: Bus, registry: CollectorRegistry) -> None:
    """Everything else works."""
    channel = FanoutChannel(MemoryBroker(bus), registry=registry)
    async with channel, channel.subscribe("rooms") as deliveries:
        await channel.publish("rooms", "hello")
        (delivery,) = await take(deliveries)
        with delivery:
            assert trace.INVALID_SPAN is trace.get_current_span()
    assert delivery.envelope.context is None


async def test_delivery_of_no_publishers_span_is_a_root(make: Make, bus: Bus, spans: Spans) -> None:
    """A payload without a context, whoever listens and whatever is current there."""
    channel = make()
    async with channel.subscribe("rooms") as deliveries:
        bus.deliver("rooms", b"hello")
        with spans.provider.get_tracer("application").start_as_current_span("somebody"):
            (delivery,) = await take(deliveries)
            with delivery:
                pass
    found = one(spans, "ws.deliver")
    assert found.parent is None
    assert {"ws.fanout.publisher", "ws.fanout.lag"}.isdisjoint(found.attributes or {})


async def test_unsampled_publisher_has_an_unsampled_delivery(
    bus: Bus, registry: CollectorRegistry
) -> None:
    """Its decision goes with the message."""
    unsampled, sampled = Spans(sampler=ALWAYS_OFF), Spans()
    here = FanoutChannel(MemoryBroker(bus), registry=registry, tracer_provider=unsampled.provider)
    there = FanoutChannel(MemoryBroker(bus), registry=registry, tracer_provider=sampled.provider)
    async with here, there, there.subscribe("rooms") as deliveries:
        await here.publish("rooms", "hello")
        (delivery,) = await take(deliveries)
        with delivery:
            pass
    assert [] == sampled.all()


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
async def test_delivery_that_raises_is_failed(
    make: Make, spans: Spans, error: BaseException
) -> None:
    """The exception goes on; being cancelled is no failure."""
    channel = make()
    async with channel.subscribe("rooms") as deliveries:
        await channel.publish("rooms", "hello")
        (delivery,) = await take(deliveries)
        with pytest.raises(type(error)), delivery:
            raise error
    failed = isinstance(error, Exception)
    assert failed == (one(spans, "ws.deliver").status.status_code is StatusCode.ERROR)


async def test_publish_that_fails_is_failed(make: Make, bus: Bus, spans: Spans) -> None:
    """Its span says why, although the handler does not hear of it."""
    bus.problem = OSError("gone")
    await make().publish("rooms", "hello")
    found = one(spans, "memory.publish")
    assert StatusCode.ERROR is found.status.status_code
    assert "OSError" == (found.attributes or {})["error.type"]
    assert "ws.fanout.subscribers" not in (found.attributes or {})


async def test_publish_that_is_late_says_so(make: Make, bus: Bus, spans: Spans) -> None:
    """It is no failure: the broker keeps messages, and will get it."""
    bus.problem = OSError("gone")
    await make(keeps=True).publish("rooms", "hello")
    bus.problem = None
    found = one(spans, "memory.publish")
    assert StatusCode.UNSET is found.status.status_code
    assert (found.attributes or {})["ws.fanout.late"] is True


async def test_client_libraries_are_not_instrumented_while_a_channel_uses_them(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span of theirs would be a second one of the same; the listener's would be nobody's."""
    enabled: dict[str, bool] = {}

    def watched(name: str) -> Any:
        original = getattr(MemoryBroker, name)

        def watching(*args: Any, **more: Any) -> Any:
            enabled[name] = is_instrumentation_enabled()
            return original(*args, **more)

        return watching

    for name in ("publish", "subscribe", "receive"):
        monkeypatch.setattr(MemoryBroker, name, watched(name))
    channel = make()
    async with channel.subscribe("rooms") as deliveries:
        await channel.publish("rooms", "hello")
        await take(deliveries)
        assert is_instrumentation_enabled()
    assert {"publish": False, "subscribe": False, "receive": False} == enabled


async def test_listener_starts_in_an_empty_context(make: Make, spans: Spans) -> None:
    """Whoever is first to subscribe is in no other's trace."""
    seen = []
    channel = make()
    broker: Any = channel._broker
    original = broker.open

    async def watching() -> None:
        seen.append((trace.get_current_span(), get_value("key")))
        await original()

    broker.open = watching
    with spans.provider.get_tracer("application").start_as_current_span("first client"):
        async with channel.subscribe("rooms"):
            pass
    assert [(trace.INVALID_SPAN, None)] == seen


def test_silent_context_has_nothing_of_the_current_one(spans: Spans) -> None:
    """No span but the switch."""
    with spans.provider.get_tracer("application").start_as_current_span("somebody"):
        assert get_current() != silently()
        assert trace.INVALID_SPAN is trace.get_current_span(silently())
