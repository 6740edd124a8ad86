"""One placement of another tracer, exporting over OTLP/HTTP, for a server in a process of its own.

``PLACEMENT`` in the environment says which; where the spans go, OpenTelemetry's own variables.
"""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.tracing.placements import PLACEMENTS, Parts

name = os.environ["PLACEMENT"]


class Marks(SpanProcessor):
    """Marks every span with the placement: one receiver gets those of all."""

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        span.set_attribute("test.placement", name)


provider = TracerProvider()
provider.add_span_processor(Marks())
# It exports what is left when the interpreter exits.
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
app = PLACEMENTS[name].build(Parts(provider))
