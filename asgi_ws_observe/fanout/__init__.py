"""Publish to deliver: what a message carries over a broker, so that its way can be measured."""

from __future__ import annotations

from .envelope import Envelope, extract, inject

__all__ = ["Envelope", "extract", "inject"]
