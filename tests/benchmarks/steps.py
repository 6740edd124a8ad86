"""Where the time of an echo goes: wrappers that do one thing more each, and nothing else.

Beside them the library shows what its care for everything that may happen takes, or does not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from asgi_ws_observe.store import DURATION_BOUNDS, SIZE_BOUNDS
from tests.benchmarks.cases import Case, Dropped, Made, echo, pass_through

__all__ = ["STEPS", "clocks"]


def clocks(app: Any) -> Any:
    """Read the clock around receive and around send."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def inner_receive() -> Any:
            perf_counter()
            message = await receive()
            perf_counter()
            return message

        async def inner_send(message: Any) -> None:
            perf_counter()
            await send(message)
            perf_counter()

        await app(scope, inner_receive, inner_send)

    return wrapped


def numbers(app: Any) -> Any:
    """Keep counts, sizes and times of both directions, in four histograms."""
    size_in, size_out = [0] * (len(SIZE_BOUNDS) + 1), [0] * (len(SIZE_BOUNDS) + 1)
    handled, sent = [0] * (len(DURATION_BOUNDS) + 1), [0] * (len(DURATION_BOUNDS) + 1)

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        bytes_in = bytes_out = 0
        handling = sending = received_at = 0.0

        async def inner_receive() -> Any:
            nonlocal bytes_in, handling, received_at
            if received_at:
                duration = perf_counter() - received_at
                handled[bisect_left(DURATION_BOUNDS, duration)] += 1
                handling += duration
            message = await receive()
            if message["type"] == "websocket.receive" and (text := message.get("text")):
                size = len(text) if text.isascii() else len(text.encode())
                size_in[bisect_left(SIZE_BOUNDS, size)] += 1
                bytes_in += size
            received_at = perf_counter()
            return message

        async def inner_send(message: Any) -> None:
            nonlocal bytes_out, sending
            started = perf_counter()
            await send(message)
            if message["type"] == "websocket.send" and (text := message.get("text")):
                size = len(text) if text.isascii() else len(text.encode())
                size_out[bisect_left(SIZE_BOUNDS, size)] += 1
                bytes_out += size
            duration = perf_counter() - started
            sent[bisect_left(DURATION_BOUNDS, duration)] += 1
            sending += duration

        await app(scope, inner_receive, inner_send)

    return wrapped


def _ours(**arguments: Any) -> Any:
    return WebSocketObserveMiddleware(
        echo,
        registry=CollectorRegistry(),
        settings=Settings(log_handler="off", message_spans="all"),
        **arguments,
    )


def _traced() -> Made:
    provider, dropped = _dropping()
    return Made(_ours(tracer_provider=provider), echo, lambda: dropped.number)


def _dropping() -> tuple[TracerProvider, Dropped]:
    provider, dropped = TracerProvider(), Dropped()
    provider.add_span_processor(dropped)
    return provider, dropped


def _span(app: Any) -> Made:
    """Make the SDK's span of every message, with a name and nothing else."""
    provider, dropped = _dropping()
    tracer = provider.get_tracer("steps")

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def inner_receive() -> Any:
            message = await receive()
            tracer.start_span("message").end()
            return message

        async def inner_send(message: Any) -> None:
            await send(message)

        await app(scope, inner_receive, inner_send)

    return Made(wrapped, echo, lambda: dropped.number)


def _child(app: Any) -> Made:
    """Make it as a message's: below the connection's, with its size, current in the handler."""
    provider, dropped = _dropping()
    tracer = provider.get_tracer("steps")

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        around = trace.set_span_in_context(tracer.start_span("connection"))
        span: Any = None

        async def inner_receive() -> Any:
            nonlocal span
            if span is not None:
                span.end()
                context.attach(around)
            message = await receive()
            span = tracer.start_span("message", around, trace.SpanKind.CONSUMER)
            span.set_attribute("ws.message.bytes", len(message.get("text") or ""))
            context.attach(trace.set_span_in_context(span, around))
            return message

        async def inner_send(message: Any) -> None:
            await send(message)

        await app(scope, inner_receive, inner_send)

    return Made(wrapped, echo, lambda: dropped.number)


def _step(make: Callable[[], Any]) -> Case:
    return Case(lambda: Made(make(), echo), "none")


#: Name -> what it is, in the order in which each does more.
STEPS: Final[dict[str, Case]] = {
    "two coroutines more: the pass-through wrapper": _step(lambda: pass_through(echo)),
    "and four readings of the clock": _step(lambda: clocks(echo)),
    "and counts, sizes and times, in one closure, without a check": _step(lambda: numbers(echo)),
    "asgi_ws_observe, metrics and logs, no SDK": _step(_ours),
    "a wrapper that only makes the SDK's span, without attributes": Case(
        lambda: _span(echo), "messages"
    ),
    "and makes it below another one, with one attribute, current in the handler": Case(
        lambda: _child(echo), "messages"
    ),
    "asgi_ws_observe, all messages traced": Case(_traced, "messages"),
}
