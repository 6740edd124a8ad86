"""Where tracers come from: a provider that is often set after the application was built."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Tracer, TracerProvider

from .. import __version__

__all__ = ["TracerSource"]

# What there is before an SDK is configured: spans of these record nothing, so none is made.
_NO_SDK: Final = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)


class TracerSource:
    """The tracer of a provider, looked up whenever a span is to be made.

    Args:
        provider: Whose; `None` for the global one, whenever it is set.
    """

    __slots__ = ("_given", "_tracer", "_used")

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._given = provider
        self._used: Any = None
        self._tracer: Tracer | None = None

    def find(self) -> Tracer | None:
        """Return the tracer, `None` without an SDK."""
        provider = self._given or trace.get_tracer_provider()
        if provider is not self._used:
            made = not isinstance(provider, _NO_SDK)
            tracer = provider.get_tracer("asgi_ws_observe", __version__) if made else None
            self._tracer, self._used = tracer, provider
        return self._tracer
