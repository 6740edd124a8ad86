"""Spans: one for a connection, and of its messages as many as the settings allow."""

from __future__ import annotations

from .carriers import inject_context
from .spans import ConnectionTracing, Continuation

__all__ = ["ConnectionTracing", "Continuation", "inject_context"]
