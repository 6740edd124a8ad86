"""Observability for WebSockets on ASGI: metrics, spans and log lines from one middleware.

from fastapi import FastAPI
from asgi_ws_observe import WebSocketObserveMiddleware, mount_metrics

app = FastAPI()
app.add_middleware(WebSocketObserveMiddleware)
mount_metrics(app)
"""

from __future__ import annotations

__version__ = "0.1.0"

from .application import mount_metrics, observe
from .connection import Connection, Message
from .current import current_connection, current_message
from .exceptions import MissingExtraError, ObserveError, SettingsError
from .hooks import ConnectionHook
from .logs import JSONFormatter
from .metrics.endpoint import MetricsEndpoint
from .middleware import WebSocketObserveMiddleware
from .settings import Settings
from .tracing import inject_context

__all__ = [
    "Connection",
    "ConnectionHook",
    "JSONFormatter",
    "Message",
    "MetricsEndpoint",
    "MissingExtraError",
    "ObserveError",
    "Settings",
    "SettingsError",
    "WebSocketObserveMiddleware",
    "__version__",
    "current_connection",
    "current_message",
    "inject_context",
    "mount_metrics",
    "observe",
]
