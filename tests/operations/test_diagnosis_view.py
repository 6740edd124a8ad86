"""A diagnosis in a terminal."""

from __future__ import annotations

from rich.console import Console

from asgi_ws_observe.operations.diagnosis import Diagnosis, Finding, Place
from asgi_ws_observe.operations.diagnosis_view import view
from asgi_ws_observe.operations.signals import SIGNALS


def text(diagnosis: Diagnosis) -> str:
    """Return what is printed on a wide terminal."""
    console = Console(width=160)
    with console.capture() as capture:
        console.print(view(diagnosis, "asked of a Prometheus"))
    return capture.get()


def finding(name: str, *follows: str, spread: str = "") -> Finding:
    """Return a finding, with what follows from it."""
    (signal,) = (each for each in SIGNALS if each.name == name)
    place = Place({"job": "chat"}, 7.0)
    return Finding(signal, [place], says="seven of them", spread=spread, follows=list(follows))


def test_cause_comes_with_what_follows() -> None:
    """Each once, although it may follow in several places."""
    named = ("WebSocketSlowHandlers", "WebSocketHalfOpen", "WebSocketHalfOpen")
    first = finding("WebSocketEventLoopBlocked", *named, spread="1 of 3 nodes: a")
    shown = text(Diagnosis([first], 46, [], {"chat": 3}))
    assert "It is the node: seven of them" in shown
    assert 2 == shown.count("1 of 3 nodes: a")
    assert "WebSocketHalfOpen, WebSocketSlowHandlers" in shown
    assert "46 signals checked, asked of a Prometheus: 3 nodes of chat." in shown


def test_finding_about_a_fleet_has_no_place() -> None:
    """Nor has one a line for what follows, where nothing does."""
    shown = text(Diagnosis([finding("WebSocketReconnectStorm")], 46, [], {"": 1}))
    assert "It is the clients: seven of them" in shown
    assert "where" not in shown
    assert "follows" not in shown
    assert "1 node of no job" in shown
