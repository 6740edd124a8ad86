"""Fixtures for the tests of what is exported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.metrics.exporters import Kept


@pytest.fixture
def exporter() -> Iterator[Kept]:
    """An exporter that hangs no longer than the test."""
    kept = Kept()
    yield kept
    kept.free.set()
