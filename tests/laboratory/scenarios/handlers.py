"""Faults of the application itself."""

from __future__ import annotations

from typing import Final

from tests.laboratory.harness.clients import Manners
from tests.laboratory.harness.lab import Lab
from tests.laboratory.harness.nodes import NodeOptions
from tests.laboratory.harness.scenario import Finding, Scenario

__all__ = ["SCENARIOS"]


def _stall(lab: Lab) -> None:
    for node in lab.nodes:
        node.fault(tick=0)


def _listeners() -> Manners:
    return Manners(talk=0, stay=0)


def _ticking(lab: Lab) -> list[str]:
    for node in lab.nodes:
        node.fault(tick=4)
    return [node.address for node in lab.nodes]


def _block(lab: Lab) -> None:
    lab.crowd.manners.talk = 12
    for node in lab.nodes:
        node.fault(block=0.4)


def _slow_handlers(lab: Lab) -> None:
    lab.crowd.manners.talk = 4
    for node in lab.nodes:
        node.fault(handler=1.8)


def _crash(lab: Lab) -> None:
    lab.crowd.manners.talk = 3
    lab.crowd.manners.say = "crash"


def _hang(lab: Lab) -> None:
    for node in lab.nodes:
        node.fault(hang=1)
    # Whoever gets no answer leaves, and tries again.
    lab.crowd.manners.talk = 0.3
    lab.crowd.manners.stay = 3


def _backlog(lab: Lab) -> None:
    for node in lab.nodes:
        node.fault(handler=0.25)
    lab.crowd.manners.stay = 0
    lab.crowd.manners.talk = 0.02


def _leak(lab: Lab) -> None:
    leak = lab.crowd_of()
    leak.manners = Manners(talk=0, stay=0)
    while lab.goes_on(0.7):
        leak.arrive(1, over=0)


SCENARIOS: Final = (
    Scenario(
        name="silent-stall",
        what="the task that tells everybody the news ends, and nobody notices",
        action=_stall,
        expected=frozenset({"WebSocketSilentStall"}),
        finding=Finding("WebSocketSilentStall", "node"),
        manners=_listeners,
        front=_ticking,
    ),
    Scenario(
        name="blocked-loop",
        what="a handler calls something that blocks the event loop for 0.4 s",
        action=_block,
        expected=frozenset({"WebSocketEventLoopBlocked"}),
        finding=Finding("WebSocketEventLoopBlocked", "node"),
    ),
    Scenario(
        name="slow-handler",
        what="what a handler waits for takes 1.8 s",
        action=_slow_handlers,
        expected=frozenset({"WebSocketSlowHandlers"}),
        finding=Finding("WebSocketSlowHandlers", "node"),
    ),
    Scenario(
        name="handler-errors",
        what="the handler raises, again and again",
        action=_crash,
        expected=frozenset({"WebSocketHandlerErrors"}),
        finding=Finding("WebSocketHandlerErrors", "node"),
    ),
    Scenario(
        name="close-wait",
        what="handlers wait for ever, their clients leave, and the server never closes",
        action=_hang,
        expected=frozenset({"WebSocketCloseWait"}),
        finding=Finding("WebSocketCloseWait", "node"),
        node=NodeOptions(ping_interval=3600),
    ),
    Scenario(
        name="queue-backlog",
        what="clients send faster than a handler takes it",
        action=_backlog,
        expected=frozenset({"WebSocketQueueGrowing"}),
        finding=Finding("WebSocketQueueGrowing", "node"),
        clients=12,
    ),
    Scenario(
        name="connection-leak",
        what="connections pile up, a few an hour, and nobody says anything over them",
        action=_leak,
        expected=frozenset({"WebSocketConnectionLeak"}),
        finding=Finding("WebSocketConnectionLeak", "node"),
    ),
)
