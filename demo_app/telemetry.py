"""Where log lines and spans go."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["log_config", "print_spans", "stderr_handler"]


def log_config(level: str) -> dict[str, Any]:
    """Return uvicorn's ``log_config``: every line of every logger is JSON, on stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "asgi_ws_observe.JSONFormatter"}},
        "handlers": {"stderr": {"()": "demo_app.telemetry.stderr_handler", "formatter": "json"}},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
    }


def stderr_handler() -> logging.Handler:
    """Return the handler; from now on warnings are log lines too, in every worker process."""
    logging.captureWarnings(True)
    return logging.StreamHandler()


def print_spans() -> None:
    """Print every span on stdout, one JSON object a line, as soon as it ends."""
    # Here, since without --spans the demo needs no SDK.
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "demo_app"}))
    exporter = ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\n")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
