"""An application whose spans go to a collector; the settings are the environment's."""

from __future__ import annotations

from fastapi import FastAPI, WebSocket
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from asgi_ws_observe import observe

__all__ = ["app"]

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
app = observe(FastAPI(telemetry={"tracing": False}), tracer_provider=provider)


@app.websocket("/rooms/{room}")
async def room(websocket: WebSocket, room: str) -> None:
    """Send every text back."""
    await websocket.accept()
    async for said in websocket.iter_text():
        await websocket.send_text(said)
