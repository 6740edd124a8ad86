"""`demo_app.presence`: who is on the other nodes."""

from __future__ import annotations

from demo_app.presence import FORGET_AFTER, Presence


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_heard_names_the_rooms_that_changed() -> None:
    """Only rooms in which somebody came or went are named, in whatever order they are listed."""
    presence = Presence()
    assert {"lobby", "tea"} == presence.heard("1", "a", {"lobby": ["Ada", "Bo"], "tea": ["Cy"]})
    assert set() == presence.heard("1", "a", {"lobby": ["Bo", "Ada"], "tea": ["Cy"]})
    assert {"tea"} == presence.heard("1", "a", {"lobby": ["Ada", "Bo"]})
    assert ["Ada", "Bo"] == presence.names("lobby")
    assert ["lobby"] == presence.rooms()


def test_nodes_of_one_name_are_two() -> None:
    """Two nodes that have the same name are kept apart by their ids."""
    presence = Presence()
    presence.heard("1", "a", {"lobby": ["Ada"]})
    presence.heard("2", "a", {"lobby": ["Bo"]})
    assert ["Ada", "Bo"] == presence.names("lobby")
    assert ["a", "a"] == presence.nodes()


def test_join_and_leave_count_before_the_next_word() -> None:
    """A join and a leave count at once, and the node's own next word changes nothing more."""
    presence = Presence()
    presence.came("unknown", "lobby", "Zoë")
    presence.heard("1", "a", {})
    presence.came("1", "lobby", "Ada")
    presence.came("1", "lobby", "Ada")
    assert ["Ada"] == presence.names("lobby")
    assert set() == presence.heard("1", "a", {"lobby": ["Ada"]})
    presence.went("1", "lobby", "Ada")
    presence.went("1", "lobby", "Ada")
    presence.went("unknown", "lobby", "Ada")
    assert [] == presence.rooms()


def test_silent_node_is_forgotten() -> None:
    """Who has not been heard of for six seconds is gone, and who says goodbye at once."""
    clock = Clock()
    presence = Presence(clock)
    presence.heard("1", "a", {"lobby": ["Ada"]})
    clock.now += FORGET_AFTER / 2
    presence.heard("2", "b", {"tea": ["Bo"]})
    presence.heard("3", "c", {"tea": ["Cy"]})
    assert {"tea"} == presence.gone("3")
    assert set() == presence.gone("3")
    clock.now += FORGET_AFTER / 2
    assert set() == presence.expire()
    clock.now += 0.1
    assert {"lobby"} == presence.expire()
    assert ["b"] == presence.nodes()
