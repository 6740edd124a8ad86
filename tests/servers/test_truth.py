"""After a run with known counts the metrics equal the truth, on each uvicorn implementation."""

from __future__ import annotations

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.servers.application import application
from tests.servers.clients import CLIENTS, Life, Seen, payload, size
from tests.servers.harness import IMPLEMENTATIONS, serving
from tests.support import sample, total, wait_until

pytestmark = [
    # uvicorn's oldest implementation, and the part of websockets that it is made of
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
    pytest.mark.parametrize("implementation", IMPLEMENTATIONS),
]

BINARY = "b64:" + base64.b64encode(bytes(range(256)) * 20).decode()
ECHOES = ["plain", "größer ✓", BINARY, "x" * 70000, ""]

#: Life -> (code, closed by, reason) in the metrics.
ENDS: list[tuple[Life, tuple[str, str, str]]] = [
    (Life(send=ECHOES), ("1000", "client", "normal")),
    (Life(code=1001), ("1001", "client", "going_away")),
    (Life(code=4321), ("4xxx", "client", "application")),
    (Life(code=3000), ("3000", "client", "application")),
    (Life(code=4000), ("4000", "client", "application")),
    (Life(send=["a"], end="vanish"), ("1006", "network", "eof")),
    (Life(send=["a"], end="reset"), ("1006", "network", "tcp_reset")),
    (Life(last="close 4000", end="wait"), ("4000", "server", "application")),
    (Life(last="close 1000", end="wait"), ("1000", "server", "normal")),
    (Life(last="close 1011", end="wait"), ("1011", "server", "handler_error")),
    (Life(last="policy", end="wait"), ("1008", "server", "policy")),
    (Life(last="raise", end="wait"), ("1006", "server", "handler_error")),
    (Life(last="return", end="wait"), ("1006", "server", "no_close")),
    (Life("/disconnect_raises", ["a", "b"]), ("1000", "client", "normal")),
    (Life("/disconnect_raises", code=4000), ("4000", "client", "application")),
    (Life("/subprotocol", end="wait", protocols=["chat.v2"]), ("1001", "server", "going_away")),
]
#: Life that never gets in -> (status, route, reason).
FAILURES: list[tuple[Life, tuple[int, str, str]]] = [
    (Life("/rejected"), (403, "/rejected", "rejected")),
    (Life("/denied"), (429, "/denied", "denied")),
    (Life("/broken"), (500, "/broken", "error")),
    (Life("/silent"), (500, "/silent", "error")),
    (Life("/nowhere"), (403, "unmatched", "not_found")),
]


def live(
    client: str, implementation: str, registry: CollectorRegistry, lives: Sequence[Life]
) -> list[Seen]:
    """Let clients live their lives against a server, and wait until it has noticed."""
    settings = Settings(log_handler="off", close_codes=[4000])
    app = application()
    app.add_middleware(WebSocketObserveMiddleware, settings=settings, registry=registry)
    accepted = len(lives)
    with serving(app, implementation) as address:
        seen = asyncio.run(_live(client, address, lives))
        accepted = sum(each.status == 101 for each in seen)
        wait_until(lambda: total(registry, "ws_closes_total") == accepted)
    return seen


async def _live(client: str, address: str, lives: Sequence[Life]) -> list[Seen]:
    return await CLIENTS[client](address, lives)


@pytest.mark.parametrize("client", CLIENTS)
def test_run_with_known_counts(
    client: str, implementation: str, registry: CollectorRegistry
) -> None:
    """Connects, closes, failures, messages and bytes are exactly what the clients did and saw."""
    ends = [*ENDS, (Life(code=0), ("1005", "client", "normal"))] if client == "node" else ENDS
    lives = [life for life, _ in [*ends, *FAILURES] for _ in range(3)]
    seen = live(client, implementation, registry, lives)

    assert [status for _, (status, *_) in FAILURES for _ in range(3)] == [
        each.status for each in seen if each.status != 101
    ]
    for _, (_, route, reason) in FAILURES:
        assert 3 == sample(registry, "ws_handshake_failures_total", route=route, reason=reason)
    assert 3 * len(FAILURES) == total(registry, "ws_handshake_failures_total")
    assert 3 * len(ends) == total(registry, "ws_connects_total")
    closes = Counter({key: 0 for _, key in ends})
    for _, key in ends:
        closes[key] += 3
    for (code, author, reason), count in closes.items():
        assert count == total(
            registry, "ws_closes_total", code=code, closed_by=author, reason=reason
        ), (code, author, reason)
    assert 0 == total(registry, "ws_connections_active")
    sent = [payload(text) for life, _ in ends for text in [*life.send, *filter(None, [life.last])]]
    received = [each for one in seen for each in one.received]
    assert 3 * len(sent) == total(registry, "ws_messages_total", direction="in")
    assert 3 * sum(map(size, sent)) == total(registry, "ws_message_bytes_total", direction="in")
    assert len(received) == total(registry, "ws_messages_total", direction="out")
    assert sum(received) == total(registry, "ws_message_bytes_total", direction="out")
    assert 3 == total(registry, "ws_errors_total", route="/rooms/{room}", type="Trouble")
    assert 6 == total(registry, "ws_errors_total")


def test_client_of_a_sender_closes(implementation: str, registry: CollectorRegistry) -> None:
    """The true code is found though the application never asked, and the error is no error."""
    seen = live("websockets", implementation, registry, [Life("/sender", code=4000)])
    assert [101] == [each.status for each in seen]
    assert 1 == sample(
        registry,
        "ws_closes_total",
        route="/sender",
        code="4000",
        closed_by="client",
        reason="application",
    )
    assert 0 == total(registry, "ws_errors_total")


def test_random_lives(implementation: str, registry: CollectorRegistry) -> None:
    """After hundreds of lives in random order nobody is left, and every end was counted once."""
    choice = random.Random(7)
    lives = [choice.choice([*ENDS, *FAILURES])[0] for _ in range(340)]
    seen = live("websockets", implementation, registry, lives)
    accepted = sum(each.status == 101 for each in seen)
    assert accepted == total(registry, "ws_connects_total")
    assert accepted == total(registry, "ws_closes_total")
    assert len(lives) - accepted == total(registry, "ws_handshake_failures_total")
    assert 0 == total(registry, "ws_connections_active")
    assert 0 == total(registry, "ws_observe_errors_total")
