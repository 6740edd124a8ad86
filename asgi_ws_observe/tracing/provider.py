"""Where tracers come from: a provider that is often set after the application was built."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Tracer, TracerProvider

from .. import __version__

__all__ = ["TracerSource"]

# What there is before an SDK is configured: spans of these record nothing, so none is made.
_NO_SDK: Final = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
# Where opentelemetry-api keeps the global one, `None` until it is set.
_GLOBAL: Final = "_TRACER_PROVIDER"


class TracerSource:
    """The tracer of a provider, looked up whenever a span is to be made.

    Args:
        provider: Whose; `None` for the global one, whenever it is set.
    """

    __slots__ = ("_given", "_has_asked", "_tracer", "_used")

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._given = provider
        self._used: Any = None
        self._has_asked = False
        self._tracer: Tracer | None = None

    def find(self) -> Tracer | None:
        """Return the tracer, `None` without an SDK."""
        # As long as there is none, opentelemetry-api looks for one in the environment each time,
        # which takes longer than all else that is done for an event. Once is enough.
        if self._given is None and self._has_asked and getattr(trace, _GLOBAL, self) is None:
            return None
        self._has_asked = True
        provider = self._given or trace.get_tracer_provider()
        if provider is not self._used:
            made = not isinstance(provider, _NO_SDK)
            tracer = provider.get_tracer("asgi_ws_observe", __version__) if made else None
            self._tracer, self._used = tracer, provider
        return self._tracer
