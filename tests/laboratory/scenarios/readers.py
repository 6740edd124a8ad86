"""Faults of the clients."""

from __future__ import annotations

from typing import Final

from tests.laboratory.harness.clients import Manners
from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.nodes import NodeOptions
from tests.laboratory.harness.scenario import Finding, Scenario

__all__ = ["SCENARIOS"]


def _reconnect(lab: Lab) -> None:
    # A client with a bug: whatever it hears, it starts again.
    lab.crowd.manners.talk = 0.1
    lab.crowd.manners.stay = 0.3


def _read_no_more(lab: Lab) -> None:
    slow = Manners(path="/feed", talk=0, stay=0, read_pause=2)
    lab.another_crowd("slow", slow).arrive(6, over=1)


def _get_stuck(lab: Lab) -> None:
    stuck = Manners(path="/feed", talk=0, stay=0, read_pause=60)
    lab.another_crowd("stuck", stuck).arrive(1)


def _feed() -> Manners:
    return Manners(path="/feed", talk=0, stay=0)


SCENARIOS: Final = (
    Scenario(
        name="reconnect-storm",
        what="every client closes and connects again three times a second",
        action=_reconnect,
        expected=frozenset({"WebSocketReconnectStorm"}),
        finding=Finding("WebSocketReconnectStorm", "clients"),
        warm_up=11,
    ),
    Scenario(
        name="slow-consumers",
        what="six clients come to a feed that read a message in two seconds, where forty are sent",
        action=_read_no_more,
        expected=frozenset({"WebSocketSlowConsumers"}),
        finding=Finding("WebSocketSlowConsumers", "clients"),
        manners=_feed,
        clients=12,
        # They answer pings, late.
        node=NodeOptions(ping_timeout=60),
    ),
    Scenario(
        name="send-stuck",
        what="one of many clients of a feed reads no more, and its handler waits in send()",
        action=_get_stuck,
        expected=frozenset({"WebSocketSendStuck"}),
        finding=Finding("WebSocketSendStuck", "clients"),
        manners=_feed,
        clients=26,
        node=NodeOptions(ping_timeout=60),
    ),
)
