"""Spans of a process of its own, in a file that its test reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

__all__ = ["SpanFile", "provider_of"]


class SpanFile(SpanExporter):
    """Writes spans into a file, one at a time.

    Args:
        path: The file; it gets a line of JSON for each span.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append a line for each."""
        with self._path.open("a", encoding="utf-8") as file:
            for span in spans:
                line = {
                    "name": span.name,
                    "kind": span.kind.name,
                    "trace": f"{span.context.trace_id:032x}",
                    "span": f"{span.context.span_id:016x}",
                    "parent": f"{span.parent.span_id:016x}" if span.parent else None,
                    "links": [
                        (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}")
                        for link in span.links
                    ],
                    "start": span.start_time,
                    "end": span.end_time,
                    "status": span.status.status_code.name,
                    "attributes": dict(span.attributes or {}),
                }
                file.write(json.dumps(line) + "\n")
        return SpanExportResult.SUCCESS


def provider_of(path: str) -> TracerProvider:
    """Return a provider whose spans go into a file."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SpanFile(path)))
    return provider
