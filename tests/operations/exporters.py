"""Other people's exporters on an application with WebSockets."""

from __future__ import annotations

from fastapi import FastAPI, WebSocket
from prometheus_fastapi_instrumentator import Instrumentator
from starlette_exporter import PrometheusMiddleware, handle_metrics

__all__ = ["exporter", "instrumentator"]


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for said in websocket.iter_text():
        await websocket.send_text(said)


instrumentator = FastAPI()
instrumentator.add_api_websocket_route("/ws", _echo)
Instrumentator(should_instrument_requests_inprogress=True).instrument(instrumentator).expose(
    instrumentator
)

exporter = FastAPI()
exporter.add_api_websocket_route("/ws", _echo)
exporter.add_middleware(PrometheusMiddleware)
exporter.add_route("/metrics", handle_metrics)
