"""What carries messages over a broker that the application's own code talks to."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from asgi_ws_observe import SettingsError
from asgi_ws_observe.fanout import extract, inject
from asgi_ws_observe.fanout.core import MAX_TOPICS, Counters, Fanout
from tests.support import Spans, sample


def make(registry: CollectorRegistry, spans: Spans) -> Fanout:
    """Return one for Kafka."""
    return Fanout("kafka", name="orders", registry=registry, tracer_provider=spans.provider)


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("body", [{"text": "hello"}, "hello", b"\xff", [1, None]])
def test_message_goes_over_any_broker(
    body: object, headers: bool, registry: CollectorRegistry, spans: Spans
) -> None:
    """One trace, and the numbers of a channel, with and without headers."""
    here, there = make(registry, spans), make(registry, spans)
    with here.publishing("orders", body, headers=headers) as message:
        payload, carried = message.payload, message.headers
        message.subscribers = 4
    with there.delivery("orders", payload, headers=carried) as delivery:
        delivery.recipients = 2
    assert (body, type(body)) == (delivery.body, type(delivery.body))
    assert "other" == delivery.origin
    publish, deliver = spans.all()
    assert ("kafka.publish", "ws.deliver") == (publish.name, deliver.name)
    assert deliver.parent is not None
    assert publish.context.span_id == deliver.parent.span_id
    found = {"channel": "orders"}
    assert 1 == sample(registry, "ws_fanout_published_total", outcome="ok", **found)
    assert 1 == sample(registry, "ws_fanout_delivered_total", **found)
    assert 2 == sample(registry, "ws_fanout_recipients_sum", **found)


def test_payload_stays_plain_where_there_are_headers(
    registry: CollectorRegistry, spans: Spans
) -> None:
    """A node without this library reads what it always did."""
    with make(registry, spans).publishing("orders", {"text": "hello"}) as message:
        assert b'{"text":"hello"}' == message.payload
    expected = {"traceparent", "ws-time", "ws-clock", "ws-publisher", "ws-sequence", "ws-body"}
    assert expected == set(message.headers)


def test_own_message_that_comes_back_is_measured_by_one_clock(
    registry: CollectorRegistry, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose clock is set meanwhile makes no wrong lag."""
    fanout = make(registry, spans)
    with fanout.publishing("orders", "hello", headers=False) as message:
        pass
    monkeypatch.setattr("asgi_ws_observe.fanout.delivery.time.time", lambda: 0.0)
    found = fanout.delivery("orders", message.payload)
    assert "own" == found.origin
    assert found.lag is not None
    assert 0 < found.lag < 10


def test_clock_that_is_behind_makes_no_negative_lag(
    registry: CollectorRegistry, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine's message that came before it was sent, by the clocks, took no time."""
    with make(registry, spans).publishing("orders", "hello", headers=False) as message:
        pass
    monkeypatch.setattr("asgi_ws_observe.fanout.delivery.time.time", lambda: 0.0)
    assert 0.0 == make(registry, spans).delivery("orders", message.payload).lag


def test_broker_that_raises_is_counted_and_raises(
    registry: CollectorRegistry, spans: Spans
) -> None:
    """What the application's own code raised is its own."""
    with (
        pytest.raises(OSError, match="gone"),
        make(registry, spans).publishing("orders", "hello"),
    ):
        raise OSError("gone")
    found = {"channel": "orders", "outcome": "failed"}
    assert 1 == sample(registry, "ws_fanout_published_total", **found)


def test_extract_is_the_other_end_of_inject() -> None:
    """For a broker of the application's own, with nothing to set up."""
    labels = {"channel": "fanout"}
    before = sample(REGISTRY, "ws_fanout_delivered_total", **labels) or 0
    with extract(inject({"text": "hello"}), topic="rooms") as delivery:
        assert ("rooms", {"text": "hello"}) == (delivery.topic, delivery.body)
    with extract("as it is") as delivery:
        assert (b"as it is", "as it is") == (delivery.body, delivery.text())
    assert before + 2 == sample(REGISTRY, "ws_fanout_delivered_total", **labels)


def test_extract_counts_where_it_is_told(registry: CollectorRegistry, spans: Spans) -> None:
    """In somebody's registry, with somebody's spans."""
    with extract(b"hello", headers={"ws-time": "5"}, fanout=make(registry, spans)):
        pass
    assert 1 == sample(registry, "ws_fanout_delivered_total", channel="orders")
    assert ["ws.deliver"] == [each.name for each in spans.all()]


def test_wrong_setting_is_named(registry: CollectorRegistry) -> None:
    """What it got, and what it accepts."""
    with pytest.raises(SettingsError, match=r"trace: got 'child'; accepted: one of parent, link"):
        Fanout("kafka", trace="child", registry=registry)  # type: ignore[arg-type]


def test_sequence_counts_a_topic() -> None:
    """From 1, each topic by itself."""
    counters = Counters()
    found = [counters.next(topic)[1] for topic in ("a", "a", "b", "a")]
    assert [1, 2, 1, 3] == found


def test_forked_child_is_another_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its parent's name and numbers, one's messages would be the other's repetitions."""
    counters = Counters()
    parent, _ = counters.next("rooms")
    monkeypatch.setattr("asgi_ws_observe.fanout.core.os.getpid", lambda: -1)
    child, sequence = counters.next("rooms")
    assert parent != child
    assert 1 == sequence
    assert (False, True) == (counters.is_own(parent), counters.is_own(child))


def test_forgotten_topic_begins_as_another_publisher() -> None:
    """1 again from the same publisher would be a repetition, and dropped."""
    counters = Counters()
    before = counters.next("first")
    for number in range(MAX_TOPICS):
        counters.next(str(number))
    after = counters.next("first")
    assert (1, 1) == (before[1], after[1])
    assert before[0] != after[0]
    assert counters.is_own(before[0])
    assert counters.is_own(after[0])
    assert not counters.is_own("somebody")
