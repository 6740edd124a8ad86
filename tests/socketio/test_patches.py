"""Replacing methods of single objects: only theirs, and never what somebody else has put there."""

from __future__ import annotations

from asgi_ws_observe.socketio.patches import Patches


class Thing:
    def method(self) -> str:
        return "original"


def test_only_the_object_is_changed() -> None:
    """Its class, and all other objects of that, stay."""
    patches, thing = Patches(), Thing()
    patches.put(thing, "method", lambda original: lambda: f"around {original()}")
    assert ("around original", "original") == (thing.method(), Thing().method())
    patches.undo()
    assert {} == vars(thing)


def test_attribute_of_the_object_itself_is_put_back() -> None:
    """It was somebody else's wrapper."""
    patches, thing = Patches(), Thing()
    vars(thing)["method"] = theirs = lambda: "theirs"
    patches.put(thing, "method", lambda original: lambda: f"around {original()}")
    assert "around theirs" == thing.method()
    patches.undo()
    assert {"method": theirs} == vars(thing)


def test_wrapper_of_somebody_else_stays() -> None:
    """It came later, and calls ours."""
    patches, thing = Patches(), Thing()
    patches.put(thing, "method", lambda original: lambda: f"around {original()}")
    ours = thing.method
    vars(thing)["method"] = lambda: f"theirs {ours()}"
    patches.undo()
    assert "theirs around original" == thing.method()


def test_method_that_is_not_there_is_left_out() -> None:
    """A version of the library may have none."""
    patches, thing = Patches(), Thing()
    patches.put(thing, "missing", lambda original: original)
    patches.undo()
    assert {} == vars(thing)
