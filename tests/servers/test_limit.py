"""Capacity on real servers: the handshake above the limit is refused, and only that one."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.servers.application import application
from tests.servers.harness import IMPLEMENTATIONS, serving
from tests.support import sample, total, wait_until


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_handshake_above_the_limit_gets_503(
    implementation: str, registry: CollectorRegistry
) -> None:
    """With the time to come back; when one has left, the next one is let in."""
    app = application()
    app.add_middleware(
        WebSocketObserveMiddleware,
        registry=registry,
        settings=Settings(max_connections=2, enforce=True, log_handler="off"),
    )

    async def clients(address: str) -> None:
        url = f"ws://{address}/rooms/a"
        async with connect(url), connect(url):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url)
            response = refused.value.response
            assert 503 == response.status_code
            assert "5" == response.headers["retry-after"]

    async def one(address: str) -> None:
        async with connect(f"ws://{address}/rooms/a"):
            pass

    with serving(app, implementation) as address:
        asyncio.run(clients(address))
        wait_until(lambda: total(registry, "ws_closes_total") == 2)
        asyncio.run(one(address))
        wait_until(lambda: total(registry, "ws_closes_total") == 3)
    assert 1 == sample(registry, "ws_handshake_failures_total", route="unmatched", reason="limit")
    assert 2 == sample(registry, "ws_connections_limit")
    assert 0 == total(registry, "ws_connections_active")
