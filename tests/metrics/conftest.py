"""Fixtures for the tests of what is exported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asgi_ws_observe.metrics.catalogue import Instrument, Point
from asgi_ws_observe.store import Store
from tests.metrics.exporters import Kept


@pytest.fixture
def exporter() -> Iterator[Kept]:
    """An exporter that hangs no longer than the test."""
    kept = Kept()
    yield kept
    kept.free.set()


@pytest.fixture
def rare() -> Instrument:
    """An optional instrument: it has a series where a store has a limit."""

    def read(store: Store) -> Iterator[Point]:
        if store.limit is not None:
            yield (), store.limit

    return Instrument(
        "ws_rare", "gauge", "{thing}", (), "Rare things.", "Any?", read, optional=True
    )
