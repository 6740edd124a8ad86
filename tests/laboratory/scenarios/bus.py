"""Faults of the broker between the nodes, and of the way to it."""

from __future__ import annotations

from typing import Final

from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.scenario import LAB_THRESHOLDS, Finding, Scenario

__all__ = ["SCENARIOS"]


def _by_relay(lab: Lab) -> str:
    lab.segment = lab.relay(f"127.0.0.1:{lab.redis.port}")
    return f"redis://{lab.segment.address}"


def _listens(sent: bytes) -> bool:
    return b"SUBSCRIBE" in sent


def _publishes(sent: bytes) -> bool:
    return not _listens(sent)


def _swallow_publishing(lab: Lab) -> None:
    # Everybody who says something waits for Redis.
    lab.crowd.manners.talk = 4
    lab.segment.swallows = _publishes


def _slow_down(lab: Lab) -> None:
    lab.segment.delays = _listens
    lab.segment.delay = 0.9


def _deafen(lab: Lab) -> None:
    lab.segment.swallows = _listens
    lab.segment.cut(_listens)


def _end_listeners(lab: Lab) -> None:
    while lab.goes_on(2):
        lab.redis.cut()


SCENARIOS: Final = (
    Scenario(
        name="publisher-dead",
        what="what nodes publish vanishes on its way to Redis; their listeners are well",
        action=_swallow_publishing,
        expected=frozenset({"WebSocketBusSilent"}),
        finding=Finding("WebSocketBusSilent", "bus"),
        nodes=2,
        bus=_by_relay,
    ),
    Scenario(
        name="listener-dead",
        what="the listeners' connections are cut, and no subscription is answered any more",
        action=_deafen,
        expected=frozenset({"WebSocketBusListenerDown"}),
        finding=Finding("WebSocketBusListenerDown", "bus"),
        nodes=2,
        bus=_by_relay,
    ),
    Scenario(
        name="bus-losing",
        what="Redis ends the connections of the listeners again and again",
        action=_end_listeners,
        expected=frozenset({"WebSocketBusLosing"}),
        finding=Finding("WebSocketBusLosing", "bus"),
        nodes=2,
        bus=_by_relay,
    ),
    Scenario(
        name="bus-lagging",
        what="what Redis tells the listeners takes 0.9 s longer in each direction",
        action=_slow_down,
        expected=frozenset({"WebSocketBusLagging"}),
        finding=Finding("WebSocketBusLagging", "bus"),
        nodes=2,
        bus=_by_relay,
        thresholds={**LAB_THRESHOLDS, "bus_lag_p99": 0.5},
    ),
)
