"""One echoed message (one in, one out) at ASGI level: no server, no network, no client."""

from __future__ import annotations

import asyncio
import gc
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CollectorRegistry, Counter

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from tests.support import ACCEPT, disconnect, scope, text

__all__ = ["BARE", "CASES", "PASS_THROUGH", "PEER", "PEER_SAMPLED", "Measured", "measure"]

BARE: Final = "bare application"
PASS_THROUGH: Final = "pass-through wrapper"
OURS: Final = "asgi_ws_observe: metrics and logs"
OURS_SAMPLED: Final = "asgi_ws_observe: all messages traced, sampled"
OURS_CAPPED: Final = "asgi_ws_observe: messages traced as by default, a flood"
OURS_UNSAMPLED: Final = "asgi_ws_observe: all messages traced, sampled out"
TUTORIAL: Final = "the tutorial's Counter.labels().inc() in and out"
PEER_SAMPLED: Final = "opentelemetry-instrumentation-asgi, sampled"
PEER_UNSAMPLED: Final = "opentelemetry-instrumentation-asgi, sampled out"
PEER: Final = "opentelemetry-instrumentation-asgi, no message spans"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Echo until the client leaves."""
    await receive()
    await send(ACCEPT)
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        await send({"type": "websocket.send", "text": message["text"]})


def pass_through(app: Any) -> Any:
    """Wrap receive and send and do nothing: what every middleware pays at least."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def inner_receive() -> Any:
            return await receive()

        async def inner_send(message: Any) -> None:
            await send(message)

        await app(scope, inner_receive, inner_send)

    return wrapped


def tutorial(app: Any) -> Any:
    """Count messages as tutorials show it."""
    counter = Counter("messages", "", ["direction"], registry=CollectorRegistry())

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def inner_receive() -> Any:
            message = await receive()
            counter.labels("in").inc()
            return message

        async def inner_send(message: Any) -> None:
            counter.labels("out").inc()
            await send(message)

        await app(scope, inner_receive, inner_send)

    return wrapped


def ours(provider: TracerProvider | None = None, message_spans: str = "all") -> Any:
    """Return the echo with this library."""
    return WebSocketObserveMiddleware(
        echo,
        registry=CollectorRegistry(),
        settings=Settings(message_spans=message_spans, log_handler="off"),
        tracer_provider=provider,
    )


def peer(**arguments: Any) -> Any:
    """Return the echo with OpenTelemetry's own middleware."""
    return OpenTelemetryMiddleware(echo, **arguments)


#: Name -> makes the application.
CASES: Final[dict[str, Callable[[], Any]]] = {
    BARE: lambda: echo,
    PASS_THROUGH: lambda: pass_through(echo),
    OURS: ours,
    TUTORIAL: lambda: tutorial(echo),
    PEER: lambda: peer(tracer_provider=TracerProvider(), exclude_spans=["receive", "send"]),
    OURS_UNSAMPLED: lambda: ours(TracerProvider(sampler=ALWAYS_OFF)),
    PEER_UNSAMPLED: lambda: peer(tracer_provider=TracerProvider(sampler=ALWAYS_OFF)),
    OURS_CAPPED: lambda: ours(TracerProvider(), "capped"),
    OURS_SAMPLED: lambda: ours(TracerProvider()),
    PEER_SAMPLED: lambda: peer(tracer_provider=TracerProvider()),
}


@dataclass
class Measured:
    """What one case took.

    Attributes:
        rounds: Nanoseconds an echo above the bare application of the same round.
    """

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median, nanoseconds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and the third quartile, nanoseconds."""
        first, _, third = statistics.quantiles(self.rounds, n=4)
        return first, third


def one_round(app: Any, messages: int, payload: str) -> float:
    """Return the nanoseconds of one echo, over one connection with so many messages."""
    event = text(payload)
    left = messages

    async def receive() -> Any:
        nonlocal left
        left -= 1
        return event if left >= 0 else disconnect()

    async def send(message: Any) -> None:
        pass

    async def main() -> float:
        nonlocal left
        left = messages + 1  # the first is taken for websocket.connect
        started = perf_counter()
        await app(scope(), receive, send)
        return (perf_counter() - started) * 1e9 / messages

    gc.collect()
    return asyncio.run(main())


def measure(rounds: int, messages: int, payload: str) -> Iterator[dict[str, Measured]]:
    """Yield the results after each round; every round runs every case once, in turn.

    Args:
        rounds: How many rounds.
        messages: Echoes of one case in one round.
        payload: The text that is echoed.
    """
    apps = {name: make() for name, make in CASES.items()}
    results = {name: Measured() for name in CASES}
    for app in apps.values():
        one_round(app, messages // 10, payload)
    for number in range(rounds):
        # Forwards and backwards, so that none always follows the same other.
        order = list(apps) if number % 2 == 0 else list(reversed(apps))
        taken = {name: one_round(apps[name], messages, payload) for name in order}
        for name, nanoseconds in taken.items():
            results[name].rounds.append(nanoseconds - taken[BARE])
        yield results
