"""Limits that are met: of connections, of descriptors, of who is let in."""

from __future__ import annotations

from typing import Final

from tests.laboratory.harness.clients import Manners
from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.nodes import NodeOptions
from tests.laboratory.harness.scenario import Finding, Scenario

__all__ = ["SCENARIOS"]


def _more(lab: Lab) -> None:
    lab.crowd.arrive(24, over=4)


def _nearly(lab: Lab) -> None:
    lab.crowd.arrive(10, over=2)


def _slow_check(lab: Lab) -> None:
    for node in lab.nodes:
        node.fault(check=2.5)


def _fill_descriptors(lab: Lab) -> None:
    lab.crowd.arrive(24, over=4)


def _break_check(lab: Lab) -> None:
    for node in lab.nodes:
        node.fault(broken=1)


def _lasting_visits() -> Manners:
    return Manners(stay=0)


def _short_visits() -> Manners:
    return Manners(stay=6)


SCENARIOS: Final = (
    Scenario(
        name="capacity-reached",
        what="more clients come than each node takes",
        action=_more,
        expected=frozenset({"WebSocketCapacityReached"}),
        finding=Finding("WebSocketCapacityReached", "capacity"),
        node=NodeOptions(settings={"max_connections": 36, "enforce": True}),
    ),
    Scenario(
        name="capacity-near",
        what="clients come until a node has hardly a place left",
        action=_nearly,
        expected=frozenset({"WebSocketCapacityNear"}),
        finding=Finding("WebSocketCapacityNear", "capacity"),
        manners=_lasting_visits,
        node=NodeOptions(settings={"max_connections": 36, "enforce": True}),
    ),
    Scenario(
        name="descriptors-low",
        what="clients come until the process has hardly a descriptor left",
        action=_fill_descriptors,
        expected=frozenset({"WebSocketDescriptorsLow"}),
        finding=Finding("WebSocketDescriptorsLow", "capacity"),
        node=NodeOptions(files=75),
    ),
    Scenario(
        name="authentication-broken",
        what="what knows the users does not answer: every handshake fails",
        action=_break_check,
        expected=frozenset({"WebSocketHandshakesFailing"}),
        finding=Finding("WebSocketHandshakesFailing", "node"),
        manners=_short_visits,
    ),
    Scenario(
        name="authentication-slow",
        what="what knows the users takes two and a half seconds to answer",
        action=_slow_check,
        expected=frozenset({"WebSocketHandshakesSlow"}),
        finding=Finding("WebSocketHandshakesSlow", "node"),
    ),
)
