"""Names of events that travel marked."""

from __future__ import annotations

import copy
import pickle

import pytest

from asgi_ws_observe.socketio.events import received


@pytest.mark.parametrize("copied", [lambda each: pickle.loads(pickle.dumps(each)), copy.deepcopy])
def test_marked_name_that_is_published_is_plain(copied: object) -> None:
    """Managers before 5.14 pickle, and nodes without the library have to load it."""
    assert callable(copied)
    event, *_ = received(None, ["news", 1])
    found = copied(event)
    assert ("news", str) == (found, type(found))
