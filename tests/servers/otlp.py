"""A real OTLP receiver, and what it got."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.servers.processes import free_port
from tests.tracing.placements import Seen, label

try:
    from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings
except OSError:
    if os.environ.get("CI"):
        raise
    pytest.skip("oteltap has no library for this machine", allow_module_level=True)

__all__ = ["received", "receiving"]

#: The last span that the receiver gets: all that were exported before have arrived as well.
LAST: Final = "the last"


def receiving(port: int) -> OtelTapHttpProtobufReceiver:
    """Return what receives over HTTP on a port of this machine."""
    settings = OtelTapHttpProtobufReceiverSettings(http_port=port, listen_on_all_interfaces=False)
    return OtelTapHttpProtobufReceiver(settings)


async def received(export: Callable[[str], Awaitable[None]]) -> list[Seen]:
    """Return the spans that arrive while something exports them.

    Args:
        export: Gets the receiver's endpoint; whatever it starts has flushed when it returns.
    """
    port = free_port()
    spans: list[Span] = []
    endpoint = f"http://127.0.0.1:{port}/v1/traces"
    async with receiving(port) as receiver:

        async def collect() -> None:
            async for span in receiver.stream_traces():
                if span.name == LAST:
                    return
                spans.append(span)

        collecting = asyncio.create_task(collect())
        await export(endpoint)
        await asyncio.to_thread(_say_last, endpoint)
        await asyncio.wait_for(collecting, 20)
    return [_seen(span) for span in spans]


def _say_last(endpoint: str) -> None:
    """Export one more span."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint)))
    provider.get_tracer("test").start_span(LAST).end()
    provider.shutdown()


def _seen(span: Span) -> Seen:
    """Take a span as it was received."""
    kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
    status = Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_")
    return Seen(
        label(span.name, kind, status),
        int.from_bytes(span.trace_id, "big"),
        int.from_bytes(span.span_id, "big"),
        int.from_bytes(span.parent_span_id, "big"),
        tuple(int.from_bytes(link.span_id, "big") for link in span.links),
        span.start_time_unix_nano,
        {each.key: _value(each.value) for each in span.attributes},
    )


def _value(given: AnyValue) -> Any:
    """Return an attribute's value that is no list."""
    kind = given.WhichOneof("value")
    assert kind in ("string_value", "bool_value", "int_value", "double_value")
    return getattr(given, kind)
