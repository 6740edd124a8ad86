"""Where log lines and spans go."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["export_spans", "log_config", "stderr_handler"]


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


def export_spans(where: str, *processors: Any) -> Callable[[], None]:
    """Set up OpenTelemetry's SDK, unless nobody wants spans.

    Args:
        where: ``console`` prints every span on stdout, one JSON object a line, as soon as it ends;
            ``otlp`` sends them to a collector; ``none`` does neither.
        processors: Whoever gets them as well.

    Returns:
        What to call at the end, or the last spans are lost.
    """
    if where == "none" and not processors:
        return lambda: None
    # Here, since without --spans the demo needs no SDK.
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=Resource.create({"service.name": "demo_app"}))
    for each in processors:
        provider.add_span_processor(each)
    if where != "none":
        provider.add_span_processor(_to_console() if where == "console" else _to_collector())
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _to_console() -> Any:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    exporter = ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\n")
    return SimpleSpanProcessor(exporter)


def _to_collector() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter())
