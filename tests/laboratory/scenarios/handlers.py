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
    reader = Manners(path="/rooms/{alone}", say="report", talk=2)
    lab.another_crowd("reader", reader).arrive(2)


def _slow_handlers(lab: Lab) -> None:
    lab.crowd.manners.talk = 4
    for node in lab.nodes:
        node.fault(handler=1.8)


def _crash(lab: Lab) -> None:
    lab.crowd.manners.talk = 3
    lab.crowd.manners.say = "crash"


def _hang(lab: Lab) -> None:
    # Each in a room of its own; whoever gets no answer leaves, and tries again.
    manners = Manners(path="/rooms/{alone}", say="order", talk=0.2, stay=1.2)
    lab.another_crowd("buyer", manners).arrive(12, over=1)


def _backlog(lab: Lab) -> None:
    for node in lab.nodes:
        node.fault(handler=0.25)
    lab.crowd.manners.talk = 0.02


def _leak(lab: Lab) -> None:
    forgotten = lab.another_crowd("forgotten", Manners(talk=0, stay=0))
    while lab.goes_on(0.6):
        forgotten.arrive(1, over=0)


def _steady() -> Manners:
    return Manners(talk=0.5, stay=0)


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
        what="once a second a handler blocks the event loop for 0.35 s",
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
        manners=_steady,
        # Where pongs wait behind messages, uvicorn ends the connection after its 20 s.
        node=NodeOptions(ping_timeout=60),
    ),
    Scenario(
        name="connection-leak",
        what="connections pile up, a few an hour, and nobody says anything over them",
        action=_leak,
        expected=frozenset({"WebSocketConnectionLeak"}),
        finding=Finding("WebSocketConnectionLeak", "node"),
        manners=_steady,
        # Hours have to pass.
        scale=1 / 240,
        interval=0.25,
        seconds=30,
    ),
)
