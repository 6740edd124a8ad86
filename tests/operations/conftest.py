"""Fixtures of the operations' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from asgi_ws_observe.operations.pages import http_client
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
