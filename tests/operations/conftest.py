"""Fixtures of the operations' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from asgi_ws_observe.operations.pages import http_client
from asgi_ws_observe.operations.promql import Samples
from tests.operations.fleet import fleet, taken
from tests.operations.prometheus import Prometheus, prometheus
from tests.operations.served import Served, serving


@pytest.fixture
def served() -> Iterator[Served]:
    """Return a server whose answers the test sets."""
    with serving() as found:
        yield found


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Return a client to ask with."""
    async with http_client() as found:
        yield found


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Return a Prometheus that scrapes nothing and has the fleet's samples."""
    with prometheus(tmp_path_factory.mktemp("prometheus")) as found:
        found.write(fleet())
        yield found


@pytest.fixture(scope="session")
def samples() -> Samples:
    """Return the fleet's samples."""
    return taken(fleet())
