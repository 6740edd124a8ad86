"""Metrics of what applications do wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..store import Store
from .instruments import Instrument, Point

__all__ = ["INSTRUMENTS"]


def _errors(store: Store) -> Iterator[Point]:
    for label, numbers in list(store.routes.items()):
        for kind, count in list(numbers.errors.items()):
            yield (label, kind), count


def _unexpected(store: Store) -> Iterator[Point]:
    yield from list(store.unexpected.items())


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    Instrument(
        "ws_errors",
        "counter",
        "{error}",
        ("route", "type"),
        "Exceptions that left the application. A client's leaving is none.",
        "Which exception?",
        _errors,
    ),
    Instrument(
        "ws_unexpected_events",
        "counter",
        "{event}",
        ("state", "event"),
        "Events that the connection's state does not expect, such as a send after the close.",
        "Does the application send into closed connections?",
        _unexpected,
    ),
)
