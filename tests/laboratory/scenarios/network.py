"""Faults of the network, and of what is in it."""

from __future__ import annotations

from typing import Final

from tests.laboratory.harness.clients import Manners
from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.nodes import NodeOptions
from tests.laboratory.harness.scenario import LAB_THRESHOLDS, Finding, Scenario

__all__ = ["SCENARIOS"]


def _reset(lab: Lab) -> None:
    while lab.goes_on(0.5):
        lab.crowd.reset()


def _idle(lab: Lab) -> None:
    # Clients that chat hide a proxy's idle limit; now there is nothing to say.
    lab.crowd.manners.talk = 0


def _behind_nginx(lab: Lab) -> list[str]:
    return [lab.nginx(timeout=2)]


def _slow_segment(lab: Lab) -> None:
    lab.segment.delay = 0.4


def _behind_segment(lab: Lab) -> list[str]:
    lab.segment = lab.relay(lab.nodes[1].address)
    return [lab.nodes[0].address, lab.segment.address]


def _slow_network(lab: Lab) -> None:
    lab.segment.delay = 0.4


def _all_behind_segment(lab: Lab) -> list[str]:
    lab.segment = lab.relay(lab.nodes[0].address)
    return [lab.segment.address]


def _nobody_comes(lab: Lab) -> None:
    lab.crowd.leave(over=0.5)


def _vanish(lab: Lab) -> None:
    zombies = lab.another_crowd("zombie", Manners(stay=0, talk=0))
    while lab.goes_on(0.5):
        zombies.vanish()
        zombies.arrive(2, over=0)


SCENARIOS: Final = (
    Scenario(
        name="reset-storm",
        what="every client's connection is reset twice a second, and they come back",
        action=_reset,
        expected=frozenset({"WebSocketAbnormalCloses"}),
        finding=Finding("WebSocketAbnormalCloses", "network"),
    ),
    Scenario(
        name="proxy-cut",
        what="nginx cuts what is idle for two seconds, and nobody says anything any more",
        action=_idle,
        expected=frozenset({"WebSocketAbnormalCloses"}),
        finding=Finding("WebSocketAbnormalCloses", "network"),
        # As where nobody compared the two: the pings come after the proxy's limit.
        node=NodeOptions(ping_interval=30),
        front=_behind_nginx,
    ),
    Scenario(
        name="slow-segment",
        what="everything to and from one of two nodes takes 0.4 s longer",
        action=_slow_segment,
        expected=frozenset({"WebSocketHeartbeatUnlikePeers"}),
        finding=Finding("WebSocketHeartbeatUnlikePeers", "network"),
        nodes=2,
        front=_behind_segment,
    ),
    Scenario(
        name="slow-network",
        what="everything to and from the clients takes 0.4 s longer",
        action=_slow_network,
        expected=frozenset({"WebSocketHeartbeatSlow"}),
        finding=Finding("WebSocketHeartbeatSlow", "network"),
        front=_all_behind_segment,
        # A tenth of what they are, as the other times of machines.
        thresholds={**LAB_THRESHOLDS, "heartbeat_p99": 0.5, "slo_heartbeat_seconds": 0.1},
    ),
    Scenario(
        name="connections-gone",
        what="all clients are gone at once, and none comes back: no way leads here any more",
        action=_nobody_comes,
        expected=frozenset({"WebSocketConnectionsGone"}),
        finding=Finding("WebSocketConnectionsGone", "network"),
    ),
    Scenario(
        name="half-open",
        what="clients vanish one after the other: their connections stay, and no pong comes",
        action=_vanish,
        expected=frozenset({"WebSocketHalfOpen"}),
        finding=Finding("WebSocketHalfOpen", "network"),
        node=NodeOptions(ping_timeout=1.5),
    ),
)
