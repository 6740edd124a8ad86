"""A channel over a broker in memory: who gets what, what is counted, and what survives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi_ws_observe import SettingsError
from asgi_ws_observe.fanout.channel import FanoutChannel
from asgi_ws_observe.fanout.delivery import Delivery
from asgi_ws_observe.fanout.envelope import inject
from asgi_ws_observe.fanout.subscription import Subscription
from tests.fanout.conftest import Make
from tests.fanout.memory import Bus, MemoryBroker
from tests.support import sample, until


async def take(deliveries: Subscription, number: int = 1) -> list[Delivery]:
    """Return the next deliveries."""
    found = []
    async for delivery in deliveries:
        found.append(delivery)
        if len(found) == number:
            break
    return found


async def bodies(deliveries: Subscription, number: int) -> list[Any]:
    """Return the bodies of the next deliveries."""
    found = await asyncio.wait_for(take(deliveries, number), 10)
    return [delivery.body for delivery in found]


def broker_of(channel: FanoutChannel) -> MemoryBroker:
    """Return the broker of a channel that a test made."""
    found = channel._broker
    assert isinstance(found, MemoryBroker)
    return found


async def test_message_is_delivered_on_every_node_and_on_its_own(make: Make) -> None:
    """One publish, a delivery for each subscription, with the body as it was published."""
    here, there = make(), make()
    async with here.subscribe("rooms") as mine, there.subscribe("rooms") as theirs:
        assert 2 == await here.publish("rooms", {"text": "hello"})
        (own,), (other,) = await take(mine), await take(theirs)
    assert {"text": "hello"} == own.body == other.body
    assert ("own", "other") == (own.origin, other.origin)
    assert ("rooms", "7") == (own.topic, own.id)
    assert '{"text":"hello"}' == own.text()
    assert {"text": "hello"} == other.json()


async def test_numbers_tell_what_was_published_and_delivered(
    make: Make, registry: CollectorRegistry
) -> None:
    """Counts by channel, the lag by whose message it was, and recipients where they are told."""
    channel = make(name="chat")
    async with channel.subscribe("rooms") as deliveries:
        for number in range(3):
            await channel.publish("rooms", number)
        for delivery in await take(deliveries, 3):
            with delivery:
                delivery.recipients = 5
    found = {"channel": "chat"}
    assert 3 == sample(registry, "ws_fanout_published_total", outcome="ok", **found)
    assert 3 == sample(registry, "ws_fanout_publish_duration_seconds_count", **found)
    assert 3 == sample(registry, "ws_fanout_delivered_total", **found)
    assert 3 == sample(registry, "ws_fanout_lag_seconds_count", origin="own", **found)
    assert 15 == sample(registry, "ws_fanout_recipients_sum", **found)
    assert 0 == sample(registry, "ws_fanout_lost_total", **found)


async def test_listener_up_is_absent_before_and_after(
    make: Make, registry: CollectorRegistry
) -> None:
    """No listener is no series: zero would page somebody."""
    channel = make()
    assert sample(registry, "ws_fanout_listener_up", channel="memory") is None
    assert "idle" == channel.state
    async with channel.subscribe("rooms"):
        assert 1 == sample(registry, "ws_fanout_listener_up", channel="memory")
        states = [channel.state]
    await channel.aclose()
    assert sample(registry, "ws_fanout_listener_up", channel="memory") is None
    assert ["listening", "idle"] == [*states, channel.state]


async def test_channel_as_context_manager_is_closed_at_its_end(make: Make) -> None:
    """Subscriptions end, and what they had is still handed out."""
    async with make() as channel, channel.subscribe("rooms") as deliveries:
        await channel.publish("rooms", "last words")
        await until(lambda: deliveries._waiting)
        await channel.aclose()
        assert ["last words"] == [each.body async for each in deliveries]
    assert "aclose" in broker_of(channel).calls


async def test_closed_channel_can_be_used_again(make: Make) -> None:
    """A subscription after the close starts the listener anew."""
    channel = make()
    for _ in range(2):
        async with channel.subscribe("rooms") as deliveries:
            await channel.publish("rooms", "hello")
            assert ["hello"] == await bodies(deliveries, 1)
        await channel.aclose()


async def test_label_takes_the_place_of_the_name(make: Make, registry: CollectorRegistry) -> None:
    """A topic's numbers are those of its label; a raw topic is never one."""
    channel = make(label=lambda topic: topic.partition(":")[0] + ":{id}")
    async with channel.subscribe("room:1", "room:2") as deliveries:
        await channel.publish("room:1", "a")
        await channel.publish("room:2", "b")
        await bodies(deliveries, 2)
    assert 2 == sample(registry, "ws_fanout_delivered_total", channel="room:{id}")
    assert 0 == sample(registry, "ws_fanout_delivered_total", channel="memory")


async def test_label_that_raises_is_the_name(make: Make, registry: CollectorRegistry) -> None:
    """It is reported once, and costs nobody a message."""
    channel = make(label=lambda topic: topic[100])
    async with channel.subscribe("rooms") as deliveries:
        await channel.publish("rooms", "a")
        assert ["a"] == await bodies(deliveries, 1)
    assert 1 == sample(registry, "ws_fanout_delivered_total", channel="memory")
    assert 1 == sample(registry, "ws_observe_errors_total", part="fanout")


async def test_labels_of_many_topics_are_found_again(make: Make) -> None:
    """What is remembered of topics is bounded."""
    asked: list[str] = []

    def label(topic: str) -> str:
        asked.append(topic)
        return "room"

    channel = make(label=label)
    for number in range(10_001):
        channel.numbers_of(f"room:{number}")
    channel.numbers_of("room:10000")
    assert 10_001 == len(asked)
    channel.numbers_of("room:0")
    assert 10_002 == len(asked)


async def test_pattern_brings_all_its_topics(make: Make) -> None:
    """A delivery says which topic it was."""
    channel = make()
    async with channel.subscribe(patterns=["room:*"]) as deliveries:
        await channel.publish("room:1", "a")
        await channel.publish("other", "b")
        await channel.publish("room:2", "c")
        found = await take(deliveries, 2)
    assert [("room:1", "a"), ("room:2", "c")] == [(each.topic, each.body) for each in found]


@pytest.mark.parametrize(
    ("topics", "patterns", "has_patterns", "expected"),
    [
        ((), (), True, "subscribe: got nothing; accepted: topics, or patterns=[...]"),
        (
            ("a",),
            ("b*",),
            False,
            "subscribe: got patterns, which memory cannot do here; accepted: topics",
        ),
    ],
)
def test_subscription_that_cannot_be_is_refused(
    topics: tuple[str, ...],
    patterns: tuple[str, ...],
    has_patterns: bool,
    expected: str,
    bus: Bus,
    registry: CollectorRegistry,
) -> None:
    """It says what is accepted."""
    broker = MemoryBroker(bus)
    broker.has_patterns = has_patterns
    channel = FanoutChannel(broker, registry=registry)
    with pytest.raises(SettingsError) as caught:
        channel.subscribe(*topics, patterns=patterns)
    assert expected == str(caught.value)


async def test_topic_stays_while_another_subscription_has_it(make: Make) -> None:
    """The broker is asked for no more when the last one has left, and once for each."""
    channel = make()
    first, second = channel.subscribe("rooms"), channel.subscribe("rooms", "rooms")
    async with first:
        async with second:
            pass
        await second.aclose()
        await channel.publish("rooms", "a")
        assert ["a"] == await bodies(first, 1)
        assert "unsubscribe" not in broker_of(channel).calls
    assert 0 == await channel.publish("rooms", "b")
    assert 1 == broker_of(channel).calls.count("unsubscribe")


async def test_loop_that_is_left_ends_its_subscription(make: Make) -> None:
    """Without a context manager the loop itself begins and ends it."""
    channel = make()
    listening = asyncio.create_task(take(channel.subscribe("rooms")))
    await until(lambda: channel.state == "listening")
    await channel.publish("rooms", "hello")
    assert ["hello"] == [each.body for each in await listening]
    await until(lambda: "unsubscribe" in broker_of(channel).calls)


async def test_loop_that_is_left_inside_a_context_manager_can_be_entered_again(make: Make) -> None:
    """The subscription lasts as long as the block."""
    channel = make()
    async with channel.subscribe("rooms") as deliveries:
        for word in ("one", "two"):
            await channel.publish("rooms", word)
            assert [word] == await bodies(deliveries, 1)
            assert "unsubscribe" not in broker_of(channel).calls


async def test_subscription_that_is_cancelled_while_it_begins_is_none(make: Make) -> None:
    """Nothing of it is left."""
    channel = make()
    broker_of(channel).unanswered = lambda _: True
    subscription = channel.subscribe("rooms")
    beginning = asyncio.create_task(subscription.__aenter__())
    await until(lambda: broker_of(channel).names)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    await until(lambda: "unsubscribe" in broker_of(channel).calls)
    assert {} == channel._heard


async def test_message_on_its_way_when_the_last_one_leaves_is_nobodys(
    make: Make, bus: Bus, registry: CollectorRegistry
) -> None:
    """It is no error."""
    channel = make()
    async with channel.subscribe("a") as deliveries, channel.subscribe("b"):
        names = set(broker_of(channel).names)
        async with channel.subscribe("c"):
            names |= broker_of(channel).names
        broker_of(channel).names = names
        await channel.publish("c", "late")
        await channel.publish("a", "hello")
        assert ["hello"] == await bodies(deliveries, 1)
    assert 1 == sample(registry, "ws_fanout_delivered_total", channel="memory")


async def test_payload_of_somebody_else_is_delivered_as_it_is(make: Make, bus: Bus) -> None:
    """Without an envelope there is no lag, and nothing to lose."""
    channel = make()
    async with channel.subscribe("rooms") as deliveries:
        bus.deliver("rooms", b'{"text":"hello"}')
        (found,) = await take(deliveries)
    assert (b'{"text":"hello"}', None, "other") == (found.body, found.lag, found.origin)
    assert {"text": "hello"} == found.json()


async def test_gap_is_a_loss_and_a_repetition_is_dropped(
    make: Make, bus: Bus, registry: CollectorRegistry
) -> None:
    """Exactly those that did not arrive, when the subscription ends at the latest."""
    channel = make()
    async with channel.subscribe("rooms") as deliveries:
        for number in (1, 2, 5, 5, 4, 9):
            bus.deliver("rooms", inject(number, publisher="p", sequence=number))
        assert [1, 2, 5, 4, 9] == await bodies(deliveries, 5)
    assert 4 == sample(registry, "ws_fanout_lost_total", channel="memory")
    found = {"channel": "memory", "reason": "duplicate"}
    assert 1 == sample(registry, "ws_messages_dropped_total", **found)


async def test_claimed_loss_is_bounded(make: Make, bus: Bus, registry: CollectorRegistry) -> None:
    """Whoever can publish can claim any number; the counter stays one that can be exported."""
    channel = make()
    async with channel.subscribe("rooms") as deliveries:
        for publisher in ("p", "q", "r"):
            for number in (1, 2**63 - 1):
                bus.deliver("rooms", inject("x", publisher=publisher, sequence=number))
        await bodies(deliveries, 6)
    assert 2**53 == sample(registry, "ws_fanout_lost_total", channel="memory")


async def test_losses_show_while_the_subscription_lasts(
    make: Make, bus: Bus, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are settled again and again."""
    monkeypatch.setattr("asgi_ws_observe.fanout.channel._TICK", 0.01)
    monkeypatch.setattr(MemoryBroker, "loss_seconds", 0.0)
    channel = make()
    async with channel.subscribe("rooms"):
        for number in (1, 5):
            bus.deliver("rooms", inject(number, publisher="p", sequence=number))
        await until(lambda: sample(registry, "ws_fanout_lost_total", channel="memory") == 3)


async def test_slow_application_loses_the_oldest(make: Make, registry: CollectorRegistry) -> None:
    """What waits for one subscription is bounded, and what is dropped counted."""
    channel = make(queue=3)
    async with channel.subscribe("rooms") as slow:
        for number in range(10):
            await channel.publish("rooms", number)
        await until(lambda: slow._waiting and slow._waiting[-1].body == 9)
        assert [7, 8, 9] == await bodies(slow, 3)
    found = {"channel": "memory", "reason": "subscription_full"}
    assert 7 == sample(registry, "ws_messages_dropped_total", **found)


async def test_slow_application_loses_nothing_that_the_broker_keeps(
    make: Make, registry: CollectorRegistry
) -> None:
    """What it has no room for stays with the broker until there is."""
    channel = make(queue=3, keeps=True)
    async with channel.subscribe("rooms") as slow:
        for number in range(10):
            await channel.publish("rooms", number)
        await until(lambda: len(slow._waiting) == 3)
        assert 0 < broker_of(channel).queue.qsize()
        assert list(range(10)) == await bodies(slow, 10)
    found = {"channel": "memory", "reason": "subscription_full"}
    assert 0 == sample(registry, "ws_messages_dropped_total", **found)


async def test_end_of_a_slow_subscription_frees_the_others(make: Make) -> None:
    """Whoever leaves holds up nobody."""
    channel = make(queue=1, keeps=True)
    async with channel.subscribe("rooms") as fast:
        async with channel.subscribe("rooms") as slow:
            for number in range(3):
                await channel.publish("rooms", number)
            await until(lambda: slow.is_full())
            assert [0] == await bodies(fast, 1)
        assert [1, 2] == await bodies(fast, 2)


async def test_body_that_cannot_be_sent_is_the_callers_error(
    make: Make, registry: CollectorRegistry
) -> None:
    """It raises, is counted as failed, and leaves nothing current."""
    channel = make()
    with pytest.raises(TypeError):
        await channel.publish("rooms", object())
    assert 1 == sample(registry, "ws_fanout_published_total", channel="memory", outcome="failed")


async def test_broker_that_fails_is_counted_logged_once_and_no_exception(
    make: Make, bus: Bus, registry: CollectorRegistry, lines: Callable[[], list[str]]
) -> None:
    """A handler hears of it only where it asks."""
    channel = make()
    for problem in (OSError("gone"), OSError("gone"), ValueError("odd"), None, OSError("gone")):
        bus.problem = problem
        assert (None if problem else 0) == await channel.publish("rooms", "hello")
    found = {"channel": "memory", "outcome": "failed"}
    assert 4 == sample(registry, "ws_fanout_published_total", **found)
    assert ["ws_fanout_refused"] * 3 == lines()


async def test_broker_that_fails_raises_where_the_application_asks_for_it(
    make: Make, bus: Bus
) -> None:
    """What the broker's client raised, as it was."""
    channel = make(raises=True)
    bus.problem = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        await channel.publish("rooms", "hello")


async def test_publish_ends_in_time(make: Make, bus: Bus, registry: CollectorRegistry) -> None:
    """A broker that says nothing holds a handler no longer than the timeout."""
    bus.slow = asyncio.Event()
    channel = make(timeout=0.05)
    assert await asyncio.wait_for(channel.publish("rooms", "hello"), 5) is None
    found = {"channel": "memory", "outcome": "failed"}
    assert 1 == sample(registry, "ws_fanout_published_total", **found)


async def test_cancelled_publish_is_cancelled(
    make: Make, bus: Bus, registry: CollectorRegistry
) -> None:
    """A handler that is cancelled is not held back; the message counts as failed."""
    bus.slow = asyncio.Event()
    channel = make()
    task = asyncio.create_task(channel.publish("rooms", "hello"))
    await until(lambda: broker_of(channel).calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = {"channel": "memory", "outcome": "failed"}
    assert 1 == sample(registry, "ws_fanout_published_total", **found)


async def test_what_a_keeping_broker_refused_is_sent_when_it_is_back(
    make: Make, bus: Bus, registry: CollectorRegistry
) -> None:
    """In order, each once, behind what waits already; nothing is lost."""
    channel = make(keeps=True)
    async with channel.subscribe("rooms") as deliveries:
        bus.problem = OSError("gone")
        for number in range(5):
            assert await channel.publish("rooms", number) is None
        assert 5 == sample(registry, "ws_fanout_outbox_messages", channel="memory")
        assert 0 == sample(registry, "ws_fanout_published_total", channel="memory", outcome="ok")
        bus.problem = None
        await channel.publish("rooms", 5)
        assert list(range(6)) == await bodies(deliveries, 6)
    await until(lambda: not sample(registry, "ws_fanout_outbox_messages", channel="memory"))
    assert 6 == sample(registry, "ws_fanout_published_total", channel="memory", outcome="ok")
    assert 0 == sample(registry, "ws_fanout_lost_total", channel="memory")


async def test_what_a_keeping_broker_refuses_for_good_keeps_nothing_waiting(
    make: Make, bus: Bus, registry: CollectorRegistry
) -> None:
    """It failed, at once or when its turn comes; what is behind it is sent."""
    channel = make(keeps=True)
    async with channel.subscribe("rooms") as deliveries:
        bus.problem = PermissionError("never")
        assert await channel.publish("rooms", "refused") is None
        bus.problem = OSError("gone")
        await channel.publish("rooms", "poison")
        await until(lambda: broker_of(channel).calls.count("publish") > 2)
        bus.problem = PermissionError("never")
        found = {"channel": "memory", "outcome": "failed"}
        await until(lambda: 2 == sample(registry, "ws_fanout_published_total", **found))
        bus.problem = None
        await channel.publish("rooms", "after")
        assert ["after"] == await bodies(deliveries, 1)
    assert 0 == sample(registry, "ws_fanout_outbox_messages", channel="memory")


async def test_listener_that_is_cut_comes_back(
    make: Make, bus: Bus, registry: CollectorRegistry, lines: Callable[[], list[str]]
) -> None:
    """What was missed is a loss, the way back is counted and logged, and nobody hears of it."""
    channel = make()
    async with channel.subscribe("rooms") as deliveries:
        await channel.publish("rooms", "before")
        bus.cut()
        await until(lambda: "ws_fanout_up" in lines())
        await channel.publish("rooms", "after")
        assert ["before", "after"] == await bodies(deliveries, 2)
    assert ["ws_fanout_down", "ws_fanout_up"] == lines()
    assert 1 == sample(registry, "ws_fanout_reconnects_total", channel="memory")


async def test_listener_says_once_that_the_broker_is_away(
    make: Make, bus: Bus, registry: CollectorRegistry, lines: Callable[[], list[str]]
) -> None:
    """However often it tries; its first connection is no reconnect."""
    bus.problem = OSError("refused")
    channel = make(timeout=0.1)
    async with channel.subscribe("rooms") as deliveries:
        assert 0 == sample(registry, "ws_fanout_listener_up", channel="memory")
        await until(lambda: broker_of(channel).calls.count("open") > 3)
        assert ["ws_fanout_down"] == lines()
        assert channel.state in ("waiting", "connecting")
        bus.problem = None
        await until(lambda: sample(registry, "ws_fanout_listener_up", channel="memory"))
        await channel.publish("rooms", "hello")
        assert ["hello"] == await bodies(deliveries, 1)
    assert 0 == sample(registry, "ws_fanout_reconnects_total", channel="memory")


async def test_probe_comes_back_and_shows_its_age(
    make: Make, bus: Bus, registry: CollectorRegistry
) -> None:
    """It proves delivery when nobody talks, and is no message of the application's."""
    channel = make(probe_interval=0.1)
    async with channel.subscribe("rooms"):
        found = {"channel": "memory", "origin": "probe"}
        await until(lambda: sample(registry, "ws_fanout_lag_seconds_count", **found))
        bus.mute = True
        await until(
            lambda: (sample(registry, "ws_fanout_probe_age_seconds", channel="memory") or 0) > 0.3
        )
        assert 0 == sample(registry, "ws_fanout_delivered_total", channel="memory")
        assert 0 == sample(registry, "ws_fanout_published_total", channel="memory", outcome="ok")
    await channel.aclose()
    assert sample(registry, "ws_fanout_probe_age_seconds", channel="memory") is None


async def test_listener_that_hears_nothing_of_its_probes_connects_again(
    make: Make, bus: Bus, registry: CollectorRegistry
) -> None:
    """The broker takes everything, answers, and delivers nothing."""
    channel = make(probe_interval=0.1, silence=5.0)
    async with channel.subscribe("rooms"):
        bus.mute = True
        await until(lambda: broker_of(channel).calls.count("shut") > 0)


async def test_no_log_line_where_nobody_wants_one(
    make: Make, bus: Bus, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """The numbers tell it all the same."""
    caplog.set_level(logging.CRITICAL, "asgi_ws_observe")
    async with make().subscribe("rooms"):
        bus.cut()
        await until(lambda: sample(registry, "ws_fanout_reconnects_total", channel="memory"))
    assert [] == caplog.records


async def test_log_lines_have_their_fields(
    make: Make, bus: Bus, caplog: pytest.LogCaptureFixture, lines: Callable[[], list[str]]
) -> None:
    """Channel, system, what the client raised, and for how long it was away."""
    channel = make(name="chat")
    async with channel.subscribe("rooms"):
        bus.cut(OSError("line\nbreak"))
        await until(lambda: len(lines()) == 2)
    down, up = (vars(each) for each in caplog.records)
    assert ("chat", "memory", "OSError", r"line\nbreak") == tuple(
        down[name] for name in ("channel", "system", "error_type", "error_text")
    )
    assert 0 <= up["away"] < 10
    assert "node" not in up
