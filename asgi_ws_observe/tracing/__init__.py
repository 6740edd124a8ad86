"""Spans: one for a connection, one for each message that a handler works on."""

from __future__ import annotations

from .spans import ConnectionTracing

__all__ = ["ConnectionTracing"]
